"""What proxies look at: a network with its first weights, a batch, and a first pass through it."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from nasrunner.children.inputs import Inputs

# B = batch, K = output channels of a layer

Loss = Callable[[torch.Tensor], torch.Tensor]
"""The mean loss of a batch, from what the network predicts for it."""

NORMALIZATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class ProxyError(ValueError):
    """A proxy says nothing of a network: it is not defined for it, or no finite number."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A network with its first weights, and the batch that it is scored on.

    Attributes:
        network: in training mode; scoring may change it, so it is a copy.
        x: the inputs of the batch.
        loss: of the batch.
    """

    network: nn.Module
    x: Inputs
    loss: Loss

    @classmethod
    def of(cls, network: nn.Module, x: Inputs, loss: Loss) -> "Sample":
        """Returns a sample with a copy of a network, which stays as it is."""
        copied = copy.deepcopy(network).train()
        for layer in copied.modules():
            if isinstance(layer, _DropoutNd):
                layer.eval()
        return cls(copied, x, loss)

    @cached_property
    def weights(self) -> list[nn.Parameter]:
        """What saliencies are summed over, each once."""
        normalizing = {
            id(parameter)
            for layer in self.network.modules()
            if isinstance(layer, NORMALIZATIONS)
            for parameter in layer.parameters(recurse=False)
        }
        return [
            each
            for each in self.network.parameters()
            if each.requires_grad and each.ndim >= 2 and id(each) not in normalizing
        ]

    @cached_property
    def first_pass(self) -> "FirstPass":
        """A forward and a backward pass, which several proxies look at."""
        fisher = FisherSum()
        with fisher.listening(self.network):
            loss = self.loss(run(self.network, self.x))
            gradients = gradients_of(loss, self.weights)
        return FirstPass(gradients, fisher)


@dataclass
class FisherSum:
    """Adds up what ``fisher`` is, while a backward pass goes through a network.

    Attributes:
        num_layers: how many layers have been looked at.
        total: the sum so far, in double precision.
    """

    num_layers: int = 0
    total: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    @contextmanager
    def listening(self, network: nn.Module) -> Iterator[None]:
        """Looks at the outputs of all convolutions and linear layers of a network."""
        layers = [m for m in network.modules() if isinstance(m, (*_CONVOLUTIONS, nn.Linear))]
        self.num_layers = len(layers)
        hooks = [each.register_forward_hook(self._look_at) for each in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _look_at(self, layer: Any, inputs: Any, output: torch.Tensor) -> None:
        if not output.requires_grad:
            return
        activations = output.detach().clone()  # what follows may work in place
        channels = 1 if isinstance(layer, _CONVOLUTIONS) else output.ndim - 1
        places = [d for d in range(1, output.ndim) if d != channels]
        weights_of_channel = layer.weight[0].numel()

        def add(gradient: torch.Tensor) -> None:
            products_BK = activations * gradient
            if places:
                products_BK = products_BK.sum(dim=places)
            information_K = products_BK.double().square().mean(dim=0) / 2
            self.total = self.total + weights_of_channel * information_K.sum().cpu()

        output.register_hook(add)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class FirstPass:
    """What a backward pass from the loss has given.

    Attributes:
        gradients: of the sample's weights; zeros for one that the loss does not depend on.
        fisher: of the layers' outputs.
    """

    gradients: list[torch.Tensor]
    fisher: FisherSum


def run(network: nn.Module, x: Inputs) -> torch.Tensor:
    """Returns what a network makes of a batch that no other was before."""
    for layer in network.modules():
        if (reset_state := getattr(layer, "reset_state", None)) is not None:
            reset_state()  # what recurrent layers remember of a batch before
    predicted: torch.Tensor = network(x)
    return predicted


def gradients_of(
    value: torch.Tensor, parts: list[nn.Parameter], *, create_graph: bool = False
) -> list[torch.Tensor]:
    """Returns the gradients of a number; zeros for what it does not depend on."""
    if not value.requires_grad or not parts:
        return [torch.zeros_like(part) for part in parts]
    found = torch.autograd.grad(value, parts, create_graph=create_graph, allow_unused=True)
    return [
        torch.zeros_like(part) if gradient is None else gradient
        for part, gradient in zip(parts, found, strict=True)
    ]
