"""A module of your own: any nn.Module is one of the space language, by its dotted path."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

# B = batch, C = channels, H, W = height and width


class Gated(nn.Module):
    """Convolutions, each multiplied by a gate of its own.

    Args:
        in_shape: (channels, height, width) of its input, which nasrunner gives by this name.
        widths: channels after each convolution.
        norm: ``{kind: none}``, or ``{kind: batch, momentum: …}``.
    """

    def __init__(
        self, in_shape: tuple[int, int, int], widths: Sequence[int], norm: Mapping[str, Any]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_shape[0]
        for width in widths:
            layers += [nn.Conv2d(channels, 2 * width, 3, padding=1), nn.GLU(dim=1)]
            if norm["kind"] == "batch":
                layers.append(nn.BatchNorm2d(width, momentum=norm["momentum"]))
            channels = width
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.layers(x_BCHW)
