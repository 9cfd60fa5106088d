"""Basic modules: they take no submodules, only arguments that may be decisions."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from nasrunner.core.space import Shape, Space

# B = batch, C = channels, H, W = height and width

Padding = Literal["same", "valid"]
Filters = int | Literal["same"]
"""A number of output channels; ``same``: as many as come in."""
Pair = int | tuple[int, int]
"""One size for height and width, or (height, width)."""


@dataclass(frozen=True)
class Empty(Space):
    """Passes its input on."""

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Identity(), in_shape


@dataclass(frozen=True)
class Zero(Space):
    """Returns zeros in the shape of its input: no connection."""

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Zeros(), in_shape


class Zeros(nn.Module):
    """What ``zero`` is built as."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0  # not zeros_like: weights before it have a gradient, which DDP expects


@dataclass(frozen=True)
class Flatten(Space):
    """(C, H, W) to (C*H*W,)."""

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Flatten(), (math.prod(in_shape),)


@dataclass(frozen=True)
class Affine(Space):
    """Dense affine transformation; an image is flattened first.

    Args:
        units: number of outputs, >= 1.
        bias: whether a bias is added.
    """

    units: int
    bias: bool = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        _require("units", self.units, 1)
        layer = nn.Linear(math.prod(in_shape), self.units, bias=self.bias)
        return (layer if len(in_shape) == 1 else nn.Sequential(nn.Flatten(), layer)), (self.units,)


@dataclass(frozen=True)
class Dropout(Space):
    """Zeroes each input with probability ``p`` while training. DeepArchitect counts 1 - p."""

    p: float

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if not 0 <= self.p < 1:
            raise ValueError(f"p must be in [0, 1), got {self.p}")
        return nn.Dropout(self.p), in_shape


@dataclass(frozen=True)
class BatchNorm(Space):
    """Batch normalization of each channel (of each feature, for vectors)."""

    momentum: float = 0.1
    eps: float = 1e-5

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        norm = {1: nn.BatchNorm1d, 3: nn.BatchNorm2d}.get(len(in_shape))
        if norm is None:
            raise ValueError("it takes (features,) or (channels, height, width)")
        return norm(in_shape[0], momentum=self.momentum, eps=self.eps), in_shape


@dataclass(frozen=True)
class LayerNorm(Space):
    """Layer normalization over every dimension of an example."""

    eps: float = 1e-5

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.LayerNorm(in_shape, eps=self.eps), in_shape


@dataclass(frozen=True)
class Conv2d(Space):
    """Two-dimensional convolution.

    Args:
        filters: number of output channels, >= 1; ``same``: as many as come in.
        kernel_size: height and width of a filter.
        stride: step in height and width.
        padding: ``same``: the output has ceil(size / stride) rows and columns, as if the zeros
            were added evenly with the odd one at the end; ``valid``: none are added.
        dilation: spacing of the filter's taps, >= 1.
        groups: blocks of channels that are convolved apart.
        bias: whether a bias is added.
    """

    filters: Filters
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    groups: int = 1
    bias: bool = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *_ = _image(in_shape)
        filters = channels if self.filters == "same" else self.filters
        _require("filters", filters, 1)
        kernel, stride = _pair("kernel_size", self.kernel_size), _pair("stride", self.stride)
        dilation = _pair("dilation", self.dilation)
        window = _window(in_shape, kernel, stride, dilation, self.padding)
        conv = nn.Conv2d(
            channels,
            filters,
            kernel,
            stride,
            window.symmetric,
            dilation,
            self.groups,
            self.bias,
        )
        return window.padded(conv), (filters, *window.out_size)


@dataclass(frozen=True)
class SeparableConv2d(Space):
    """Depthwise convolution of each channel, then a 1x1 convolution across them.

    Arguments as for ``conv2d``.
    """

    filters: Filters
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    bias: bool = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *_ = _image(in_shape)
        depthwise, shape = Conv2d(
            channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            groups=channels,
            bias=False,
        ).make(in_shape)
        pointwise, shape = Conv2d(self.filters, 1, bias=self.bias).make(shape)
        return nn.Sequential(depthwise, pointwise), shape


@dataclass(frozen=True)
class DilatedConv2d(Space):
    """Convolution whose taps are ``dilation`` apart: 5x5 seen through nine weights, by default.

    Arguments as for ``conv2d``.
    """

    filters: Filters
    kernel_size: Pair = 3
    dilation: Pair = 2
    stride: Pair = 1
    padding: Padding = "same"
    bias: bool = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Conv2d(
            self.filters,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            bias=self.bias,
        ).make(in_shape)


@dataclass(frozen=True)
class _Pool(Space):
    kernel_size: Pair
    stride: Pair = 2
    padding: Padding = "valid"

    padded_with: ClassVar[float]

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        kernel, stride = _pair("kernel_size", self.kernel_size), _pair("stride", self.stride)
        window = _window(in_shape, kernel, stride, (1, 1), self.padding)
        pool = self.layer(kernel, stride, window)
        return window.padded(pool, self.padded_with), (in_shape[0], *window.out_size)

    def layer(
        self, kernel: tuple[int, int], stride: tuple[int, int], window: "_Window"
    ) -> nn.Module:
        raise NotImplementedError


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Largest value of each window; padding counts as minus infinity. Arguments as ``conv2d``."""

    padded_with = -math.inf

    def layer(
        self, kernel: tuple[int, int], stride: tuple[int, int], window: "_Window"
    ) -> nn.Module:
        return nn.MaxPool2d(kernel, stride, padding=window.symmetric)


@dataclass(frozen=True)
class AveragePool(_Pool):
    """Mean of each window. Arguments as ``conv2d``, and:

    Args:
        count_padding: padding counts as zeros; else the mean is over the image's part of the
            window, for which the padding must be the same on all sides.
    """

    count_padding: bool = True

    padded_with = 0.0

    def layer(
        self, kernel: tuple[int, int], stride: tuple[int, int], window: "_Window"
    ) -> nn.Module:
        if not self.count_padding and window.before != window.after:
            raise ValueError(
                f"count_padding=False needs equal padding on all sides, but this window needs "
                f"{window.before} before and {window.after} after"
            )
        return nn.AvgPool2d(
            kernel, stride, padding=window.symmetric, count_include_pad=self.count_padding
        )


@dataclass(frozen=True)
class GlobalPool(Space):
    """(C, H, W) to (C,): the mean or the maximum of each channel."""

    mode: Literal["average", "max"] = "average"

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *_ = _image(in_shape)
        pools = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}
        return nn.Sequential(pools[self.mode](1), nn.Flatten()), (channels,)


@dataclass(frozen=True)
class _Window:
    """Where a sliding window goes: its output size and the padding it needs on each side."""

    out_size: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def symmetric(self) -> tuple[int, int]:
        """What the layer itself can pad; (0, 0) where the sides differ."""
        return self.before if self.before == self.after else (0, 0)

    def padded(self, layer: nn.Module, value: float = 0.0) -> nn.Module:
        if self.before == self.after:
            return layer
        (top, left), (bottom, right) = self.before, self.after
        return nn.Sequential(nn.ConstantPad2d((left, right, top, bottom), value), layer)


def _window(
    in_shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Padding,
) -> _Window:
    _, *size = _image(in_shape)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if padding == "same":
        out = [math.ceil(n / s) for n, s in zip(size, stride, strict=True)]
        total = [
            max(0, (o - 1) * s + e - n)
            for n, o, s, e in zip(size, out, stride, extent, strict=True)
        ]
    else:
        out = [(n - e) // s + 1 for n, s, e in zip(size, stride, extent, strict=True)]
        total = [0, 0]
        if min(out) < 1:
            raise ValueError(f"a window of {tuple(extent)} does not fit into {tuple(size)}")
    before = [t // 2 for t in total]
    after = [t - b for t, b in zip(total, before, strict=True)]
    return _Window((out[0], out[1]), (before[0], before[1]), (after[0], after[1]))


def _image(in_shape: Shape) -> Shape:
    if len(in_shape) != 3:
        raise ValueError("it takes (channels, height, width)")
    return in_shape


def _pair(name: str, value: Pair) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"{name} is one number or (height, width), got {value}")
    for number in pair:
        _require(name, number, 1)
    return pair


def _require(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name} must be >= {low}, got {value}")


def pad_to(x: torch.Tensor, shape: Shape, value: float = 0.0) -> torch.Tensor:
    """Pads every dimension but the batch at its end, up to ``shape``."""
    if tuple(x.shape[1:]) == shape:
        return x
    pads = [
        p for n, m in zip(reversed(x.shape[1:]), reversed(shape), strict=True) for p in (0, m - n)
    ]
    return nn.functional.pad(x, pads, value=value)
