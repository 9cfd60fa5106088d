"""How many different networks two benchmarks have, counted by hand beside our own count."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from nasrunner.children.networks import SpaceNetworks
from tests.core.network.identities import classes
from tests.spaces.enumeration import enumerate_genotypes
from tests.spaces.test_shipped import load

Cell = tuple[int, ...]
"""The operations on the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""

NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
CELLS = list(itertools.product(range(5), repeat=6))


def expression(cell: Cell, numbers: Sequence[int] | None) -> Any:
    """What a cell computes, as nested sorted sums of terms; a node without terms is zero.

    Args:
        cell: it.
        numbers: which convolution stands on each edge; None: all of a kind are the same.
    """
    nodes: list[tuple[Any, ...]] = [(("x",),)]
    for target in (1, 2, 3):
        terms: list[Any] = []
        for edge, (source, end) in enumerate(EDGES):
            operation, value = cell[edge], nodes[source] if source < target else ()
            if end != target or operation == NONE or not value:
                continue
            if operation == SKIP:
                terms += value
            elif operation == POOL or numbers is None:
                terms.append((str(operation), "", value))
            else:
                terms.append((str(operation), str(numbers[edge]), value))
        nodes.append(tuple(sorted(terms)))
    return nodes[3]


def live_convolutions(cell: Cell) -> list[int]:
    """Edges with a convolution that some path from the input to the output leads through."""
    paths = [(3,), (0, 4), (1, 5), (0, 2, 5)]
    live = {edge for path in paths if all(cell[each] != NONE for each in path) for edge in path}
    return [edge for edge in sorted(live) if cell[edge] in (CONV_1X1, CONV_3X3)]


def canonical(cell: Cell) -> Any:
    """The least expression of all ways to number the convolutions."""
    edges = live_convolutions(cell)
    found = []
    for order in itertools.permutations(range(len(edges))):
        numbers = [-1] * 6
        for edge, number in zip(edges, order, strict=True):
            numbers[edge] = number
        found.append(expression(cell, numbers))
    return min(found)


def benchmark_string(cell: Cell) -> str:
    """The benchmark's own rule: nested strings in which zeros stay terms of a sum.

    Dong & Yang 2020, arXiv:2001.00326, section 2.1: 6,466 unique topologies.
    """
    nodes = ["0"]
    for target in (1, 2, 3):
        terms = []
        for operation, (source, end) in zip(cell, EDGES, strict=True):
            if end != target:
                continue
            if operation == NONE or nodes[source] == "#":
                terms.append("#")
            elif operation == SKIP:
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[3]


def identities(cells: Iterable[Cell]) -> list[str]:
    space = load("nasbench201")
    networks = SpaceNetworks(space, (3, 32, 32), "float32", identifies=True)
    paths = [f"normal/cell/{source}-{target}/or" for source, target in EDGES]
    return [networks.identity(dict(zip(paths, cell, strict=True))) for cell in cells]


def test_cells_by_hand() -> None:
    assert expression((SKIP, NONE, NONE, NONE, CONV_3X3, NONE), [0] * 6) == (("3", "0", (("x",),)),)
    assert canonical((NONE, NONE, POOL, NONE, CONV_3X3, SKIP)) == ()
    twice = expression((CONV_3X3, NONE, SKIP, NONE, SKIP, SKIP), [7] * 6)
    assert twice == (("3", "7", (("x",),)),) * 2


def test_cells_of_zeros_skips_and_convolutions_are_told_apart_as_by_hand() -> None:
    cells = list(itertools.product((NONE, SKIP, CONV_3X3), repeat=6))
    assert classes(identities(cells)) == classes(map(canonical, cells))


def test_some_cells_of_all_operations_are_told_apart_as_by_hand() -> None:
    cells = [(*cell, 3, 1) for cell in itertools.product(range(5), repeat=4)]
    assert classes(identities(cells)) == classes(map(canonical, cells))


@pytest.mark.slow
def test_nasbench201_has_5260_different_networks() -> None:
    found = classes(identities(CELLS))
    assert len(found) == 5_260
    assert found == classes(map(canonical, CELLS))


@pytest.mark.slow
def test_coarser_and_finer_rules_count_otherwise_on_nasbench201() -> None:
    assert len({expression(cell, None) for cell in CELLS}) == 4_930
    theirs = defaultdict(set)
    for cell in CELLS:
        theirs[benchmark_string(cell)].add(canonical(cell))
    assert len(theirs) == 6_466
    assert sum(len(networks) > 1 for networks in theirs.values()) == 436


def test_nasbench_macro_has_3969_different_networks() -> None:
    space = load("nasbench_macro")
    networks = SpaceNetworks(space, (3, 32, 32), "float32", identifies=True)
    found = {networks.identity(genotype) for genotype in enumerate_genotypes(space)}
    # A stage of three layers: 3 first ones, and 7 series of two layers of which one may be empty.
    assert len(found) == 9 * 21 * 21 == 3_969
