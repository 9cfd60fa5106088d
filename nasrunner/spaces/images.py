"""Basic modules of images: convolutions and poolings over (channels, height, width)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.basic import Init, initialize

# B = batch, C = channels, H, W = height and width

Filters = Count | Literal["same"]
"""A number of output channels; ``same``: as many as come in."""


Padding = Literal["same", "valid"]
Pair = Count | tuple[Count, Count]
"""One size for height and width, or (height, width)."""


@dataclass(frozen=True)
class Window:
    """Where a sliding window goes: its output size and the padding it needs on each side."""

    out_size: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]

    @property
    def symmetric(self) -> tuple[int, int]:
        """What the layer itself can pad; (0, 0) where the sides differ."""
        return self.before if self.before == self.after else (0, 0)

    def padded(self, layer: nn.Module, value: float = 0.0) -> nn.Module:
        """The layer, with padding in front of it where it cannot pad so itself."""
        if self.before == self.after:
            return layer
        (top, left), (bottom, right) = self.before, self.after
        return nn.Sequential(nn.ConstantPad2d((left, right, top, bottom), value), layer)


def window_over(
    in_shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: Padding,
) -> Window:
    """The window of a layer that slides over an image.

    Raises:
        ValueError: the input is no image, or the window does not fit into it.
    """
    _, *size = image_shape(in_shape)
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
    return Window((out[0], out[1]), (before[0], before[1]), (after[0], after[1]))


def image_shape(in_shape: Shape) -> Shape:
    """The same shape; refuses one that is not (channels, height, width)."""
    if len(in_shape) != 3:
        raise ValueError("it takes (channels, height, width)")
    return in_shape


def pair_of(value: Pair) -> tuple[int, int]:
    """Returns (height, width) of an argument that gives both or one number for both."""
    return (value, value) if isinstance(value, int) else value


@dataclass(frozen=True)
class Conv2d(Space):
    """Two-dimensional convolution.

    Args:
        filters: number of output channels; ``same``: as many as come in.
        kernel_size: height and width of a filter.
        stride: step in height and width.
        padding: ``same``: the output has ceil(size / stride) rows and columns, as if the zeros
            were added evenly with the odd one at the end; ``valid``: none are added.
        dilation: spacing of the filter's taps.
        groups: blocks of channels that are convolved apart.
        bias: whether a bias is added.
        init: how the weights begin; see ``Init``.
    """

    filters: Filters
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    groups: Count = 1
    bias: bool = True
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *_ = image_shape(in_shape)
        filters = channels if self.filters == "same" else self.filters
        kernel, stride = pair_of(self.kernel_size), pair_of(self.stride)
        dilation = pair_of(self.dilation)
        window = window_over(in_shape, kernel, stride, dilation, self.padding)
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
        initialize(conv, self.init)
        return window.padded(conv), (filters, *window.out_size)


@dataclass(frozen=True)
class SeparableConv2d(Space):
    """Depthwise convolution of each channel, then a 1x1 convolution across them.

    Arguments as for ``conv2d``; ``init`` is of both.
    """

    filters: Filters
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = "same"
    dilation: Pair = 1
    bias: bool = True
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *_ = image_shape(in_shape)
        depthwise, shape = Conv2d(
            channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            groups=channels,
            bias=False,
            init=self.init,
        ).make(in_shape)
        pointwise, shape = Conv2d(self.filters, 1, bias=self.bias, init=self.init).make(shape)
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
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Conv2d(
            self.filters,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            bias=self.bias,
            init=self.init,
        ).make(in_shape)


@dataclass(frozen=True)
class _Pool(Space):
    kernel_size: Pair
    stride: Pair = 2
    padding: Padding = "valid"

    padded_with: ClassVar[float]

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        kernel, stride = pair_of(self.kernel_size), pair_of(self.stride)
        window = window_over(in_shape, kernel, stride, (1, 1), self.padding)
        pool = self.layer(kernel, stride, window)
        return window.padded(pool, self.padded_with), (in_shape[0], *window.out_size)

    def layer(self, kernel: tuple[int, int], stride: tuple[int, int], window: Window) -> nn.Module:
        raise NotImplementedError


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Largest value of each window; padding counts as minus infinity. Arguments as ``conv2d``."""

    padded_with = -math.inf

    def layer(self, kernel: tuple[int, int], stride: tuple[int, int], window: Window) -> nn.Module:
        return nn.MaxPool2d(kernel, stride, padding=window.symmetric)


@dataclass(frozen=True)
class AveragePool(_Pool):
    """Mean of each window. Arguments as ``conv2d``, and:

    Args:
        count_padding: padding counts as zeros; else the mean is over the image's part of the
            window.
    """

    count_padding: bool = True

    padded_with = 0.0

    def layer(self, kernel: tuple[int, int], stride: tuple[int, int], window: Window) -> nn.Module:
        if not self.count_padding and window.before != window.after:
            (top, left), (bottom, right) = window.before, window.after
            return AverageOfImage(kernel, stride, (left, right, top, bottom))
        return nn.AvgPool2d(
            kernel, stride, padding=window.symmetric, count_include_pad=self.count_padding
        )


class AverageOfImage(nn.Module):
    """Mean of the image's part of each window, where the sides are padded differently.

    Args:
        kernel: rows and columns of a window.
        stride: between windows.
        pads: columns and rows of padding that what comes in has: left, right, top, bottom.
    """

    def __init__(
        self, kernel: tuple[int, int], stride: tuple[int, int], pads: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.pads = pads

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        left, right, top, bottom = self.pads
        height, width = x_BCHW.shape[2] - top - bottom, x_BCHW.shape[3] - left - right
        image_11HW = nn.functional.pad(x_BCHW.new_ones(1, 1, height, width), self.pads)
        shares = nn.functional.avg_pool2d(image_11HW, self.kernel, self.stride)
        return nn.functional.avg_pool2d(x_BCHW, self.kernel, self.stride) / shares


@dataclass(frozen=True)
class GlobalPool(Space):
    """(C, H, W) to (C,): the mean or the maximum of each channel."""

    mode: Literal["average", "max"] = "average"

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *_ = image_shape(in_shape)
        pools = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}
        return nn.Sequential(pools[self.mode](1), nn.Flatten()), (channels,)
