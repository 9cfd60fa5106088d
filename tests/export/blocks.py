"""Modules of a user's own, as people write them, and what their source needs."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn as nn
from torch.nn import functional as Functions

from tests.export import more_blocks as more
from tests.export.more_blocks import LIMIT, Network

_SLOPE = 2 * 0.05
_TABLE = {"double": 2.0, "triple": 3.0}


def _scaled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    @functools.wraps(function)
    def call(self: SelfContained, x: torch.Tensor) -> torch.Tensor:
        return function(self, x) * math.sqrt(self.scale)

    return call


class _Gate(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Functions.leaky_relu(self.linear(x), _SLOPE)


class SelfContained(nn.Module):
    """Uses a private class, constants, a decorator and another file of its package."""

    def __init__(self, in_shape: tuple[int, ...], how: str, scale: float = 4.0) -> None:
        super().__init__()
        self.scale, self.factor = scale, _TABLE[how]
        self.gate = _Gate(in_shape[0])
        self.own = Network(in_shape[0])
        self.register_buffer("seen", torch.zeros(1))

    @_scaled
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen += len(x)
        return self.factor * self.own(self.gate(x)).clamp(max=LIMIT)


class Several(nn.Module):
    """Is given layers, and runs them side by side."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(layer(x) for layer in self.layers)


class Applies(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


class NeedsNumpy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(np.sqrt(4))


class ImportsWhenRun(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        import numpy

        return x * float(numpy.sqrt(4))


class UsesAWholeModule(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(max=more.LIMIT)


class Undecided(nn.Module):
    """Computes one thing or another, depending on what comes in: ONNX has no graph for it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1 if float(x.sum()) > 0 else x - 1


def nested() -> type[nn.Module]:
    class Inner(nn.Identity):
        pass

    return Inner


INNER = nested()
