"""A supernet that is one network, built once and run for every batch."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core import SearchSpace


class WholeNetwork(nn.Module):
    """Keeps a network that stands upon shared weights, and hands on what its layers say.

    Args:
        shared: the weights.
    """

    def __init__(self, shared: SharedWeights) -> None:
        super().__init__()
        self.shared = shared
        self._built: list[nn.Module] = []  # a list, for its weights are registered as shared ones
        self._remembering: list[Any] = []
        self._penalized: list[Any] = []

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.shared.space

    @abstractmethod
    def build(self) -> nn.Module:
        """Builds the network."""

    def network(self) -> nn.Module:
        """Returns the network, in the mode of this module."""
        if not self._built:
            network = self.build()
            self._built.append(network.train(self.training))
            layers = list(network.modules())
            self._remembering = [each for each in layers if hasattr(each, "reset_state")]
            self._penalized = [each for each in layers if hasattr(each, "take_penalty")]
        network = self._built[0]
        if network.training != self.training:  # Lightning puts modes back by module, without train
            network.train(self.training)
        return network

    def begun(self) -> nn.Module:
        """Returns the network for a batch: it has forgotten those before, of other weights."""
        network = self.network()
        for layer in self._remembering:
            layer.reset_state()
        return network

    def take_penalty(self) -> torch.Tensor | None:
        """Returns what layers add to the loss for their last batch, once; None: nothing."""
        return penalty_of(self._penalized)

    def _apply(self, *arguments: Any, **named: Any) -> "WholeNetwork":
        super()._apply(*arguments, **named)  # type: ignore[no-untyped-call]
        self._built.clear()  # it is where its layers were
        return self

    def __getstate__(self) -> Mapping[str, Any]:
        return {**self.__dict__, "_built": [], "_remembering": [], "_penalized": []}


def penalty_of(layers: Iterable[Any]) -> torch.Tensor | None:
    """Takes from layers what they add to the loss for their last batch; None: nothing."""
    taken = [layer.take_penalty() for layer in layers]
    penalties = [each for each in taken if each is not None]
    return torch.stack(penalties).sum() if penalties else None
