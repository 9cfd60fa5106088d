"""Activation functions as modules of a space: elementwise, without arguments."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from nasrunner.core.space import Shape, Space


@dataclass(frozen=True)
class _Activation(Space):
    function: ClassVar[type[nn.Module]]

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return self.function(), in_shape


@dataclass(frozen=True)
class Elu(_Activation):
    """Exponential linear unit."""

    function = nn.ELU


@dataclass(frozen=True)
class Gelu(_Activation):
    """Gaussian error linear unit."""

    function = nn.GELU


@dataclass(frozen=True)
class LeakyRelu(_Activation):
    """Rectified linear unit with slope 0.01 below zero."""

    function = nn.LeakyReLU


@dataclass(frozen=True)
class Relu(_Activation):
    """Rectified linear unit."""

    function = nn.ReLU


@dataclass(frozen=True)
class Selu(_Activation):
    """Scaled exponential linear unit."""

    function = nn.SELU


@dataclass(frozen=True)
class Sigmoid(_Activation):
    """Logistic sigmoid."""

    function = nn.Sigmoid


@dataclass(frozen=True)
class Silu(_Activation):
    """Sigmoid linear unit, also called Swish."""

    function = nn.SiLU


@dataclass(frozen=True)
class Tanh(_Activation):
    """Hyperbolic tangent."""

    function = nn.Tanh
