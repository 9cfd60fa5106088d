"""Basic modules of any shape: they take no submodules, only arguments that may be decisions."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from nasrunner.core.annotations import Above, Count, Within
from nasrunner.core.space import Shape, Space
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.initialization import Init, initialize

# B = batch

Probability = Annotated[float, Within("[0, 1)")]
"""How often something is zero while training."""


@dataclass(frozen=True)
class Empty(Space):
    """Passes its input on."""

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return x

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Identity(), in_shape


@dataclass(frozen=True)
class Zero(Space):
    """Returns zeros in the shape of its input: no connection."""

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.zero(x)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Zeros(), in_shape


class Zeros(nn.Module):
    """What ``zero`` is built as."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.0  # not zeros_like: weights before it have a gradient, which DDP expects


@dataclass(frozen=True)
class Flatten(Space):
    """(C, H, W) to (C*H*W,)."""

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Flatten(), (math.prod(in_shape),)


@dataclass(frozen=True)
class Affine(Space):
    """Dense affine transformation; an image is flattened first.

    Args:
        units: number of outputs.
        bias: whether a bias is added.
        init: how the weights begin; see ``Init``.
    """

    units: Count
    bias: bool = True
    init: Init = "default"

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        layer = nn.Linear(math.prod(in_shape), self.units, bias=self.bias)
        initialize(layer, self.init)
        return (layer if len(in_shape) == 1 else nn.Sequential(nn.Flatten(), layer)), (self.units,)


@dataclass(frozen=True)
class Dropout(Space):
    """Zeroes each input with probability ``p`` while training. DeepArchitect counts 1 - p."""

    p: Probability

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Dropout(self.p), in_shape


@dataclass(frozen=True)
class BatchNorm(Space):
    """Batch normalization of each channel (of each feature, for vectors)."""

    momentum: Annotated[float, Within("[0, 1]")] = 0.1
    eps: Annotated[float, Above(0)] = 1e-5

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        norm = {1: nn.BatchNorm1d, 3: nn.BatchNorm2d}.get(len(in_shape))
        if norm is None:
            raise ValueError("it takes (features,) or (channels, height, width)")
        return norm(in_shape[0], momentum=self.momentum, eps=self.eps), in_shape


@dataclass(frozen=True)
class LayerNorm(Space):
    """Layer normalization over every dimension of an example."""

    eps: Annotated[float, Above(0)] = 1e-5

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.LayerNorm(in_shape, eps=self.eps), in_shape
