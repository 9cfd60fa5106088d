"""Layers in series whose skip connections are added."""

from typing import Any

import pytest
import torch
from torch import nn

from nasrunner.children.blueprint import measure
from nasrunner.core import SpaceError
from nasrunner.spaces import Affine, Empty, Relu, SkipChain, Tanh
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.language.writing import written
from nasrunner.spaces.pictures.drawing import draw as picture
from tests.spaces.enumeration import draw, enumerate_genotypes
from tests.spaces.test_cell import scale

NOTHING = (Empty(),) * 3
HALVE = {"concat": [{"factorized_reduction": {"filters": "double"}}, "batch_norm"]}


def chain(times: Any = 3, **arguments: Any) -> Any:
    layer = scale({"oneof": [1, 2, 3]})
    given = {"times": times, "layer": layer, "skips": "added", **arguments}
    return parse_space({"skip_layers": given})


def test_it_asks_what_stacked_layers_ask() -> None:
    stacked = parse_space({"skip_layers": {"times": 3, "layer": scale({"oneof": [1, 2, 3]})}})
    assert chain().signature() == stacked.signature()
    assert list(draw(chain(), 0)) == list(draw(stacked, 0))
    assert chain().size() == 3**3 * 2**3 == len(list(enumerate_genotypes(chain())))


def test_a_layer_takes_the_one_before_and_adds_those_it_chose() -> None:
    layers = tuple(parse_space(scale(factor)).network for factor in (2, 3, 5))
    network, shape = SkipChain(layers, ((), (1,), (1, 2)), NOTHING).build((1,))
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm1d)):
        nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)  # the identity in evaluation
    # 1 = 2x, 2 = 3·2x + 2x = 8x, 3 = 5·8x + 2x + 8x = 50x
    assert network.eval()(torch.tensor([[1.0], [2.0]])).tolist() == [[50.0], [100.0]]
    assert shape == (1,)


def test_a_pool_is_given_every_value_that_is_still_taken() -> None:
    space = parse_space(
        {
            "skip_layers": {
                "times": 3,
                "layer": {"conv2d": {"filters": "same", "kernel_size": 1}},
                "skips": "added",
                "pool": HALVE,
                "pool_after": [2],
            }
        }
    )
    for answers, pooled in (((0, 0, 0), 1), ((1, 0, 0), 1), ((0, 1, 0), 2), ((0, 1, 1), 2)):
        rest = iter(answers)
        frozen = space.freeze(space.walk(lambda decision, rest=rest: next(rest)))
        network, shape = frozen.build((2, 6, 6))
        assert shape == (4, 3, 3)
        halves = [m for m in network.modules() if type(m).__name__ == "TwoHalves"]
        assert len(halves) == pooled  # that of layer 2, and that of 1 where 3 adds it
        assert network(torch.randn(2, 2, 6, 6)).shape == (2, *shape)
        network(torch.randn(2, 2, 6, 6)).sum().backward()
        assert all(each.grad is not None for each in network.parameters())
        flat = parse_space({"concat": [written(frozen), "flatten"]}).freeze({})
        counted = measure(flat, (2, 6, 6), 36).parameters
        assert counted == sum(each.numel() for each in network.parameters())


def test_a_text_and_a_picture_say_what_is_added() -> None:
    graph = SkipChain((Relu(), Tanh()), ((), (1,)), (Empty(), Relu()))
    assert graph.text() == "skip_layers[added](1: relu; 2: tanh + 1 → relu)"
    assert ">add<" in picture(graph)


def test_what_was_chosen_is_written_and_read_again() -> None:
    chosen = chain().freeze(draw(chain(), 1))
    assert parse_space(written(chosen)).network == chosen.network


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), (), ()), "skip_chain needs as many inputs and pools as layers, at least one"),
        (((Relu(),), ((),), ()), "got 1 and 0 for 1"),
        (((Relu(),), ((1,),), (Empty(),)), "layer 1 may take only layers before it"),
    ],
)
def test_a_chain_that_is_none_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SkipChain(*arguments)


def test_how_skips_join_is_no_decision() -> None:
    with pytest.raises(SpaceError, match="skips of skip_layers must be stacked or added, not a"):
        chain(skips={"oneof": ["added", "stacked"]})


def test_a_sum_of_vectors_is_normalized() -> None:
    network, shape = SkipChain((Affine(3), Affine(3)), ((), (1,)), NOTHING[:2]).build((2,))
    assert shape == (3,)
    assert network(torch.randn(5, 2)).mean(dim=0).abs().max() < 1e-5
