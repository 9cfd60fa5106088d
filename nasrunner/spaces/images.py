"""Basic modules of images: convolutions and poolings over (channels, height, width)."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.conv_window import (
    Padding,
    Pair,
    Window,
    image_shape,
    pair_of,
    window_over,
)
from nasrunner.spaces.initialization import Init, initialize

# B = batch, C = channels, H, W = height and width

Filters = Count | Literal["same"]
"""A number of output channels; ``same``: as many as come in."""


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
            window, for which the padding must be the same on all sides.
    """

    count_padding: bool = True

    padded_with = 0.0

    def layer(self, kernel: tuple[int, int], stride: tuple[int, int], window: Window) -> nn.Module:
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
        channels, *_ = image_shape(in_shape)
        pools = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}
        return nn.Sequential(pools[self.mode](1), nn.Flatten()), (channels,)
