"""Where the window of a convolution or a pooling goes, and what is padded for it."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape

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
