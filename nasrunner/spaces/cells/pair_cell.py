"""Cells that take two values: those of the two cells before them."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from nasrunner.core.space import Shape, Space
from nasrunner.core.tracing import Tracer, V


@dataclass(frozen=True)
class PairCell(Space):
    """A frozen cell of two inputs, as ``cell_stack`` stacks them.

    Where it stands alone, both inputs are what comes in.
    """

    @abstractmethod
    def pair_thread(
        self, before: Shape, last: Shape, measure: Callable[[Space, Shape], Shape]
    ) -> Shape:
        """Passes two shapes through its parts, as ``thread`` does one."""

    @abstractmethod
    def pair_trace(self, tracer: Tracer[V], before: V, last: V) -> V:
        """Says what it does with its inputs, as ``trace`` does with one."""

    @abstractmethod
    def pair_build(self, before: Shape, last: Shape) -> tuple[nn.Module, Shape]:
        """Builds a layer that takes two tensors, and returns the shape that comes out."""

    @abstractmethod
    def takes(self) -> tuple[bool, bool]:
        """Says which of its two inputs it takes; at least one of them."""

    @abstractmethod
    def halving(self) -> "PairCell":
        """Returns the cell with a stride of 2 in its operations on what comes in."""

    @abstractmethod
    def with_each(self, change: Callable[[Space], Space]) -> "PairCell":
        """Returns the cell with another operation in the place of each."""

    def thread(self, in_shape: Shape, measure: Callable[[Space, Shape], Shape]) -> Shape:
        return self.pair_thread(in_shape, in_shape, measure)

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return self.pair_trace(tracer, x, x)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        layer, out_shape = self.pair_build(in_shape, in_shape)
        return TwiceTheSame(layer), out_shape


class TwiceTheSame(nn.Module):
    """Gives its input to a layer of two inputs, as both of them."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x, x)
        return y
