import math

import pytest
import torch
from torch import nn

from nasrunner.core import OneOf, Shape, SpaceError
from nasrunner.spaces import (
    Affine,
    AveragePool,
    BatchNorm,
    Conv2d,
    DilatedConv2d,
    Dropout,
    Flatten,
    GlobalPool,
    LayerNorm,
    MaxPool,
    SeparableConv2d,
)
from nasrunner.spaces.windows.sliding import Pair


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def first_conv(network: nn.Module) -> nn.Conv2d:
    return next(m for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "pads"),
    [
        # rows and columns of zeros: (left, right, top, bottom), by hand
        ((8, 8), 3, 1, 1, (1, 1, 1, 1)),
        ((8, 8), 3, 2, 1, (0, 1, 0, 1)),
        ((7, 7), 3, 2, 1, (1, 1, 1, 1)),
        ((8, 8), 2, 1, 1, (0, 1, 0, 1)),
        ((8, 8), 4, 1, 1, (1, 2, 1, 2)),
        ((8, 8), 2, 2, 1, (0, 0, 0, 0)),
        ((9, 8), 1, 3, 1, (0, 0, 0, 0)),
        ((8, 6), (5, 1), (1, 2), 1, (0, 0, 2, 2)),
        ((5, 5), 7, 3, 1, (2, 3, 2, 3)),
        ((8, 8), 3, 1, 2, (2, 2, 2, 2)),
        ((1, 1), 5, 2, 1, (2, 2, 2, 2)),
    ],
)
def test_same_padding_gives_ceil_of_size_over_stride_with_the_odd_zero_at_the_end(
    size: tuple[int, int],
    kernel: Pair,
    stride: Pair,
    dilation: int,
    pads: tuple[int, int, int, int],
) -> None:
    network, shape = Conv2d(4, kernel, stride, "same", dilation).build((2, *size))
    steps = (stride, stride) if isinstance(stride, int) else stride
    assert shape == (4, *(math.ceil(n / s) for n, s in zip(size, steps, strict=True)))
    conv = first_conv(network)
    x = torch.randn(3, 2, *size)
    expected = nn.functional.conv2d(
        nn.functional.pad(x, pads), conv.weight, conv.bias, stride, 0, dilation
    )
    assert expected.shape[1:] == shape
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize(
    ("kernel", "stride", "out"), [(3, 1, (6, 4)), (2, 2, (4, 3)), ((5, 2), (1, 3), (4, 2))]
)
def test_valid_padding_adds_nothing(kernel: Pair, stride: Pair, out: tuple[int, int]) -> None:
    network, shape = Conv2d(4, kernel, stride, "valid").build((2, 8, 6))
    assert shape == (4, *out)
    conv = first_conv(network)
    x = torch.randn(3, 2, 8, 6)
    torch.testing.assert_close(network(x), nn.functional.conv2d(x, conv.weight, conv.bias, stride))


def test_a_separable_convolution_filters_each_channel_and_then_mixes_them() -> None:
    network, shape = SeparableConv2d(5, 3, 2).build((4, 8, 8))
    assert shape == (5, 4, 4)
    assert parameters(network) == 4 * 9 + 4 * 5 + 5
    assert network(torch.zeros(2, 4, 8, 8)).shape == (2, 5, 4, 4)


def test_a_dilated_convolution_sees_5x5_through_nine_weights() -> None:
    network, shape = DilatedConv2d(1).build((1, 9, 9))
    assert shape == (1, 9, 9)
    assert parameters(network) == 10
    x = torch.zeros(1, 1, 9, 9)
    x[..., 4, 4] = 1
    reached = (network(x) - network(torch.zeros_like(x)))[0, 0].abs() > 0
    assert reached.nonzero().tolist() == [[r, c] for r in (2, 4, 6) for c in (2, 4, 6)]


def test_pools_by_hand_inside_and_at_the_border() -> None:
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, -9.0]]]])
    cases = [
        (MaxPool(2, 2, "valid"), [[5.0]]),
        (MaxPool(2, 2, "same"), [[5.0, 6.0], [8.0, -9.0]]),  # a border of zeros would give 0
        (AveragePool(2, 2, "same"), [[3.0, 9 / 4], [15 / 4, -9 / 4]]),
        (AveragePool(3, 3, "same"), [[3.0]]),
    ]
    for module, expected in cases:
        network, shape = module.build((1, 3, 3))
        assert network(x)[0, 0].tolist() == expected
        assert shape == (1, len(expected), len(expected[0]))


def test_global_pools_keep_the_channels() -> None:
    x = torch.arange(8.0).view(1, 2, 2, 2)
    mean, shape = GlobalPool().build((2, 2, 2))
    assert shape == (2,)
    assert mean(x).tolist() == [[1.5, 5.5]]
    assert GlobalPool("max").build((2, 2, 2))[0](x).tolist() == [[3.0, 7.0]]


def test_an_affine_after_an_image_flattens_it() -> None:
    network, shape = Affine(7).build((2, 3, 4))
    assert shape == (7,)
    assert parameters(network) == 24 * 7 + 7
    assert network(torch.zeros(5, 2, 3, 4)).shape == (5, 7)
    assert parameters(Affine(7, bias=False).build((24,))[0]) == 24 * 7


def test_flatten_and_norms_keep_or_multiply_the_shape() -> None:
    assert Flatten().build((2, 3, 4))[1] == (24,)
    assert isinstance(BatchNorm().build((5,))[0], nn.BatchNorm1d)
    assert isinstance(BatchNorm().build((5, 2, 2))[0], nn.BatchNorm2d)
    network, shape = LayerNorm().build((5, 2, 2))
    assert shape == (5, 2, 2)
    assert parameters(network) == 2 * 20


@pytest.mark.parametrize(
    ("module", "in_shape", "message"),
    [
        (Affine(0), (3,), "'affine': units must be int >= 1, got 0"),
        (Dropout(1.0), (3,), r"p must be float in \[0, 1\), got 1.0"),
        (Dropout(-0.1), (3,), r"p must be float in \[0, 1\), got -0.1"),
        (Conv2d(0, 3), (1, 4, 4), "filters must be int >= 1 or same, got 0"),
        (Conv2d(4, 0), (1, 4, 4), r"kernel_size must be int >= 1 or \[int >= 1, int >= 1\], got 0"),
        (Conv2d(4, 3, 0), (1, 4, 4), r"stride must be int >= 1 or \[int >= 1, int >= 1\], got 0"),
        (Conv2d(4, 3), (16,), r"no conv2d .* shape \(16,\): it takes \(channels, height, width\)"),
        (Conv2d(4, 5, 1, "valid"), (1, 4, 9), r"window of \(5, 5\) does not fit into \(4, 9\)"),
        (Conv2d(4, 3, 1, "valid", 2), (1, 4, 4), r"window of \(5, 5\) does not fit into \(4, 4\)"),
        (Conv2d(4, 3, groups=2), (3, 4, 4), "in_channels must be divisible by groups"),
        (MaxPool(3), (1, 2, 2), r"window of \(3, 3\) does not fit into \(2, 2\)"),
        (GlobalPool(), (3,), r"it takes \(channels, time\) or \(channels, height, width\)"),
        (BatchNorm(), (3, 4, 5, 6), r"it takes \(features,\), \(channels, time\) or \(channels, h"),
        (Affine(OneOf((1, 2))), (3,), "'units' of 'affine' is still open: freeze it first"),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_layer_is_refused_with_its_path_and_shape(
    module: Affine, in_shape: Shape, message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        module.build(in_shape)
