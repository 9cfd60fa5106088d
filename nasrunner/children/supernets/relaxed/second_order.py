"""The gradient of options' weights one step of the network's weights ahead.

Liu et al. 2019, arXiv:1806.09055, section 2.3, eqs. 5 to 8.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.optim import SGD, Optimizer

from nasrunner.core import ConfigError

# α = parameters of options' weights, w = the network's weights, ξ = learning rate of w

_EPSILON = 0.01
"""ε of the finite differences is this over the norm of the vector. Footnote 2 there."""

Loss = Callable[[], torch.Tensor]

Averaged = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]
"""Gradients of a whole batch from those that a rank has found of its part."""


@dataclass(frozen=True)
class _Weight:
    """A weight w of the network that the virtual step moves.

    Attributes:
        weight: it.
        value: before the step.
        settings: of the optimizer's group that it is in.
        momentum: what the optimizer remembers of it; None: nothing.
    """

    weight: torch.Tensor
    value: torch.Tensor
    settings: dict[str, float]
    momentum: torch.Tensor | None


def first_order(alphas: Sequence[torch.Tensor], validation: Loss) -> list[torch.Tensor]:
    """Returns the gradient of α that takes the present weights for the best ones; eq. 7 with ξ = 0.

    Args:
        alphas: they require gradients.
        validation: computes the loss of a validation batch.
    """
    return _gradients(validation(), alphas)


def second_order(
    alphas: Sequence[torch.Tensor],
    optimizer: Optimizer,
    training: Loss,
    validation: Loss,
    averaged: Averaged = list,
) -> list[torch.Tensor]:
    """Returns the gradient of α behind one step of the weights, which has not been taken then.

    The step is w' = w - ξ (μ m + ∇_w L_train + λ w) with the momentum μ, what it remembers m and
    the weight decay λ of the optimizer. The gradient is ∇_α L_val(w') - ξ ∇²_αw L_train ∇_w' L_val,
    whose second product is a central difference of ∇_α L_train (eq. 8).

    Args:
        alphas: they require gradients.
        optimizer: of the weights; plain SGD.
        training: computes the loss of a training batch.
        validation: computes that of a validation batch.
        averaged: see ``Averaged``; every rank takes the same virtual step.

    Differs from the paper: nothing but that groups of weights may have learning rates of their own.
    Nesterov's momentum is looked ahead with as the plain one, as in the authors' code.

    Raises:
        ConfigError: the optimizer is another one.
    """
    weights = _weights(optimizer)
    tensors = [each.weight for each in weights]
    steps = averaged(_gradients(training(), tensors))
    with torch.no_grad():
        for each, step in zip(weights, steps, strict=True):
            ahead = step.add(each.value, alpha=each.settings["weight_decay"])
            if each.momentum is not None:
                ahead.add_(each.momentum, alpha=each.settings["momentum"])
            each.weight.sub_(ahead, alpha=each.settings["lr"])
    try:
        found = averaged(_gradients(validation(), [*alphas, *tensors]))
        direct, vector = found[: len(alphas)], found[len(alphas) :]
        largest = max(each.settings["lr"] for each in weights)
        if largest == 0.0:
            return direct
        vector = [
            part * (each.settings["lr"] / largest)
            for each, part in zip(weights, vector, strict=True)
        ]
        norm = torch.stack([part.norm() for part in vector]).norm()
        if not norm > 0.0:
            return direct
        epsilon = float(_EPSILON / norm)
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                for each, part in zip(weights, vector, strict=True):
                    each.weight.copy_(each.value).add_(part, alpha=sign * epsilon)
            sides.append(averaged(_gradients(training(), alphas)))
    finally:
        with torch.no_grad():
            for each in weights:
                each.weight.copy_(each.value)
    return [
        whole - (above - below) * (largest / (2.0 * epsilon))
        for whole, above, below in zip(direct, *sides, strict=True)
    ]


def check_steps_ahead(kind: object) -> None:
    """Refuses an optimizer whose step ``second_order`` does not take.

    Args:
        kind: its class, or the class's dotted path.

    Raises:
        ConfigError: it is none of SGD.
    """
    if kind not in (SGD, "torch.optim.SGD", "torch.optim.sgd.SGD"):
        named = kind if isinstance(kind, str) else getattr(kind, "__name__", kind)
        raise ConfigError(
            "searcher.order=second looks ahead by a step of SGD, and the weights' optimizer is "
            f"{named}; legal: optimizer=sgd, or searcher.order=first"
        )


def _weights(optimizer: Optimizer) -> list[_Weight]:
    check_steps_ahead(type(optimizer))
    return [
        _Weight(
            weight,
            weight.detach().clone(),
            {name: float(group[name]) for name in ("lr", "momentum", "weight_decay")},
            optimizer.state.get(weight, {}).get("momentum_buffer"),
        )
        for group in optimizer.param_groups
        for weight in group["params"]
    ]


def _gradients(loss: torch.Tensor, of: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The gradients of a loss; zeros where it does not depend on one."""
    found = torch.autograd.grad(loss, list(of), allow_unused=True)
    return [
        torch.zeros_like(each) if grad is None else grad
        for each, grad in zip(of, found, strict=True)
    ]
