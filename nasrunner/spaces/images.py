"""Convolutions over images, (channels, height, width)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.basic import Init, initialize
from nasrunner.spaces.windows.pools import (  # noqa: F401  # users import them from here
    AveragePool,
    GlobalPool,
    MaxPool,
)
from nasrunner.spaces.windows.sliding import (
    Filters,
    Padding,
    Pair,
    image_shape,
    pair_of,
    window_over,
)


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
        rows, columns = window.symmetric
        conv = nn.Conv2d(
            channels,
            filters,
            kernel,
            stride,
            (rows, columns),
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
