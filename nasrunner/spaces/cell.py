"""Cells: small graphs with a module on every edge."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Annotated

import torch
from torch import nn

from nasrunner.core.annotations import AtLeast
from nasrunner.core.decision import Address, Choose, Decision, most, values_of
from nasrunner.core.errors import SpaceError
from nasrunner.core.questions import Question
from nasrunner.core.space import (
    Pruning,
    Shape,
    Space,
    decisions_of_value,
    enter,
    opened,
    questions_of,
    questions_opened,
    resolve_module,
    resolve_value,
)
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead
from nasrunner.spaces.branches import largest, pad_to


@dataclass(frozen=True)
class Cell(Space):
    """A graph in which every node takes from all before it. Dong & Yang 2020, arXiv:2001.00326.

    Node 0 is the input. Node j is the sum over i < j of what edge i-j makes of node i, smaller
    ones padded with zeros (section 2.1 and figure 1 there). The last node is the output. Every
    edge makes the decisions of ``edge`` for itself, in the order 0-1, 0-2, 1-2, 0-3, …; those of
    all edges are of one kind.

    Args:
        nodes: how many, the input included, >= 2.
        edge: the module on every edge.
    """

    nodes: Annotated[int, AtLeast(2)]
    edge: Space

    def resolve(self, ask: Choose, at: Address) -> Space:
        def graph(nodes: int) -> Space:
            edges = (resolve_module(self.edge, ask, place) for place in self._places(at, nodes))
            return Graph(tuple(edges), path=at.path)

        nodes = resolve_value(self.nodes, ask, at / "nodes")
        return opened(nodes, graph, ask)

    def questions(self, at: Address) -> Iterator[Question]:
        def opens(nodes: int) -> Iterator[Question]:
            for place in self._places(at, nodes):
                yield from questions_of(self.edge, place)

        yield from questions_opened(self.nodes, at / "nodes", opens)

    def size(self) -> int:
        return sum(self.edge.size() ** num_edges(count) for count in values_of(self.nodes))

    def most_modules(self) -> int:
        return 1 + num_edges(most(self.nodes)) * self.edge.most_modules()

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from decisions_of_value(self.nodes, at / "nodes")
        yield from self.edge.decisions(next(self._places(at, nodes=2)))

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("its edges have to be chosen: freeze it first")

    def _places(self, at: Address, nodes: int) -> Iterator[Address]:
        for source, target in edges_of(nodes):
            yield enter(self.edge, at.repetition(f"{source}-{target}"))


@dataclass(frozen=True)
class Graph(Space):
    """A cell whose edges are known: what ``Cell`` becomes when it is frozen.

    Args:
        edges: the modules on 0-1, 0-2, 1-2, 0-3, …

    Raises:
        SpaceError: they are not as many as a cell of some number of nodes has.
    """

    edges: tuple[Space, ...]

    def __post_init__(self) -> None:
        if not self.edges or num_edges(self.num_nodes) != len(self.edges):
            raise SpaceError(
                f"edges of graph must be as many as a cell has (1, 3, 6, 10, …), got "
                f"{len(self.edges)}"
            )

    def thread(self, in_shape: Shape, measure: Callable[[Space, Shape], Shape]) -> Shape:
        shapes = [in_shape]
        for target in range(1, self.num_nodes):
            first = num_edges(target)
            into = self.edges[first : first + target]
            shapes.append(largest(list(map(measure, into, shapes))))
        return shapes[-1]

    def trace(self, tracer: Tracer[V], x: V) -> V:
        nodes, edges = [x], iter(self.edges)
        for _ in range(1, self.num_nodes):
            nodes.append(tracer.add([tracer.run(next(edges), node) for node in nodes]))
        return nodes[-1]

    def pruned(self, prune: Pruning) -> Space:
        edges = dict(zip(edges_of(self.num_nodes), map(prune, self.edges), strict=True))
        reached = {0}
        carrying = set()
        for (source, target), edge in edges.items():
            if not edge.is_zero and (prune.keeps_constants or source in reached):
                reached.add(target)
                carrying.add((source, target))
        last = self.num_nodes - 1
        if last not in reached:
            return Dead(self, path=self.path)
        needed = {last}
        for source, target in reversed(edges):
            if target in needed and (source, target) in carrying:
                needed.add(source)
        kept = tuple(
            edge
            if edge.is_zero or ((source, target) in carrying and target in needed)
            else Dead(edge, path=edge.path)
            for (source, target), edge in edges.items()
        )
        if all(one is other for one, other in zip(kept, self.edges, strict=True)):
            return self
        return dataclasses.replace(self, edges=kept)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        layers: list[nn.Module] = []
        shapes = [in_shape]
        for target in range(1, self.num_nodes):
            first = num_edges(target)
            into = self.edges[first : first + target]
            built = [edge.build(shape) for edge, shape in zip(into, shapes, strict=True)]
            layers += [layer for layer, _ in built]
            shapes.append(largest([shape for _, shape in built]))
        return CellNetwork(layers, shapes[1:]), shapes[-1]

    @property
    def num_nodes(self) -> int:
        """How many nodes there are, the input included."""
        return next(n for n in range(2, len(self.edges) + 3) if num_edges(n) >= len(self.edges))

    def text(self) -> str:
        shown = (
            f"{source}→{target}: {edge.text()}"
            for (source, target), edge in zip(edges_of(self.num_nodes), self.edges, strict=True)
            if not edge.is_zero
        )
        return f"cell({', '.join(shown) or 'zero'})"


class CellNetwork(nn.Module):
    """Adds up what the edges into each node make of the nodes before it."""

    def __init__(self, edges: list[nn.Module], shapes: list[Shape]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)
        self.shapes = shapes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nodes, edges = [x], iter(self.edges)
        for shape in self.shapes:
            into = [pad_to(next(edges)(node), shape) for node in nodes]
            nodes.append(reduce(torch.add, into))
        return nodes[-1]


def edges_of(nodes: int) -> Iterator[tuple[int, int]]:
    """Returns (source, target) of every edge in order: those into node 1, into node 2, …"""
    return ((source, target) for target in range(1, nodes) for source in range(target))


def num_edges(nodes: int) -> int:
    """Returns how many edges a cell has."""
    return nodes * (nodes - 1) // 2
