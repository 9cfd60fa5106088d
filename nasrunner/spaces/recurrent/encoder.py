"""Recurrent layers that read a signal and make one vector of it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from nasrunner.core.space import Shape
from nasrunner.spaces.recurrent.layers import Recurrent
from nasrunner.spaces.recurrent.stateful import StatefulLayer
from nasrunner.spaces.windows.sliding import signal_shape

# B = batch, C = channels, T = time steps, H = hidden size


@dataclass(frozen=True)
class RecurrentEncoder(Recurrent):
    """Recurrent layers that read a signal step by step: (channels, time) to (units,).

    Every example begins with a state of zeros. Arguments as for ``recurrent``, and:

    Args:
        output: which vector comes out of the last layer: ``last``, h after the last time step;
            ``mean`` or ``max`` of each element of h over all time steps.
    """

    output: Literal["last", "mean", "max"] = "last"

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        channels, _ = signal_shape(in_shape)
        layers, units = self.layers_on(channels)
        return SignalEncoder(layers, self.output), (units,)


class SignalEncoder(nn.Module):
    """What ``recurrent_encoder`` is built as: (B, C, T) to (B, H).

    Args:
        layers: (B, T, C) to (B, T, H).
        output: as of ``recurrent_encoder``.
    """

    def __init__(self, layers: nn.Module, output: str) -> None:
        super().__init__()
        for layer in layers.modules():
            if isinstance(layer, StatefulLayer):
                layer.goes_on = False  # the examples of a batch do not follow those before it
        self.layers = layers
        self.output = output

    def forward(self, x_BCT: torch.Tensor) -> torch.Tensor:
        h_BTH: torch.Tensor = self.layers(x_BCT.transpose(1, 2))
        if self.output == "mean":
            return h_BTH.mean(1)
        return h_BTH.amax(1) if self.output == "max" else h_BTH[:, -1]
