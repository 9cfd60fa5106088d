"""Activation functions as modules of a space: elementwise, without arguments."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from nasrunner.core.space import Shape, Space


@dataclass(frozen=True)
class _Activation(Space):
    """The fields of all of them: none but the path."""

    function: ClassVar[type[nn.Module]]

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return self.function(), in_shape


class Elu(_Activation):
    """Exponential linear unit."""

    function = nn.ELU


class Gelu(_Activation):
    """Gaussian error linear unit."""

    function = nn.GELU


class LeakyRelu(_Activation):
    """Rectified linear unit with slope 0.01 below zero."""

    function = nn.LeakyReLU


class Relu(_Activation):
    """Rectified linear unit."""

    function = nn.ReLU


class Selu(_Activation):
    """Scaled exponential linear unit."""

    function = nn.SELU


class Sigmoid(_Activation):
    """Logistic sigmoid."""

    function = nn.Sigmoid


class Silu(_Activation):
    """Sigmoid linear unit, also called Swish."""

    function = nn.SiLU


class Tanh(_Activation):
    """Hyperbolic tangent."""

    function = nn.Tanh
