"""Parts that are trained beside a network without disturbing it.

Hu et al. 2019, arXiv:1905.13360 (Petridish), section 4: what comes into a part is stopped going
backward, and what comes out of it is stopped going forward.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nasrunner.children.inputs import Inputs

# P = parts


_EPSILON = 1e-5
"""Added to the mean square of a change, as in batch normalization."""


class Coefficients:
    """What the parts of a network read α from.

    Attributes:
        alpha_P: a number for each part, as of the present batch.
    """

    def __init__(self) -> None:
        self.alpha_P = torch.empty(0)


class WeakLearners(nn.Module):
    """Computes what a network has at a place, and trains parts beside it.

    What a part would change if it joined, scaled to a mean square of 1 in each batch, times its α,
    adds to the gradients but not to the values: the output is that of ``now`` to the bit, and so
    are the gradients of everything before. Without the scale parts would grow without end, for the
    loss does not see them, and the larger would have the larger gradients of α. They are computed
    while training alone. Dropout in a part draws from the generator of the network's.

    Args:
        now: the layer that the network has.
        parts: the layers that could be there.
        follow: whether each of them takes the output of ``now``, and not what comes in.
        numbers: of the parts, among those of the whole network.
        is_zero: whether ``now`` returns zeros.
        coefficients: where α is.
    """

    def __init__(
        self,
        now: nn.Module,
        parts: Sequence[nn.Module],
        follow: Sequence[bool],
        numbers: Sequence[int],
        coefficients: Coefficients,
        *,
        is_zero: bool,
    ) -> None:
        super().__init__()
        self.now = now
        self.parts = nn.ModuleList(parts)
        self.follow = tuple(follow)
        self.numbers = tuple(numbers)
        self.is_zero = is_zero
        self._coefficients = coefficients

    def forward(self, x: Inputs) -> torch.Tensor:
        y: torch.Tensor = self.now(x)
        if not self.training or not torch.is_grad_enabled():
            return y
        before, after = _stopped(x), y.detach()
        total: torch.Tensor | None = None
        for part, follows, number in zip(self.parts, self.follow, self.numbers, strict=True):
            change = part(after if follows else before)
            if not self.is_zero:
                change = change - after
            scale = (change.float().square().mean() + _EPSILON).rsqrt()
            weighed = self._coefficients.alpha_P[number] * scale * change
            total = weighed if total is None else total + weighed
        assert total is not None, "there is a part"
        stopped: Any = _StopForward
        found: torch.Tensor = stopped.apply(y, total)
        return found


class _StopForward(torch.autograd.Function):
    """Passes its first input on, and the gradient to both."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        ctx.dtype = beside.dtype
        return y.clone()  # a view must not be changed in place

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (gradient,) = gradients
        return gradient, gradient.to(ctx.dtype)


def _stopped(x: Inputs) -> Inputs:
    """The same values without their gradients."""
    if isinstance(x, Mapping):
        return {name: each.detach() for name, each in x.items()}
    return x.detach()
