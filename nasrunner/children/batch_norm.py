"""The epsilon of a network's batch normalization, as a setting of its training."""

import math
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasrunner.core import ConfigError


def check_epsilon(epsilon: Any) -> None:
    """Refuses a value of ``trainer.batch_norm_epsilon`` that is no small number."""
    is_number = isinstance(epsilon, int | float) and not isinstance(epsilon, bool)
    if epsilon is not None and not (is_number and 0 < epsilon < math.inf):
        raise ConfigError(
            f"trainer.batch_norm_epsilon must be null or a number > 0, got {epsilon!r}"
        )


def batch_norms(network: nn.Module) -> Iterator[_BatchNorm]:
    """Every batch normalization in a network, torch's own and those derived from it."""
    return (layer for layer in network.modules() if isinstance(layer, _BatchNorm))


def set_epsilon(network: nn.Module, epsilon: float | None) -> None:
    """Gives every batch normalization this epsilon; None: each keeps what the space says."""
    if epsilon is not None:
        for layer in batch_norms(network):
            layer.eps = epsilon
