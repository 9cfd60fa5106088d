"""Convolutions over signals, (channels, time)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.basic import Init, initialize
from nasrunner.spaces.windows.sliding import Filters, Padding, signal_shape, window_over


@dataclass(frozen=True)
class Conv1d(Space):
    """One-dimensional convolution, over the time of a signal.

    Args:
        filters: number of output channels; ``same``: as many as come in.
        kernel_size: time steps of a filter.
        stride: time steps between two windows.
        padding: ``same``: the output has ceil(steps / stride) steps, as if the zeros were added
            evenly with the odd one at the end; ``valid``: none are added.
        dilation: spacing of the filter's taps.
        groups: blocks of channels that are convolved apart.
        bias: whether a bias is added.
        init: how the weights begin; see ``Init``.
    """

    filters: Filters
    kernel_size: Count
    stride: Count = 1
    padding: Padding = "same"
    dilation: Count = 1
    groups: Count = 1
    bias: bool = True
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, _ = signal_shape(in_shape)
        filters = channels if self.filters == "same" else self.filters
        kernel, stride, dilation = (self.kernel_size,), (self.stride,), (self.dilation,)
        window = window_over(in_shape, kernel, stride, dilation, self.padding)
        conv = nn.Conv1d(
            channels,
            filters,
            self.kernel_size,
            self.stride,
            window.symmetric[0],
            self.dilation,
            self.groups,
            self.bias,
        )
        initialize(conv, self.init)
        return window.padded(conv), (filters, *window.out_size)


@dataclass(frozen=True)
class SeparableConv1d(Space):
    """Depthwise convolution of each channel over time, then a matrix that mixes the channels.

    Arguments as for ``conv1d``; ``init`` is of both.
    """

    filters: Filters
    kernel_size: Count
    stride: Count = 1
    padding: Padding = "same"
    dilation: Count = 1
    bias: bool = True
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, _ = signal_shape(in_shape)
        depthwise, shape = Conv1d(
            channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            groups=channels,
            bias=False,
            init=self.init,
        ).make(in_shape)
        pointwise, shape = Conv1d(self.filters, 1, bias=self.bias, init=self.init).make(shape)
        return nn.Sequential(depthwise, pointwise), shape


@dataclass(frozen=True)
class DilatedConv1d(Space):
    """Convolution whose taps are ``dilation`` apart: five steps seen through three, by default.

    Arguments as for ``conv1d``.
    """

    filters: Filters
    kernel_size: Count = 3
    dilation: Count = 2
    stride: Count = 1
    padding: Padding = "same"
    bias: bool = True
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Conv1d(
            self.filters,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            bias=self.bias,
            init=self.init,
        ).make(in_shape)
