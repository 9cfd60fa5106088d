"""Layers with skip connections: which there can be, and that they compute what they say."""

import itertools
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from nasrunner.core import Decision, Genotype, SearchSpace, SpaceError
from nasrunner.core.decision import Selection
from nasrunner.export.source.construction import build
from nasrunner.spaces import Concat, Conv2d, Flatten, MaxPool, Relu, SkipLayers
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw as picture
from nasrunner.spaces.pictures.picture import Pill, Series
from nasrunner.spaces.pictures.skip_picture import SkipColumn
from nasrunner.spaces.skip_graph import SkipGraph
from tests.export.networks import difference, disturb, written
from tests.spaces.enumeration import draw, enumerate_genotypes
from tests.spaces.test_shipped import load

SVG = "{http://www.w3.org/2000/svg}"


def skips(times: object, layer: object, **others: Any) -> SearchSpace:
    return parse_space({"skip_layers": {"times": times, "layer": layer, **others}})


def asked(space: SearchSpace) -> list[Decision]:
    """Every decision, in the order asked, where all are answered with the first option."""
    decisions: list[Decision] = []

    def choose(decision: Decision) -> int:
        decisions.append(decision)
        return 0

    space.walk(choose)
    return decisions


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_a_layer_is_asked_its_own_decisions_and_then_about_every_layer_before_it() -> None:
    space = skips(3, {"or": ["relu", "tanh"]})
    assert [decision.path for decision in asked(space)] == [
        "skip_layers/1/or",
        *("skip_layers/2/or", "skip_layers/2/from/1"),
        *("skip_layers/3/or", "skip_layers/3/from/1", "skip_layers/3/from/2"),
    ]
    assert space.signature() == {
        "skip_layers/*/or": ("relu", "tanh"),
        "skip_layers/*/from/*": (False, True),
    }


def test_only_skips_are_marked_as_selections_of_a_layer_by_a_later_one() -> None:
    marks = {decision.path: decision.selection for decision in asked(skips(3, "relu"))}
    assert marks == {
        "skip_layers/2/from/1": Selection("skip_layers/1", "skip_layers/2"),
        "skip_layers/3/from/1": Selection("skip_layers/1", "skip_layers/3"),
        "skip_layers/3/from/2": Selection("skip_layers/2", "skip_layers/3"),
    }
    assert all(mark is None for mark in (d.selection for d in asked(load("nasbench201"))))


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (skips(1, "relu"), 1),
        (skips(3, "relu"), 2**3),
        (skips(3, {"or": ["relu", "tanh"]}), 2**3 * 2**3),
        (skips({"oneof": [3, 1]}, {"or": ["relu", "tanh"]}), 2 + 2**3 * 2**3),
        (
            skips({"oneof": [1, 3]}, "relu", pool={"or": ["tanh", "elu"]}, pool_after=[1, 3]),
            2 + 2**2 * 2**3,
        ),
    ],
)
def test_the_size_counts_layers_pools_and_skips(space: SearchSpace, size: int) -> None:
    assert space.size() == size
    genotypes = [tuple(sorted(genotype.items())) for genotype in enumerate_genotypes(space)]
    assert len(genotypes) == len(set(genotypes)) == size


def test_the_shipped_spaces_have_the_size_of_the_papers_choices() -> None:
    # 4 heights x 4 widths x 4 numbers of filters for a layer, and a bit for every pair of layers
    assert load("nasrl_conv").size() == 64**15 * 2 ** (15 * 14 // 2)
    assert load("nasrl_conv_strides").size() == (64 * 9) ** 20 * 2 ** (20 * 19 // 2)
    assert load("nasrl_conv_small").size() == 36**6 * 2 ** (6 * 5 // 2)


def test_outputs_are_stacked_in_depth_in_the_order_of_their_layers() -> None:
    layers = tuple(Conv2d(filters, 3) for filters in (2, 3, 4))
    graph = SkipGraph(layers, ((), (1,), (1, 2)))
    network, shape = graph.build((1, 5, 5))
    first, second, third = convolutions(network)
    x = torch.randn(6, 1, 5, 5)
    y1 = first(x)
    y2 = second(y1)
    assert shape == (4, 5, 5)
    torch.testing.assert_close(network(x), third(torch.cat([y1, y2], dim=1)))


def test_a_layer_that_takes_none_takes_the_image() -> None:
    graph = SkipGraph((Conv2d(2, 3), Conv2d(3, 3), Conv2d(4, 3)), ((), (), (1, 2)))
    network, _ = graph.build((1, 5, 5))
    first, second, third = convolutions(network)
    x = torch.randn(6, 1, 5, 5)
    torch.testing.assert_close(network(x), third(torch.cat([first(x), second(x)], dim=1)))


def test_outputs_that_no_layer_takes_are_stacked_at_the_end() -> None:
    graph = SkipGraph((Conv2d(2, 3), Conv2d(3, 3), Conv2d(4, 3)), ((), (1,), (1,)))
    network, shape = graph.build((1, 5, 5))
    first, second, third = convolutions(network)
    x = torch.randn(6, 1, 5, 5)
    expected = torch.cat([second(first(x)), third(first(x))], dim=1)
    assert shape == (3 + 4, 5, 5)
    torch.testing.assert_close(network(x), expected)


def test_smaller_outputs_are_padded_with_zeros_to_the_largest() -> None:
    # of an image of 5x4, the first keeps the rows, the second the columns
    layers = (Conv2d(1, 1, stride=(1, 2)), Conv2d(2, 1, stride=(3, 1)), Conv2d(4, 3))
    graph = SkipGraph(layers, ((), (), (1, 2)))
    network, shape = graph.build((1, 5, 4))
    first, second, third = convolutions(network)
    x = torch.randn(6, 1, 5, 4)
    meeting = torch.zeros(6, 3, 5, 4)
    meeting[:, :1, :, :2] = first(x)
    meeting[:, 1:, :2, :] = second(x)
    assert shape == (4, 5, 4)
    torch.testing.assert_close(network(x), third(meeting))


def test_pooling_is_a_part_of_the_layer_it_follows() -> None:
    pool = {"pool": {"max_pool": {"kernel_size": {"oneof": [1, 2]}}}, "pool_after": [2]}
    space = skips(3, {"conv2d": {"filters": 2, "kernel_size": 3}}, **pool)
    genotype = {
        "skip_layers/pool/2/max_pool/kernel_size": 1,
        "skip_layers/2/from/1": 1,
        "skip_layers/3/from/1": 0,
        "skip_layers/3/from/2": 1,
    }
    network, shape = space.freeze(genotype).build((1, 6, 6))
    first, second, third = convolutions(network)
    x = torch.randn(6, 1, 6, 6)
    assert shape == (2, 3, 3)
    expected = third(nn.functional.max_pool2d(second(first(x)), 2))
    torch.testing.assert_close(network(x), expected)


def test_layers_of_vectors_are_stacked_too() -> None:
    space = skips(2, {"affine": {"units": 3}})
    network, shape = space.freeze({"skip_layers/2/from/1": 0}).build((5,))
    first, second = (m for m in network.modules() if isinstance(m, nn.Linear))
    x = torch.randn(6, 5)
    assert shape == (6,)
    torch.testing.assert_close(network(x), torch.cat([first(x), second(x)], dim=1))


def test_every_weight_of_every_network_reaches_the_output() -> None:
    space = skips(4, {"conv2d": {"filters": 2, "kernel_size": 1}})
    for genotype in enumerate_genotypes(space):
        network, _ = space.freeze(genotype).build((1, 2, 2))
        network(torch.ones(1, 1, 2, 2)).sum().backward()
        assert all(weight.grad is not None for weight in network.parameters())


def test_an_image_and_a_vector_cannot_meet() -> None:
    graph = SkipGraph((Conv2d(2, 3), Concat((Conv2d(2, 3), Flatten()))), ((), ()))
    with pytest.raises(SpaceError, match="cannot be merged: flatten or pool them first"):
        graph.build((1, 5, 5))


def test_the_text_says_what_each_layer_takes() -> None:
    graph = SkipGraph((Relu(), Relu(), Conv2d(4, 3), Relu()), ((), (), (1, 2), (1,)))
    assert graph.text() == (
        "skip_layers(0→1: relu; 0→2: relu; 1,2→3: conv2d(filters=4, kernel_size=3); 1→4: relu; "
        "3,4→output)"
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"times": 0}, "times must be int >= 1, got 0"),
        ({"times": {"oneof": [3, -1]}}, "times.oneof must be int >= 1, got -1"),
        ({"pool": "relu"}, "skip_layers needs pool and pool_after together"),
        ({"pool_after": [2]}, "skip_layers needs pool and pool_after together"),
        (
            {"pool": "relu", "pool_after": [2, 2]},
            r"increasing numbers of layers from 1 to 3, got \[2, 2\]",
        ),
        ({"pool": "relu", "pool_after": [0]}, r"from 1 to 3, got \[0\]"),
        ({"pool": "relu", "pool_after": [4]}, r"from 1 to 3, got \[4\]"),
        (
            {"pool": "relu", "pool_after": {"oneof": [[1], [2]]}},
            "pool_after of skip_layers must be numbers, not decisions",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=f"space.skip_layers.*{message}"):
        skips(**{"times": 3, "layer": "relu", **config})


def test_a_skip_into_the_future_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"layer 2 may take only layers before it, 1 to 1, got 3"):
        SkipGraph((Relu(),) * 3, ((), (3,), ()))
    space = skips(3, "relu")
    genotype = {**draw(space, 0), "skip_layers/2/from/3": 1}
    with pytest.raises(SpaceError, match="'skip_layers/2/from/3', which is no active decision"):
        space.freeze(genotype)


def test_an_open_one_cannot_be_built() -> None:
    with pytest.raises(SpaceError, match="its layers and their inputs have to be chosen"):
        SkipLayers(3, Relu()).build((2,))


def test_exported_code_computes_the_same() -> None:
    space = load("nasrl_conv_strides")
    network, calls = build(space.freeze(draw(space, 1)), (3, 8, 8))
    disturb(network)
    code = written(network, calls, (3, 8, 8))
    other = code.load(code.state(network))
    assert "nasrunner" not in code.source
    for trains in (False, True):
        assert difference(network, other, (3, 8, 8), trains=trains) <= 1e-5


# The picture


def elements(graph: SkipGraph, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(picture(graph)).iter(f"{SVG}{tag}"))


def test_a_picture_numbers_the_layers_and_says_where_outputs_meet() -> None:
    block = Concat((Conv2d(4, 3), Relu()))
    graph = SkipGraph((block, Concat((block, MaxPool(2))), Relu()), ((), (1,), (1,)))
    assert [node.text for node in elements(graph, "text")] == [
        "input",
        *("concat",),  # 2 and 3 go out
        *("conv2d → relu", "filters=4, kernel_size=3", "1"),
        *("conv2d → relu", "filters=4, kernel_size=3", "max_pool", "kernel_size=2", "2"),
        *("relu", "3"),
        "output",
    ]


def test_lines_beside_the_layers_never_lie_on_one_another() -> None:
    space = skips(7, "relu")
    num_shared = 0
    for seed in range(30):
        sources = SkipGraph((Relu(),) * 7, inputs_of(draw(space, seed), 7)).sources()
        column = SkipColumn([Series([Pill("layer")]) for _ in range(7)], sources)
        for above, below in itertools.combinations(sorted(column.lanes), 2):
            if column.lanes[above] == column.lanes[below]:
                assert column.joints[column.ends[above]] < column.bottoms[below]
                num_shared += 1
    assert num_shared > 0


def inputs_of(genotype: Genotype, times: int) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(one for one in range(1, number) if genotype[f"skip_layers/{number}/from/{one}"])
        for number in range(1, times + 1)
    )
