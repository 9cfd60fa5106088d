"""Gives a network's outputs in the units of its targets, where it learnt standardized ones."""

from collections.abc import Sequence

import torch
from torch import nn

from nasrunner.children.tasks.target_scale import TargetScale
from nasrunner.export.source.construction import Constructions, build_layer


class TargetUnits(nn.Module):
    """The last step of a network: numbers in the units of the targets.

    Args:
        mean, std: of each target, which standardized numbers are multiplied by and moved by.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        in_units: torch.Tensor = y * self.std + self.mean
        return in_units


def in_target_units(
    network: nn.Module, scale: TargetScale | None, calls: Constructions | None = None
) -> nn.Module:
    """Returns a network in evaluation mode whose outputs are in the units of its targets.

    Args:
        network: the trained one.
        scale: what its outputs are standardized with; None: they are not, and it is returned.
        calls: is told what the step that is added was constructed with.
    """
    if scale is None:
        return network
    layer = build_layer(TargetUnits, calls or Constructions(), **scale.as_dict())
    return nn.Sequential(network, layer).eval()
