"""How a window slides over an image, (channels, height, width), or a signal, (channels, time)."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape

Filters = Count | Literal["same"]
"""A number of output channels; ``same``: as many as come in."""

Padding = Literal["same", "valid"]
Pair = Count | tuple[Count, Count]
"""One size for height and width, or (height, width)."""

Sizes = tuple[int, ...]
"""Sizes of height and width, or of time."""


@dataclass(frozen=True)
class Window:
    """Where a sliding window goes: its output size and the padding it needs on each side."""

    out_size: Sizes
    before: Sizes
    after: Sizes

    @property
    def symmetric(self) -> Sizes:
        """What the layer itself can pad; zeros where the sides differ."""
        return self.before if self.before == self.after else (0,) * len(self.before)

    @property
    def pads(self) -> Sizes:
        """The padding as torch's functions take it: before and after, the last dimension first."""
        sides = zip(reversed(self.before), reversed(self.after), strict=True)
        return tuple(pad for side in sides for pad in side)

    def padded(self, layer: nn.Module, value: float = 0.0) -> nn.Module:
        """Returns the layer, with padding in front of it where it cannot pad so itself."""
        if self.before == self.after:
            return layer
        if len(self.before) == 1:
            (before,), (after,) = self.before, self.after
            return nn.Sequential(nn.ConstantPad1d((before, after), value), layer)
        (top, left), (bottom, right) = self.before, self.after
        return nn.Sequential(nn.ConstantPad2d((left, right, top, bottom), value), layer)


def window_over(
    in_shape: Shape,
    kernel: Sizes,
    stride: Sizes,
    dilation: Sizes,
    padding: Padding,
) -> Window:
    """Returns the window of a layer that slides over an image or a signal.

    Raises:
        ValueError: the window does not fit into the input.
    """
    _, *size = in_shape
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if padding == "same":
        out = [math.ceil(n / s) for n, s in zip(size, stride, strict=True)]
        total = [
            max(0, (o - 1) * s + e - n)
            for n, o, s, e in zip(size, out, stride, extent, strict=True)
        ]
    else:
        out = [(n - e) // s + 1 for n, s, e in zip(size, stride, extent, strict=True)]
        total = [0] * len(size)
        if min(out) < 1:
            raise ValueError(f"a window of {tuple(extent)} does not fit into {tuple(size)}")
    before = [t // 2 for t in total]
    after = [t - b for t, b in zip(total, before, strict=True)]
    return Window(tuple(out), tuple(before), tuple(after))


def image_shape(in_shape: Shape) -> Shape:
    """Returns the same shape; refuses one that is not (channels, height, width)."""
    if len(in_shape) == 2:
        raise ValueError(
            "it takes (channels, height, width); for signals, (channels, time), there are conv1d, "
            "separable_conv1d and dilated_conv1d"
        )
    if len(in_shape) != 3:
        raise ValueError("it takes (channels, height, width)")
    return in_shape


def signal_shape(in_shape: Shape) -> Shape:
    """Returns the same shape; refuses one that is not (channels, time)."""
    if len(in_shape) == 1:
        raise ValueError(
            "it takes (channels, time); data of one channel have it, too: data.in_shape=[1, time]"
        )
    if len(in_shape) == 3:
        raise ValueError("it takes (channels, time); for images there is conv2d")
    if len(in_shape) != 2:
        raise ValueError("it takes (channels, time)")
    return in_shape


def pooled_shape(in_shape: Shape) -> Shape:
    """Returns the same shape; refuses one that is neither an image's nor a signal's."""
    if len(in_shape) not in (2, 3):
        raise ValueError("it takes (channels, time) or (channels, height, width)")
    return in_shape


def pair_of(value: Pair) -> tuple[int, int]:
    """Returns (height, width) of an argument that gives both or one number for both."""
    return (value, value) if isinstance(value, int) else value


def sizes_of(value: Pair, name: str, in_shape: Shape) -> Sizes:
    """Returns the sizes of an argument of a pool in the dimensions that it slides along.

    Raises:
        ValueError: two sizes are given for the time of a signal.
    """
    if len(in_shape) == 3:
        return pair_of(value)
    if not isinstance(value, int):
        raise ValueError(f"{name} must be one number for (channels, time), got {list(value)}")
    return (value,)
