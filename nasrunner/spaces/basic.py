"""Basic modules of any shape: they take no submodules, only arguments that may be decisions."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from nasrunner.core.annotations import Above, Count, Within
from nasrunner.core.shapes import InShape
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

    @property
    def is_zero(self) -> bool:
        return True

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.zero(x)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Zeros(), in_shape


@dataclass(frozen=True)
class Dead(Space):
    """Zeros in the place of a part that a frozen network does not need; see ``living``.

    Args:
        module: the part, whose output's shape they have.
    """

    module: Space

    @property
    def is_zero(self) -> bool:
        return True

    @property
    def takes_inputs(self) -> bool:
        return self.module.takes_inputs

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.zero(tracer.run(self.module, x))

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        with torch.device("meta"):
            _, out_shape = self.module.build(in_shape)
        return (Zeros() if out_shape == in_shape else Zeros(out_shape)), out_shape

    def text(self) -> str:
        return "zero"


class Zeros(nn.Module):
    """What ``zero`` is built as.

    Args:
        shape: of one example; None: that of what comes in.
    """

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shape is not None:
            return x.new_zeros(x.shape[0], *self.shape)
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

    is_chance = True

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
