"""The epsilon of a network's batch normalization, as a setting of its training."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasrunner.children.supernets.shared_weights import SharedWeights


def batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """Every batch normalization in a network, torch's own and those derived from it."""
    return (layer for layer in network.modules() if isinstance(layer, _BatchNorm))


def set_epsilon(network: nn.Module, epsilon: float | None) -> None:
    """Gives every batch normalization this epsilon; None: each keeps what the space says."""
    if epsilon is not None:
        for layer in batch_norms(network):
            layer.eps = epsilon
        for module in network.modules():  # a supernet's networks are no part of it
            if isinstance(module, SharedWeights):
                module.set_epsilon(epsilon)
