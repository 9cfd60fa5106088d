"""Modules of signals, (channels, time), against torch's own layers and by hand."""

import math

import pytest
import torch
from torch import nn

from nasrunner.core import Shape, Space, SpaceError
from nasrunner.spaces import (
    AveragePool,
    BatchNorm,
    Concat,
    Conv1d,
    Conv2d,
    DilatedConv1d,
    Dropout,
    FactorizedReduction,
    Fork,
    GlobalPool,
    MaxPool,
    Recurrent,
    RecurrentEncoder,
    Relu,
    Residual,
    RnnCell,
    SeparableConv1d,
    SkipLayers,
)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def first_conv(network: nn.Module) -> nn.Conv1d:
    return next(m for m in network.modules() if isinstance(m, nn.Conv1d))


@pytest.mark.parametrize(
    ("steps", "kernel", "stride", "dilation", "pads"),
    [
        # zeros before and after, by hand
        (8, 3, 1, 1, (1, 1)),
        (8, 3, 2, 1, (0, 1)),
        (7, 3, 2, 1, (1, 1)),
        (8, 2, 1, 1, (0, 1)),
        (8, 4, 1, 1, (1, 2)),
        (8, 2, 2, 1, (0, 0)),
        (5, 7, 3, 1, (2, 3)),
        (9, 3, 1, 4, (4, 4)),
        (1, 5, 2, 1, (2, 2)),
    ],
)
def test_same_padding_gives_ceil_of_steps_over_stride_with_the_odd_zero_at_the_end(
    steps: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]
) -> None:
    network, shape = Conv1d(4, kernel, stride, "same", dilation).build((2, steps))
    assert shape == (4, math.ceil(steps / stride))
    conv = first_conv(network)
    x = torch.randn(3, 2, steps)
    padded = nn.functional.pad(x, pads)
    expected = nn.functional.conv1d(padded, conv.weight, conv.bias, stride, 0, dilation)
    assert expected.shape[1:] == shape
    torch.testing.assert_close(network(x), expected)


def test_valid_padding_adds_nothing() -> None:
    network, shape = Conv1d(4, 3, 2, "valid", groups=2, bias=False).build((2, 8))
    assert shape == (4, 3)
    theirs = nn.Conv1d(2, 4, 3, 2, groups=2, bias=False)
    theirs.load_state_dict(network.state_dict())
    x = torch.randn(3, 2, 8)
    torch.testing.assert_close(network(x), theirs(x))


def test_a_separable_convolution_filters_each_channel_and_then_mixes_them() -> None:
    network, shape = SeparableConv1d(5, 3, 2).build((4, 8))
    assert shape == (5, 4)
    assert parameters(network) == 4 * 3 + 4 * 5 + 5
    depthwise, pointwise = (m for m in network.modules() if isinstance(m, nn.Conv1d))
    x = torch.randn(2, 4, 8)
    padded = nn.functional.pad(x, (0, 1))
    filtered = torch.stack(
        [(padded[:, c].unfold(1, 3, 2) * depthwise.weight[c, 0]).sum(2) for c in range(4)], 1
    )
    assert pointwise.bias is not None
    mixed = torch.einsum("oi,bit->bot", pointwise.weight[:, :, 0], filtered)
    torch.testing.assert_close(network(x), mixed + pointwise.bias[:, None])


def test_a_dilated_convolution_sees_five_steps_through_three_weights() -> None:
    network, shape = DilatedConv1d(1).build((1, 9))
    assert shape == (1, 9)
    assert parameters(network) == 4
    x = torch.zeros(1, 1, 9)
    x[..., 4] = 1
    reached = (network(x) - network(torch.zeros_like(x)))[0, 0].abs() > 0
    assert reached.nonzero().flatten().tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (MaxPool(2), [[2.0]]),
        (MaxPool(2, 2, "same"), [[2.0, -9.0]]),  # a border of zeros would give 0
        (MaxPool(3, 1, "same"), [[2.0, 2.0, 2.0]]),
        (AveragePool(2, 2, "same"), [[1.5, -4.5]]),
        (AveragePool(2, 2, "same", count_padding=False), [[1.5, -9.0]]),
        (AveragePool(3, 1, "same"), [[1.0, -2.0, -7 / 3]]),
        (AveragePool(3, 1, "same", count_padding=False), [[1.5, -2.0, -3.5]]),
    ],
    ids=lambda value: value.text() if isinstance(value, Space) else "",
)
def test_pools_by_hand_inside_and_at_the_ends(pool: Space, expected: list[list[float]]) -> None:
    network, shape = pool.build((1, 3))
    found = network(torch.tensor([[[1.0, 2.0, -9.0]]]))[0]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert shape == (1, len(expected[0]))


@pytest.mark.parametrize("pool", [MaxPool, AveragePool])
def test_pools_are_torchs_where_nothing_is_padded(pool: type[MaxPool | AveragePool]) -> None:
    theirs = {MaxPool: nn.MaxPool1d(3, 2), AveragePool: nn.AvgPool1d(3, 2)}[pool]
    network, shape = pool(3).build((2, 11))
    x = torch.randn(4, 2, 11)
    torch.testing.assert_close(network(x), theirs(x))
    assert theirs(x).shape[1:] == shape


def test_global_pools_keep_the_channels() -> None:
    x = torch.arange(6.0).view(1, 2, 3)
    mean, shape = GlobalPool().build((2, 3))
    assert shape == (2,)
    assert mean(x).tolist() == [[1.0, 4.0]]
    assert GlobalPool("max").build((2, 3))[0](x).tolist() == [[2.0, 5.0]]


def test_batch_normalization_is_of_each_channel_over_examples_and_time() -> None:
    network, shape = BatchNorm().build((2, 5))
    x = 3 * torch.randn(4, 2, 5) + 1
    mean, variance = x.mean((0, 2), keepdim=True), x.var((0, 2), unbiased=False, keepdim=True)
    torch.testing.assert_close(network(x), (x - mean) / (variance + 1e-5).sqrt())
    assert shape == (2, 5)
    assert Dropout(0.5).build((2, 5))[1] == (2, 5)


@pytest.mark.parametrize(("steps", "stride"), [(8, 1), (8, 2), (7, 3)])
def test_a_residual_projects_signals_with_the_stride_of_its_body(steps: int, stride: int) -> None:
    """Also where the channels stay, which for (time, units) would be a matrix of the last one."""
    for channels in (2, 3):
        body = Concat((Conv1d(channels, 3, stride), Relu()))
        if (channels, stride) == (2, 1):
            continue  # one shape
        network, shape = Residual(body).build((2, steps))
        assert shape == (channels, math.ceil(steps / stride))
        shortcut, layer = network.branches
        assert parameters(shortcut) == 2 * channels
        x = torch.randn(4, 2, steps)
        seen = torch.einsum("oi,bit->bot", shortcut.weight[:, :, 0], x[..., ::stride])
        torch.testing.assert_close(network(x), seen + layer(x))


def test_a_residual_of_a_sequence_of_vectors_still_has_a_matrix_of_these() -> None:
    network, shape = Residual(Recurrent(RnnCell(), units=3)).build((5, 2))
    assert shape == (5, 3)
    assert isinstance(network.branches[0], nn.Linear)
    assert network(torch.zeros(4, 5, 2)).shape == (4, 5, 3)


def test_paths_of_signals_meet_in_depth_and_are_padded_at_their_ends() -> None:
    network, shape = Fork((Conv1d(3, 3), MaxPool(2)), "concat").build((2, 6))
    assert shape == (5, 6)
    y = network(torch.ones(1, 2, 6))
    assert y[0, 3:].tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]] * 2


@pytest.mark.parametrize("skips", ["stacked", "added"])
def test_layers_of_signals_skip(skips: str) -> None:
    space = SkipLayers(3, Conv1d(4, 3), MaxPool(2, padding="same"), (2,), skips)  # type: ignore[arg-type]
    frozen = space.freeze(space.walk(lambda decision: 1))
    network, shape = frozen.build((2, 9))
    assert network(torch.randn(3, 2, 9)).shape == (3, *shape)


@pytest.mark.parametrize(
    ("module", "in_shape", "message"),
    [
        (Conv2d(4, 3), (1, 64), r"\(channels, height, width\); for signals, \(channels, time\), "),
        (FactorizedReduction(4), (1, 64), "there are conv1d, separable_conv1d and dilated_conv1d"),
        (
            Conv1d(4, 3),
            (64,),
            r"takes \(channels, time\); data of one .* data.in_shape=\[1, time\]",
        ),
        (SeparableConv1d(4, 3), (3, 8, 8), r"\(channels, time\); for images there is conv2d"),
        (Conv1d(4, 5, 1, "valid"), (1, 4), r"window of \(5,\) does not fit into \(4,\)"),
        (Conv1d(4, 3, groups=2), (3, 4), "in_channels must be divisible by groups"),
        (Conv1d(4, (3, 3)), (1, 4), r"kernel_size must be int >= 1, got \(3, 3\)"),  # type: ignore[arg-type]
        (MaxPool((2, 1)), (1, 4), r"kernel_size must be one number for \(channels, time\), got \["),
        (AveragePool(2, (2, 1)), (1, 4), "stride must be one number"),
        (MaxPool(3), (1, 2), r"window of \(3,\) does not fit into \(2,\)"),
        (GlobalPool(), (3,), r"it takes \(channels, time\) or \(channels, height, width\)"),
        (RecurrentEncoder(RnnCell()), (3,), r"takes \(channels, time\); data of one channel"),
        (RecurrentEncoder(Relu()), (2, 3), "cell must be a recurrent cell, got relu"),
    ],
    ids=lambda value: value.name() if isinstance(value, Space) else "",
)
def test_an_impossible_layer_is_refused_with_what_is_legal(
    module: Space, in_shape: Shape, message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        module.build(in_shape)
