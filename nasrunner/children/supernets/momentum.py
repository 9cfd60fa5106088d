"""The momentum of weights that are not trained at every step."""

import torch
from torch.optim import SGD, Optimizer


def begin_momentum(optimizer: Optimizer) -> None:
    """Gives every weight of a fused SGD its momentum before the first step: zeros.

    torch's kernel takes momenta for all weights of a step or for none, and of a supernet some
    weights of a step had one before and others had not.

    Args:
        optimizer: any; but for a fused SGD with momentum it is left as it is. With ``dampening``,
            where zeros would not be the same, it is no longer fused.
    """
    if not isinstance(optimizer, SGD):
        return
    for group in optimizer.param_groups:
        if not group["fused"] or not group["momentum"]:
            continue
        if group["dampening"]:
            group["fused"] = False
            continue
        for weight in group["params"]:
            state = optimizer.state[weight]
            state.setdefault("momentum_buffer", torch.zeros_like(weight))
