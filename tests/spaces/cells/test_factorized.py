"""Factorised reductions, strides of cells' operations, and paths that are dropped."""

from typing import Any

import pytest
import torch
from torch import nn

from nasrunner.core import SpaceError
from nasrunner.core.training_step import stepping
from nasrunner.spaces import (
    AveragePool,
    Concat,
    Conv2d,
    Empty,
    FactorizedReduction,
    Fork,
    MaxPool,
    Named,
    PathDropout,
    Relu,
    Residual,
    SeparableConv2d,
    Zero,
)
from nasrunner.spaces.cells.halved import halved
from nasrunner.spaces.language.parsing import parse_space


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (1, 2)])
def test_each_half_of_the_filters_looks_at_every_second_pixel(height: int, width: int) -> None:
    network, shape = FactorizedReduction(3).build((2, height, width))
    assert shape == (3, -(-height // 2), -(-width // 2))
    x = torch.randn(5, 2, height, width)
    even, odd = (m.weight for m in network.modules() if isinstance(m, nn.Conv2d))
    assert [even.shape[0], odd.shape[0]] == [1, 2]
    padded = torch.zeros(5, 2, 2 * shape[1], 2 * shape[2])
    padded[:, :, :height, :width] = x
    expected = torch.cat(
        [
            torch.einsum("oc,bchw->bohw", even[:, :, 0, 0], padded[:, :, ::2, ::2]),
            torch.einsum("oc,bchw->bohw", odd[:, :, 0, 0], padded[:, :, 1::2, 1::2]),
        ],
        dim=1,
    )
    torch.testing.assert_close(network(x), expected)


def test_filters_follow_what_comes_in() -> None:
    assert FactorizedReduction("same").build((5, 4, 4))[1] == (5, 2, 2)
    assert FactorizedReduction("double").build((5, 4, 4))[1] == (10, 2, 2)
    with pytest.raises(SpaceError, match="filters must be >= 2, half from each convolution, got 1"):
        FactorizedReduction("same").build((1, 4, 4))


BLOCK = Concat((Relu(), SeparableConv2d("same", 3), SeparableConv2d("same", 3)))


@pytest.mark.parametrize(
    "module",
    [
        Conv2d(3, 3),
        MaxPool(3, 1, "same"),
        AveragePool(3, 1, "same", count_padding=False),
        BLOCK,
        Named("block", BLOCK),
        Empty(),
        Concat(()),
        Zero(),
        Residual(Conv2d("same", 3)),
        Fork((Conv2d(3, 1), Empty()), "add"),
        parse_space(
            {"_target_": "torch.nn.LPPool2d", "norm_type": 2, "kernel_size": 1, "stride": 1}
        )
        .freeze({})
        .network,
    ],
    ids=lambda module: module.text(),
)
def test_an_operation_halves_its_images(module: Any) -> None:
    for size in (8, 5):
        network, shape = halved(module).build((3, size, size))
        assert shape == (3, -(-size // 2), -(-size // 2))
        assert network(torch.randn(2, 3, size, size)).shape == (2, *shape)


def test_the_first_of_a_series_has_the_stride() -> None:
    strides = [
        m.stride[0] for m in halved(BLOCK).build((3, 8, 8))[0].modules() if isinstance(m, nn.Conv2d)
    ]
    assert strides == [2, 1, 1, 1]  # depthwise and pointwise, twice


@pytest.mark.parametrize("module", [Relu(), Conv2d(3, 3, stride=2), Concat((Relu(), Relu()))])
def test_what_has_no_stride_of_1_is_refused(module: Any) -> None:
    with pytest.raises(SpaceError, match="must have stride=1 somewhere, which becomes 2 there"):
        halved(module)


def share_of_zeros(network: nn.Module) -> float:
    y = network.train()(torch.ones(4000, 2, 3, 3))
    is_zero = (y == 0).flatten(1)
    assert torch.equal(is_zero.all(dim=1), is_zero.any(dim=1)), "all of an example or none"
    return is_zero.all(dim=1).float().mean().item()


def test_paths_are_dropped_more_often_as_training_goes_on() -> None:
    torch.manual_seed(0)
    network, shape = PathDropout(0.4).build((2, 3, 3))
    assert shape == (2, 3, 3)
    assert share_of_zeros(network) == 0.0  # nobody trains it
    for progress, share in ((0.0, 0.0), (0.5, 0.2), (1.0, 0.4)):
        with stepping(progress):
            assert share_of_zeros(network) == pytest.approx(share, abs=0.02)
            mean = network(torch.ones(4000, 2, 3, 3)).mean().item()
            assert mean == pytest.approx(1.0, abs=0.03)
            x = torch.randn(3, 2, 3, 3)
            assert torch.equal(network.eval()(x), x)


def test_paths_can_be_dropped_alike_in_all_epochs() -> None:
    torch.manual_seed(0)
    network, _ = PathDropout(0.3, "constant").build((2, 3, 3))
    assert share_of_zeros(network) == pytest.approx(0.3, abs=0.03)


def test_a_rise_over_a_training_without_end_is_refused() -> None:
    network, _ = PathDropout(0.4).build((2, 3, 3))
    with (
        stepping(None),
        pytest.raises(ValueError, match="path_dropout rises over training, so its end must be"),
    ):
        network.train()(torch.ones(1, 2, 3, 3))
