"""The statistics of networks, against paths listed one by one and networks that are built."""

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrunner.children.blueprint import count_flops
from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import SearchSpace, Space
from nasrunner.core.network.known import Description
from nasrunner.spaces.cell import edges_of
from nasrunner.spaces.language.parsing import parse_space

SHAPE = (4, 8, 8)
OPERATIONS: dict[str, Any] = {
    "zero": "zero",
    "empty": "empty",
    "conv": {"conv2d": {"filters": "same", "kernel_size": 3}},
    "pool": {"average_pool": {"kernel_size": 3, "stride": 1, "padding": "same"}},
    "both": {"concat": [{"conv2d": {"filters": "same", "kernel_size": 1}}, "relu"]},
}
COUNTED = {
    "zero": None,
    "empty": [],
    "conv": ["conv2d"],
    "pool": ["average_pool"],
    "both": ["conv2d", "relu"],
}


def cell_of(names: tuple[str, ...]) -> dict[str, Any]:
    """A space whose genotype answers which operation each edge of a cell of four nodes has."""
    return {"cell": {"nodes": 4, "edge": {"or": [OPERATIONS[name] for name in names]}}}


def described(space: SearchSpace, genotypes: list[dict[str, int]]) -> Description:
    return SpaceNetworks(space, SHAPE, "float32", identifies=True).describe(genotypes)


def value(shown: Description, name: str, row: int = 0) -> float:
    return float(shown.rows_NF[row, shown.names.index(name)])


def paths_through(operations: dict[tuple[int, int], str]) -> list[list[tuple[int, int]]]:
    """Every path of edges that are no zeros from node 0 to node 3, one by one."""
    found = []
    for between in itertools.chain.from_iterable(
        itertools.combinations((1, 2), count) for count in range(3)
    ):
        nodes = (0, *between, 3)
        edges = list(itertools.pairwise(nodes))
        if all(operations[edge] != "zero" for edge in edges):
            found.append(edges)
    return found


@given(st.lists(st.sampled_from(list(OPERATIONS)), min_size=6, max_size=6))
def test_counts_on_paths_are_those_of_paths_listed_one_by_one(chosen: list[str]) -> None:
    names = tuple(OPERATIONS)
    space = parse_space(cell_of(names))
    edges = list(edges_of(4))
    genotype = {
        f"cell/{source}-{target}/or": names.index(name)
        for (source, target), name in zip(edges, chosen, strict=True)
    }
    shown = described(space, [genotype])
    operations = dict(zip(edges, chosen, strict=True))
    paths = paths_through(operations)
    assert value(shown, "paths") == pytest.approx(math.log1p(len(paths)))
    counts = [
        Counter(k for edge in path for k in COUNTED[operations[edge]] or ()) for path in paths
    ]
    for kind in ("conv2d", "average_pool", "relu"):
        on_each = [count[kind] for count in counts] or [0]
        for what, expected in (
            ("smallest", min(on_each)),
            ("mean", sum(on_each) / len(on_each)),
            ("largest", max(on_each)),
        ):
            name = f"{what} count of {kind}"
            found = value(shown, name) if name in shown.names else 0.0
            assert found == pytest.approx(expected)
    live = {edge for path in paths for edge in path}
    parameters = sum(
        sum(
            p.numel()
            for p in parse_space(OPERATIONS[operations[edge]]).build(SHAPE)[0].parameters()
        )
        for edge in live
    )
    assert value(shown, "parameters") == pytest.approx(math.log1p(parameters))


SHARED = {"shared": {"label": "a"}}
WHOLE: list[dict[str, Any]] = [
    {"fork": {"merge": "concat", "branches": [OPERATIONS["conv"], OPERATIONS["both"], "empty"]}},
    {"residual": {"body": {"conv2d": {"filters": 8, "kernel_size": 3, "stride": 2}}}},
    {"concat": [{"repeat_tied": {"times": 3, "body": OPERATIONS["both"]}}, "global_pool"]},
    {
        "share": {
            "label": "a",
            "module": OPERATIONS["both"],
            "body": {"concat": [SHARED, {"max_pool": {"kernel_size": 2}}, SHARED]},
        }
    },
]


@pytest.mark.parametrize("text", WHOLE)
def test_parameters_and_flops_of_a_network_without_dead_parts_are_those_of_the_built_one(
    text: dict[str, Any],
) -> None:
    space = parse_space(text)
    genotype = space.walk(lambda decision: 0)
    network, _ = space.freeze(genotype).network.build(SHAPE)
    shown = described(space, [genotype])
    parameters = sum(p.numel() for p in network.parameters())
    assert value(shown, "parameters") == pytest.approx(math.log1p(parameters))
    assert value(shown, "flops") == pytest.approx(
        math.log1p(count_flops(network.to("meta"), SHAPE))
    )


def test_numbers_are_logarithms_of_the_arguments_of_live_operations_in_order() -> None:
    units = {"affine": {"units": {"oneof": [16, 64]}}}
    space = parse_space({"concat": [units, "relu", units, {"affine": {"units": 10}}]})
    first, second = (decision.path for decision in asked(space))
    shown = described(space, [{first: 1, second: 0}])
    logs = np.log1p([64, 16, 10])
    for what, expected in (
        ("mean", logs.mean()),
        ("smallest", logs.min()),
        ("largest", logs.max()),
        ("last", logs[-1]),
    ):
        assert value(shown, f"{what} of affine.units") == pytest.approx(expected)


def asked(space: Space) -> list[Any]:
    found: list[Any] = []
    space.walk(lambda decision: found.append(decision) or 0)
    return found


def test_a_module_that_is_shared_is_told_apart_by_what_it_stands_for() -> None:
    space = parse_space({
        "share": {
            "label": "normal",
            "module": cell_of(tuple(OPERATIONS)),
            "body": {"repeat_tied": {"times": 2, "body": {"shared": {"label": "normal"}}}},
        }
    })  # fmt: skip
    paths = [decision.path for decision in asked(space)]
    conv, none = list(OPERATIONS).index("conv"), list(OPERATIONS).index("zero")
    chain = dict.fromkeys(paths, none) | {p: conv for p in paths if p.split("/")[-2] == "0-3"}
    genotypes = [chain, dict.fromkeys(paths, conv), dict.fromkeys(paths, none)]
    shown = described(space, genotypes)
    counts = [value(shown, "largest count of conv2d", row) for row in range(3)]
    assert counts == [2, 6, 0]
    assert [value(shown, "paths", row) for row in range(3)] == pytest.approx(
        np.log1p([1, 16, 0]).tolist()
    )


def test_what_was_described_before_changes_nothing() -> None:
    space = parse_space(cell_of(tuple(OPERATIONS)))
    rng = np.random.default_rng(0)
    genotypes = [space.walk(lambda d: int(rng.integers(len(d.options)))) for _ in range(30)]
    networks = SpaceNetworks(space, SHAPE, "float32", identifies=True)
    for genotype in genotypes[::-1]:
        networks.describe([genotype])
    again, fresh = networks.describe(genotypes), described(space, genotypes)
    for name in fresh.names:
        np.testing.assert_array_equal(
            again.rows_NF[:, again.names.index(name)], fresh.rows_NF[:, fresh.names.index(name)]
        )


def test_an_impossible_network_says_so() -> None:
    space = parse_space(
        {"concat": [{"or": ["global_pool", "empty"]}, {"max_pool": {"kernel_size": 2}}]}
    )
    (decision,) = asked(space)
    shown = described(space, [{decision.path: 0}, {decision.path: 1}])
    assert shown.is_possible_N.tolist() == [False, True]
    assert np.isnan(shown.rows_NF[0]).all()
    assert not np.isnan(value(shown, "parameters", 1))


def test_searched_settings_are_described_by_where_they_stand() -> None:
    space = parse_space({
        "hyperparameters": {
            "optimizer.lr": {"logspace": [0.001, 0.1, 5]},
            "data.shuffle": {"oneof": [True, False]},
        },
        "concat": ["relu", {"affine": {"units": 3}}],
    })  # fmt: skip
    lr, shuffle = (decision.path for decision in asked(space))
    shown = described(space, [{lr: 1, shuffle: 0}, {lr: 4, shuffle: 1}])
    assert [value(shown, lr, row) for row in (0, 1)] == [0.25, 1.0]
    assert [value(shown, f"{shuffle}=1", row) for row in (0, 1)] == [0.0, 1.0]


def test_what_stands_in_the_arguments_of_one_operation_counts() -> None:
    cell = {"recurrent_cell": {"base": 2, "combinations": ["add"], "activations": ["tanh", "relu"]}}
    layer = {"recurrent": {"units": 8, "cell": cell}}
    model = {"language_model": {"vocabulary": 9, "tied": False, "units": 8, "body": layer}}
    space = parse_space(model)
    genotypes = [space.walk(lambda decision: 0), space.walk(lambda d: len(d.options) - 1)]
    networks = SpaceNetworks(space, (5,), "int64", identifies=True)
    shown = networks.describe(genotypes)
    assert shown.is_possible_N.all()
    name = "mean count of tree_cell.nodes=tanh"
    assert value(shown, name, 0) == 3
    assert value(shown, name, 1) == 0
