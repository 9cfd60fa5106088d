"""One vector of a sequence of vectors, as classes of texts are told from."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from nasrunner.core.space import Shape, Space

# B = batch, T = time steps, I = size of a vector


@dataclass(frozen=True)
class SequencePool(Space):
    """(T, units) to (units,): what a sequence of vectors comes to.

    Args:
        mode: ``mean`` or ``max`` of each element over all time steps; ``last``: the last vector,
            where a recurrent layer has seen all others.
    """

    mode: Literal["mean", "max", "last"] = "mean"

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 2:
            raise ValueError("it takes sequences of vectors, (time steps, units): use an embedding")
        return PooledSteps(self.mode), (in_shape[1],)


class PooledSteps(nn.Module):
    """What ``sequence_pool`` is built as: (B, T, I) to (B, I)."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
        if self.mode == "last":
            return x_BTI[:, -1]
        return x_BTI.mean(dim=1) if self.mode == "mean" else x_BTI.amax(dim=1)

    def extra_repr(self) -> str:
        return self.mode
