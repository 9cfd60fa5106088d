"""Pools of images, (channels, height, width), and of signals, (channels, time)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from nasrunner.core.space import Shape, Space
from nasrunner.spaces.windows.sliding import (
    Padding,
    Pair,
    Sizes,
    Window,
    pooled_shape,
    sizes_of,
    window_over,
)

# B = batch, C = channels, T = time steps, H, W = height and width


@dataclass(frozen=True)
class _Pool(Space):
    kernel_size: Pair
    stride: Pair = 2
    padding: Padding = "valid"

    padded_with: ClassVar[float]

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *size = pooled_shape(in_shape)
        kernel = sizes_of(self.kernel_size, "kernel_size", in_shape)
        stride = sizes_of(self.stride, "stride", in_shape)
        window = window_over(in_shape, kernel, stride, (1,) * len(size), self.padding)
        pool = self.layer(kernel, stride, window)
        return window.padded(pool, self.padded_with), (channels, *window.out_size)

    def layer(self, kernel: Sizes, stride: Sizes, window: Window) -> nn.Module:
        raise NotImplementedError


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Largest value of each window; padding counts as minus infinity.

    It pools images and signals; arguments as ``conv2d``, of a signal one number each.
    """

    padded_with = -math.inf

    def layer(self, kernel: Sizes, stride: Sizes, window: Window) -> nn.Module:
        if len(kernel) == 1:
            return nn.MaxPool1d(kernel[0], stride[0], padding=window.symmetric[0])
        return nn.MaxPool2d(kernel, stride, padding=window.symmetric)


@dataclass(frozen=True)
class AveragePool(_Pool):
    """Mean of each window of an image or a signal. Arguments as ``max_pool``, and:

    Args:
        count_padding: padding counts as zeros; else the mean is over the input's part of the
            window.
    """

    count_padding: bool = True

    padded_with = 0.0

    def layer(self, kernel: Sizes, stride: Sizes, window: Window) -> nn.Module:
        if not self.count_padding and window.before != window.after:
            return UnpaddedAverage(kernel, stride, window.pads)
        padding, counts = window.symmetric, self.count_padding
        if len(kernel) == 1:
            return nn.AvgPool1d(kernel[0], stride[0], padding[0], count_include_pad=counts)
        return nn.AvgPool2d(kernel, stride, padding, count_include_pad=counts)  # type: ignore[arg-type]  # pairs


class UnpaddedAverage(nn.Module):
    """Mean of what is no padding in each window, where the sides are padded differently.

    Args:
        kernel: rows and columns of a window, or its time steps.
        stride: between windows.
        pads: how much of what comes in is padding, as ``torch.nn.functional.pad`` has added it.
    """

    def __init__(self, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int]) -> None:
        super().__init__()
        self.kernel = tuple(kernel)
        self.stride = tuple(stride)
        self.pads = tuple(pads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pool = nn.functional.avg_pool1d if len(self.kernel) == 1 else nn.functional.avg_pool2d
        pads = zip(self.pads[::2], self.pads[1::2], strict=True)
        sizes = [n - sum(sides) for n, sides in zip(reversed(x.shape[2:]), pads, strict=True)]
        ones = nn.functional.pad(x.new_ones(1, 1, *reversed(sizes)), self.pads)
        shares = pool(ones, self.kernel, self.stride)
        return pool(x, self.kernel, self.stride) / shares


@dataclass(frozen=True)
class GlobalPool(Space):
    """(C, H, W) or (C, T) to (C,): the mean or the maximum of each channel."""

    mode: Literal["average", "max"] = "average"

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, *size = pooled_shape(in_shape)
        pools: dict[str, type[nn.Module]] = {
            "average": nn.AdaptiveAvgPool1d if len(size) == 1 else nn.AdaptiveAvgPool2d,
            "max": nn.AdaptiveMaxPool1d if len(size) == 1 else nn.AdaptiveMaxPool2d,
        }
        return nn.Sequential(pools[self.mode](1), nn.Flatten()), (channels,)
