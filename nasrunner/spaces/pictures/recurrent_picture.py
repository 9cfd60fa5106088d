"""The part of a picture that shows a recurrent cell as a tree, from its leaves down to h_t."""

from collections.abc import Iterator

from nasrunner.spaces.pictures.graph_picture import GraphPicture
from nasrunner.spaces.pictures.picture import Box, Branches, PicturePart, Pill, Series
from nasrunner.spaces.recurrent.cells import RecurrentCell, TreeCell, combined
from nasrunner.spaces.recurrent.highway import Wiring
from nasrunner.spaces.recurrent.highway_cells import HighwayCell, HighwayCells

_SIGNS = {"add": "+", "elem_mult": "×", "max": "max"}


Cells = TreeCell | RecurrentCell | HighwayCell | HighwayCells


def cell_parts(cell: Cells) -> list[PicturePart]:
    """Returns the tree of a cell; of an open one, what its nodes may be.

    W x and U h are the products with x_t and h_{t-1}. Where c_{t-1} comes in and c_t goes out is
    marked; what leaves at the bottom is h_t. Of highway nodes the activations are drawn: beside
    each, what the node takes passes on by as much as its gate is shut.
    """
    if isinstance(cell, RecurrentCell):
        options = [", ".join(cell.combinations), ", ".join(cell.activations)]
        return [Box(cell.name(), [f"base={cell.base}", *options], "other")]
    if isinstance(cell, HighwayCells):
        details = [f"nodes={cell.nodes}", ", ".join(cell.activations)]
        return [Box(cell.name(), details, "other")]
    if isinstance(cell, HighwayCell):
        first = [Box("Wx + Uh", ["highway"], "dense"), *_activation(cell.first)]
        return [*first, _highway_nodes(cell.wiring())]
    return list(_node(cell, len(cell.nodes) - 1))


def _highway_nodes(wiring: Wiring) -> GraphPicture:
    num_nodes = len(wiring.nodes) + 1
    edges = {
        (source, target): Series(tuple(_activation(name) or [Box(name, [], "other")]))
        for target, (source, name) in enumerate(wiring.nodes, 1)
    }
    edges |= {(node, num_nodes): Series(()) for node in wiring.outputs()}
    return GraphPicture(num_nodes + 1, edges, last="mean")


def _node(cell: TreeCell, node: int) -> Iterator[PicturePart]:
    combination, activation = cell.nodes[node]
    if node < cell.base:
        yield Box(combined(combination, f"W{node}x", f"U{node}h").strip("()"), [], "dense")
    else:
        branches = [Series(tuple(_node(cell, child))) for child in cell.children(node)]
        yield Branches(branches, _SIGNS[combination])
    if node == cell.memory:
        yield Pill("c out")
    yield from _activation(activation)
    if node == cell.injected:
        yield Pill(f"{_SIGNS[cell.inject[0]]} c in")
        yield from _activation(cell.inject[1])


def _activation(name: str) -> list[PicturePart]:
    return [] if name == "identity" else [Box(name, [], "activation")]
