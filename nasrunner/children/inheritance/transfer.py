"""How weights of a parent become those of a child whose channels are copies of the parent's."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from nasrunner.children.inheritance.channels import NotMorphismError
from nasrunner.children.inheritance.layers import (
    BATCH_NORMS,
    LINEAR_MAPS,
    Leaf,
    has_settings_of,
    is_depthwise,
    keeps_channels,
    mixes_channels,
)

# C = channels of a value, I = channels that a layer takes, O = channels that it makes


@dataclass(frozen=True)
class Morphism:
    """How a child's weights follow from its parent's.

    Attributes:
        kinds: ``wider``, ``deeper``, ``skip``: what the child's network is beside its parent's.
    """

    kinds: set[str] = field(default_factory=set)
    _steps: list[Callable[[Mapping[str, torch.Tensor]], None]] = field(default_factory=list)

    def transfer(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Sets the weights of the child's network.

        Args:
            weights: the parent's, by name.
        """
        with torch.no_grad():
            for step in self._steps:
                step(weights)


class Transfer:
    """Collects what becomes of the weights of a network's layers, one after the other.

    Args:
        rng: draws which units are copied, and how weights are divided.

    Attributes:
        morphism: what was collected.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.morphism = Morphism()

    def set(self, make: Callable[[nn.Module], None], layer: nn.Module) -> None:
        """Adds that a new layer's weights are set by a function."""
        self._step(functools.partial(_set, make, layer))

    def matched(
        self,
        own: Leaf,
        theirs: Leaf,
        sources_C: np.ndarray,
        num: int,
        made: int | None,
        where: str,
    ) -> tuple[np.ndarray, int]:
        """Returns what a layer makes of channels that the parent has under these numbers.

        Args:
            own, theirs: the layer, and the parent's.
            sources_C: of each channel that comes in, which of the parent's it is.
            num: how many the parent has there.
            made: how many come out of the operation, if the layer is its last and the operations
                have the same arguments; else None.
            where: the operation, for errors.

        Returns:
            The same of the channels that come out.
        """
        layer, other = own.layer, theirs.layer
        if type(layer) is not type(other):
            raise NotMorphismError(f"{where} is another")
        if mixes_channels(layer) and mixes_channels(other):
            return self._mixed(own, theirs, sources_C, num, where)
        if isinstance(layer, BATCH_NORMS):
            if layer.eps != other.eps or layer.affine != other.affine:
                raise NotMorphismError(f"{where} is another")
            self._copy(own, theirs, sources_C)
            return sources_C, num
        if is_depthwise(layer) and is_depthwise(other) and has_settings_of(layer, other):
            self._copy(own, theirs, sources_C)
            return sources_C, num
        if repr(layer) == repr(other) and keeps_channels(layer):
            return sources_C, num
        is_same = np.array_equal(sources_C, np.arange(num)) and repr(layer) == repr(other)
        if not is_same or made is None:
            raise NotMorphismError(f"{where} is no layer whose channels may be others")
        self._copy(own, theirs, None)
        return np.arange(made), made

    def _mixed(
        self, own: Leaf, theirs: Leaf, sources_I: np.ndarray, num: int, where: str
    ) -> tuple[np.ndarray, int]:
        """A linear map: its inputs' weights are divided among copies, its outputs are copied."""
        layer, other = own.layer, theirs.layer
        assert isinstance(layer, LINEAR_MAPS)
        assert isinstance(other, LINEAR_MAPS)
        num_made, num_before = layer.weight.shape[0], other.weight.shape[0]
        if not has_settings_of(layer, other) or num_made < num_before:
            raise NotMorphismError(f"{where} is another, or has fewer units")
        if len(np.unique(sources_I[sources_I >= 0])) < num:
            raise NotMorphismError(f"{where} lacks what it took before")
        drawn = self.rng.integers(num_before, size=num_made - num_before)
        made_O = np.concatenate([np.arange(num_before), drawn])
        if num_made > num_before:
            self.morphism.kinds.add("wider")
        if (sources_I < 0).any():
            self.morphism.kinds.add("skip")
        shares_OI = self._shares(made_O, sources_I)

        def step(weights: Mapping[str, torch.Tensor]) -> None:
            weight = weights[f"{theirs.prefix}weight"]
            given = weight[torch.from_numpy(made_O)][:, torch.from_numpy(sources_I.clip(0))]
            shares = torch.from_numpy(shares_OI).reshape(*given.shape[:2], *[1] * (given.dim() - 2))
            layer.weight.copy_(given.double() * shares)
            if layer.bias is not None:
                layer.bias.copy_(weights[f"{theirs.prefix}bias"][torch.from_numpy(made_O)])

        self._step(step)
        return made_O, num_before

    def _shares(self, made_O: np.ndarray, sources_I: np.ndarray) -> np.ndarray:
        """What part of the parent's weight each weight gets; those of copies add up to 1."""
        count_I = np.where(sources_I < 0, 0, np.bincount(sources_I.clip(0))[sources_I.clip(0)])
        drawn_OI = np.ones((len(made_O), len(sources_I)))
        copies = np.flatnonzero(count_I > 1)
        drawn_OI[:, copies] = self.rng.uniform(0.5, 1.5, size=(len(made_O), len(copies)))
        drawn_OI[:, sources_I < 0] = 0.0
        total_OI = np.zeros((len(made_O), sources_I.max() + 1))
        np.add.at(total_OI.T, sources_I[sources_I >= 0], drawn_OI.T[sources_I >= 0])
        return np.where(sources_I < 0, 0.0, drawn_OI / total_OI[:, sources_I.clip(0)])

    def _copy(self, own: Leaf, theirs: Leaf, sources_C: np.ndarray | None) -> None:
        """Copies weights and statistics, of channels that the parent has."""

        def step(weights: Mapping[str, torch.Tensor]) -> None:
            for name, tensor in own.layer.state_dict(keep_vars=True).items():
                given = weights[f"{theirs.prefix}{name}"]
                if sources_C is None or given.dim() == 0:
                    tensor.copy_(given)
                    continue
                kept = torch.from_numpy(np.flatnonzero(sources_C >= 0))
                tensor[kept] = given[torch.from_numpy(sources_C[sources_C >= 0])]

        self._step(step)

    def _step(self, step: Callable[[Mapping[str, torch.Tensor]], None]) -> None:
        self.morphism._steps.append(step)


def _set(
    make: Callable[[nn.Module], None], layer: nn.Module, weights: Mapping[str, torch.Tensor]
) -> None:
    make(layer)
