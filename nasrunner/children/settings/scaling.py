"""The learning rate of a step that takes more examples than the configuration names."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

_RULES: Mapping[str, Callable[[float], float]] = {
    "none": lambda factor: 1.0,
    "linear": lambda factor: factor,
    "sqrt": math.sqrt,
}


def scaled(
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    settings: Mapping[str, Any],
    num_batches: int,
) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """Makes the optimizer with its learning rates scaled by ``trainer.scale_learning_rate``.

    ``linear``: Goyal et al. 2017, arXiv:1706.02677, section 2.1, without its warm-up. ``sqrt``:
    Krizhevsky 2014, arXiv:1404.5997, section 5.

    Args:
        make_optimizer: called with the parameters.
        settings: the ``trainer`` part of the child's configuration.
        num_batches: how many times ``data.batch_size`` examples a step takes.
    """
    factor = _RULES[settings["scale_learning_rate"]](num_batches)

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer = make_optimizer(parameters)
        for group in optimizer.param_groups:
            group["lr"] *= factor
        return optimizer

    return make_optimizer if factor == 1 else make
