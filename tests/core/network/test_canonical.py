"""Which networks are the same, and which are not."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nasrunner.core import SearchSpace, Shape, Space, SpaceError
from nasrunner.spaces import (
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Empty,
    Flatten,
    Fork,
    Input,
    MaxPool,
    Named,
    Relu,
    Residual,
    Share,
    Shared,
    Sigmoid,
    Tanh,
    Zero,
)
from nasrunner.spaces.cell import Graph
from nasrunner.spaces.external import External
from nasrunner.spaces.skip_graph import SkipGraph
from tests.core.network.identities import IMAGE, classes, identity
from tests.sampling import one_in
from tests.spaces.enumeration import draw
from tests.spaces.test_shipped import load


def conv(filters: int = 4, kernel_size: int = 3) -> Conv2d:
    return Conv2d(filters, kernel_size)


def series(*modules: Space) -> Space:
    return Concat(modules)


def added(*branches: Space) -> Space:
    return Fork(branches, "add")


OPERATIONS: st.SearchStrategy[Space] = st.one_of(
    st.sampled_from([Relu(), Tanh(), BatchNorm(), Dropout(0.5), Empty(), MaxPool(3, 1, "same")]),
    st.builds(conv, st.just(4), st.sampled_from([1, 3])),
)


def _composite(modules: st.SearchStrategy[Space]) -> st.SearchStrategy[Space]:
    several = st.lists(modules, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        several.map(Concat),
        st.builds(Fork, several, st.sampled_from(["add", "multiply"])),
        modules.map(Residual),
        st.tuples(modules, modules, modules).map(Graph),
    )


NETWORKS: st.SearchStrategy[Space] = st.recursive(OPERATIONS, _composite, max_leaves=6)
"""Networks that keep an image's shape, in which nothing is dead."""


@given(NETWORKS, NETWORKS, st.sampled_from(["add", "multiply"]))
def test_branches_of_sums_and_products_have_no_order(a: Space, b: Space, merge: Any) -> None:
    assert identity(Fork((a, b), merge)) == identity(Fork((b, a), merge))


@given(NETWORKS)
def test_what_changes_nothing_is_no_part_of_a_network(network: Space) -> None:
    wanted = identity(network)
    for same in (
        series(network, Empty()),
        series(Empty(), Concat((Concat(()), network))),
        Named("block", network),
        added(network, Zero()),
        added(series(conv(), Zero()), network),
        added(series(Zero(), conv(), BatchNorm()), network),
        Graph((network, Zero(), Empty())),
        Graph((conv(), network, Zero())),
        Graph((Zero(), network, conv())),
        Share("x", network, Shared("x")),
    ):
        assert identity(same) == wanted


@given(NETWORKS, NETWORKS, NETWORKS)
def test_nested_series_and_sums_are_flat(a: Space, b: Space, c: Space) -> None:
    assert identity(series(a, series(b, c))) == identity(series(series(a, b), c))
    assert identity(added(a, added(b, c))) == identity(Fork((c, a, b), "add"))
    stacked = [identity(Fork((a, Fork((b, c), "concat")), "concat"))]
    assert stacked == [identity(Fork((a, b, c), "concat"))]


@given(NETWORKS)
def test_any_change_of_what_is_live_changes_it(network: Space) -> None:
    found = [
        identity(each)
        for each in (
            network,
            series(network, Tanh(), conv()),
            series(network, Tanh(), conv(kernel_size=1)),
            series(network, Tanh(), conv(filters=5)),
            series(conv(), Sigmoid(), network),
            series(network, Zero()),
            added(network, series(Sigmoid(), conv())),
            Fork((network, series(Sigmoid(), conv())), "concat"),
            Fork((series(Sigmoid(), conv()), network), "concat"),
        )
    ]
    assert len(classes(found)) == len(found)


def test_one_convolution_twice_is_not_two() -> None:
    once = series(conv(), added(Empty(), Empty()))  # f(x) + f(x)
    two = added(conv(), conv())  # f(x) + g(x)
    assert len({identity(once), identity(two), identity(conv())}) == 3


def test_functions_of_one_value_are_one_and_what_has_chance_is_not() -> None:
    for function in (Relu(), Tanh(), AveragePool(3, 1, "same"), MaxPool(3, 1, "same")):
        assert identity(added(function, function)) == identity(
            series(function, added(Empty(), Empty()))
        )
    drop = Dropout(0.5)
    assert identity(added(drop, drop)) != identity(series(drop, added(Empty(), Empty())))


def test_a_convolution_that_two_take_is_told_from_two_that_each_takes_one() -> None:
    first, second = conv(), conv(kernel_size=1)
    shared = series(first, added(second, second))
    apart = added(series(first, second), series(first, second))
    assert identity(shared) != identity(apart)


def test_a_change_of_one_edge_changes_a_cell_where_it_is_live() -> None:
    cells = [Graph((conv(), one, other)) for one in (Empty(), Zero()) for other in (Relu(), Zero())]
    found = [identity(cell) for cell in cells]
    assert len(set(found)) == 4  # the dead convolution of the last one: all is zero


def test_networks_that_are_equal_only_after_padding_are_two() -> None:
    wide, narrow = series(conv(filters=6)), series(conv(filters=3))
    found = [
        identity(added(wide, narrow)),
        identity(added(wide, wide)),
        identity(added(narrow, narrow)),
        identity(added(narrow, series(conv(filters=6), Zero()))),
        identity(added(narrow, Zero())),
        identity(narrow),
    ]
    assert len(set(found)) == 6
    assert identity(added(narrow, series(conv(filters=3), Zero()))) == found[-1]


def test_zeros_in_a_concatenation_have_a_place() -> None:
    a, zero = conv(), Zero()
    found = [identity(Fork(each, "concat")) for each in ((a, zero), (zero, a), (a, a))]
    assert len({*found, identity(a)}) == 4
    assert identity(Fork((zero, zero), "concat")) == identity(
        Fork((zero, series(a, zero)), "concat")
    )


def test_a_product_with_zeros_of_its_shape_is_zero_and_one_that_is_padded_is_not() -> None:
    assert identity(Fork((conv(), Zero()), "multiply")) == identity(Zero())
    wide = conv(filters=6)  # two of its channels are multiplied with the ones of the padding
    assert identity(Fork((wide, Zero()), "multiply")) not in (identity(Zero()), identity(wide))


def test_what_comes_behind_zeros_is_zero_although_a_bias_there_is_learned() -> None:
    assert identity(series(Zero(), Flatten(), Affine(3))) == identity(
        series(conv(), Zero(), Flatten(), Affine(3, bias=False))
    )


def test_inputs_by_name_are_told_apart_and_have_no_order_in_a_sum() -> None:
    shapes = {"left": (4,), "right": (4,)}
    left, right = Input("left"), Input("right")
    found = [
        identity(each, shapes)
        for each in (left, right, added(left, right), Fork((left, right), "concat"))
    ]
    assert len(set(found)) == 4
    assert identity(added(right, left), shapes) == found[2]
    assert identity(Fork((right, left), "concat"), shapes) != found[3]
    dense = series(left, Affine(2))
    assert identity(added(dense, series(right, Affine(2))), shapes) != identity(
        added(dense, series(left, Affine(2))), shapes
    )


def test_tokens_are_not_taken_for_numbers_of_the_same_shape() -> None:
    embedding = {"_target_": "torch.nn.Embedding", "num_embeddings": 9, "embedding_dim": 2}
    from nasrunner.core.shapes import TokenShape
    from nasrunner.spaces.language.parsing import parse_space

    embed = parse_space(embedding)
    shapes = {"words": TokenShape((5,)), "numbers": (5,)}
    dtypes = {"words": "int64"}
    words = series(Input("words"), embed.network)
    found = identity(words, shapes, in_dtype=dtypes)
    both = added(series(Input("numbers"), Affine(2)), series(words, Flatten(), Affine(2)))
    assert identity(both, shapes, in_dtype=dtypes) != found


def test_what_is_shared_has_weights_of_its_own_in_every_place() -> None:
    body = added(Shared("block"), series(Relu(), Shared("block")))
    shared = Share("block", conv(), body)
    assert identity(shared) == identity(added(conv(), series(Relu(), conv())))
    other = Share("block", conv(kernel_size=1), body)
    assert identity(other) != identity(shared)


def test_one_part_means_another_where_its_label_does() -> None:
    body = Graph((Shared("block"), Empty(), Shared("block")))
    twice = series(body, body, body)
    space = SearchSpace((), Empty())
    found = {
        identity(dataclasses.replace(space, network=Share("block", module, twice)))
        for module in (conv(), Relu(), conv(kernel_size=1), Zero())
    }
    assert len(found) == 4


def test_layers_that_skip_are_known_by_what_they_take() -> None:
    layers = (conv(), conv(), conv())
    chain = SkipGraph(layers, ((), (1,), (2,)))
    assert identity(chain) == identity(series(*layers))
    skipping = SkipGraph(layers, ((), (1,), (1, 2)))
    assert len({identity(chain), identity(skipping), identity(SkipGraph(layers, ((),) * 3))}) == 3


class Doubled(nn.Module):
    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


@dataclasses.dataclass(frozen=True)
class OwnBlock(Space):
    """A user's module with a submodule, which says nothing of what it does with it."""

    body: Space
    times: int = 1

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        body, shape = self.body.build(in_shape)
        return nn.Sequential(body, nn.ReLU()), shape


def test_modules_of_a_user_are_known_by_their_arguments() -> None:
    two, three = (External(Doubled, (("factor", f),)) for f in (2.0, 3.0))
    assert identity(two) == identity(series(Empty(), External(Doubled, (("factor", 2.0),))))
    assert identity(two) != identity(three)
    assert identity(added(two, two)) != identity(series(two, added(Empty(), Empty())))
    blocks = [OwnBlock(conv()), OwnBlock(conv(kernel_size=1)), OwnBlock(conv(), 2)]
    assert len({identity(each) for each in blocks}) == 3
    assert identity(OwnBlock(Named("a", conv()))) != identity(conv())


def test_an_impossible_network_has_none_also_where_it_is_dead() -> None:
    with pytest.raises(SpaceError):
        identity(series(Flatten(), conv()))
    with pytest.raises(SpaceError):
        identity(added(Empty(), series(Flatten(), conv(), Zero())))


@one_in(
    3,
    1,
    ("name", "in_shape"),
    [("enas_cell", (35,)), ("nasrl_cell_small", (35,)), ("rnn_baselines", (35,))],
)
def test_language_models_are_told_apart_by_their_cells(name: str, in_shape: Shape) -> None:
    space = load(name)
    genotypes = [draw(space, seed) for seed in range(4)]
    different = {tuple(genotype.items()) for genotype in genotypes}
    found = [identity(space, in_shape, each, "int64") for each in genotypes]
    assert found == [identity(space, in_shape, each, "int64") for each in genotypes]
    assert len(set(found)) == len(different) > 1


def outputs(network: Space) -> set[tuple[float, ...]]:
    """What a network of at most three convolutions makes of one image, in all orders of weights."""
    built, _ = network.build((1, 3, 3))
    layers = [layer for layer in built.modules() if isinstance(layer, nn.Conv2d)]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 3, 3, generator=generator)
    weights = [torch.randn(1, 1, 3, 3, generator=generator) for _ in layers]
    found = set()
    for order in itertools.permutations(weights):
        for layer, weight in zip(layers, order, strict=True):
            layer.weight.data = weight
        with torch.no_grad():
            found.add(tuple(round(float(value), 4) + 0.0 for value in built(x).flatten()))
    return found


def test_networks_of_one_identity_compute_the_same_and_of_two_do_not() -> None:
    convolution = Conv2d(1, 3, bias=False)
    operations = (Zero(), Empty(), convolution)
    cells = [Graph(edges) for edges in itertools.product(operations, repeat=3)]
    cells += [Graph((a, b, c)) for a, b, c in itertools.product((Relu(), convolution), repeat=3)]
    pairs = [(cell, identity(cell, (1, 3, 3)), outputs(cell)) for cell in cells]
    for (_, one, made), (_, other, by_other) in itertools.combinations(pairs, 2):
        # Dead convolutions take weights away from live ones: the orders of fewer are a subset.
        assert (one == other) == bool(made & by_other)
    assert len({one for _, one, _ in pairs}) < len(pairs)


def test_images_are_of_the_size_that_was_given() -> None:
    assert identity(conv(), IMAGE) != identity(conv(), (4, 5, 5))
