"""Momentum of weights that a step of training may leave out."""

import torch
from torch.optim import SGD, Optimizer


def with_momentum(optimizer: Optimizer) -> Optimizer:
    """Gives a fused SGD the momentum that it begins with, zeros, before the first step.

    A weight without a gradient is left out of a step: one on another path of a supernet, or of a
    block that is dropped. torch's fused kernel fails on a step in which some weights have a
    momentum and others are new to it; after one from zeros the momentum is the gradient, as torch
    begins it. With ``dampening`` these differ, and the optimizer is left as it is.

    Args:
        optimizer: any, before its first step.

    Returns:
        The same optimizer.
    """
    if not isinstance(optimizer, SGD):
        return optimizer
    for group in optimizer.param_groups:
        if group["fused"] and group["momentum"] and not group["dampening"]:
            for weight in group["params"]:
                optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer
