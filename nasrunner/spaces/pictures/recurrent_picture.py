"""The part of a picture that shows a recurrent cell as a tree, from its leaves down to h_t."""

from collections.abc import Iterator

from nasrunner.spaces.pictures.picture import Box, Branches, PicturePart, Pill, Series
from nasrunner.spaces.recurrent.cells import RecurrentCell, TreeCell, combined

_SIGNS = {"add": "+", "elem_mult": "×", "max": "max"}


def cell_parts(cell: TreeCell | RecurrentCell) -> list[PicturePart]:
    """The tree of a cell; of an open one, what its nodes may be.

    W x and U h are the products with x_t and h_{t-1}. Where c_{t-1} comes in and c_t goes out is
    marked; what leaves at the bottom is h_t.
    """
    if isinstance(cell, RecurrentCell):
        options = [", ".join(cell.combinations), ", ".join(cell.activations)]
        return [Box(cell.name(), [f"base={cell.base}", *options], "other")]
    return list(_node(cell, len(cell.nodes) - 1))


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


def _activation(name: str) -> Iterator[PicturePart]:
    if name != "identity":
        yield Box(name, [], "activation")
