"""Reductions of images that look at every pixel."""

import functools
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.activations import Relu
from nasrunner.spaces.basic import BatchNorm, Init, initialize
from nasrunner.spaces.composite import Concat
from nasrunner.spaces.images import Conv2d
from nasrunner.spaces.windows.sliding import Filters, image_shape

_MOST_KEPT = 1_000

# B = batch, C, D = input and output channels, H, W = height and width


@dataclass(frozen=True)
class FactorizedReduction(Space):
    """Halves an image by two 1x1 convolutions, of its even and of its odd rows and columns.

    Zoph et al. 2018, arXiv:1707.07012, in the authors' code; neither activation nor normalization
    is a part of it. The output has ceil(size / 2) rows and columns.

    Args:
        filters: number of output channels, >= 2, half of them from each convolution; ``same``: as
            many as come in, ``double``: twice as many.
        init: how the weights begin; see ``Init``.
    """

    filters: Count | Literal["same", "double"]
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, height, width = image_shape(in_shape)
        by_name = {"same": channels, "double": 2 * channels}
        filters = by_name[self.filters] if isinstance(self.filters, str) else self.filters
        if filters < 2:
            raise ValueError(f"filters must be >= 2, half from each convolution, got {filters}")
        layer = TwoHalves(channels, filters)
        for conv in (layer.even, layer.odd):
            initialize(conv, self.init)
        return layer, (filters, -(-height // 2), -(-width // 2))


class TwoHalves(nn.Module):
    """Convolves the even and the odd places of images apart, and stacks what comes out in depth."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(channels, filters // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(channels, filters - filters // 2, 1, 2, bias=False)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        height, width = x_BCHW.shape[2:]
        padded = nn.functional.pad(x_BCHW, (0, width % 2, 0, height % 2))  # an odd size by one
        shifted = padded[:, :, 1:, 1:]
        return torch.cat([self.even(x_BCHW), self.odd(shifted)], dim=1)


@functools.lru_cache(_MOST_KEPT)
def convolved(filters: Filters, path: str, *, halves: bool = False) -> Concat:
    """Returns ReLU, 1x1 convolution and batch normalization, in this order.

    Args:
        filters: number of output channels.
        path: where it stands, by which its weights are known.
        halves: whether the image is halved, by a factorised reduction.
    """
    conv: Space = Conv2d(filters, 1, bias=False, path=path)
    if halves:
        conv = FactorizedReduction(filters, path=path)
    return Concat((Relu(path=path), conv, BatchNorm(path=path)), path=path)
