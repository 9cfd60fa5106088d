"""The epsilon of a network's batch normalization, as a setting of its training."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """Returns every batch normalization in a network, torch's own and those derived from it."""
    return (layer for layer in network.modules() if isinstance(layer, _BatchNorm))


def set_epsilon(network: nn.Module, epsilon: float | None) -> None:
    """Gives every batch normalization this epsilon; None: each keeps what the space says."""
    if epsilon is not None:
        for layer in batch_norms(network):
            layer.eps = epsilon
