"""Paths of a network that are dropped by chance while it is trained."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from nasrunner.core.space import Shape, Space
from nasrunner.core.training_step import training_step
from nasrunner.spaces.basic import Probability

# B = batch


@dataclass(frozen=True)
class PathDropout(Space):
    """Zeroes all of an example's values with probability ``p`` while training, else divides by 1-p.

    Larsson et al. 2017, arXiv:1605.07648, section 3.1; each example for itself. Zoph et al. 2018,
    arXiv:1707.07012, appendix A.2 (ScheduledDropPath): the probability rises over training.

    Args:
        p: how often, at the end of training where it rises.
        schedule: ``linear``: p times the share of the epochs that are over, which needs
            ``trainer.max_epochs`` or ``max_steps``; ``constant``: p from the first epoch on.

    Differs from the paper: the probability rises epoch by epoch, as in the code of Liu et al. 2019,
    arXiv:1806.09055, where that of NASNet rises step by step.
    """

    p: Probability
    schedule: Literal["linear", "constant"] = "linear"

    is_chance = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return DropsPaths(self.p, rises=self.schedule == "linear"), in_shape


class DropsPaths(nn.Module):
    """What ``path_dropout`` is built as.

    Args:
        p: probability of a zero.
        rises: whether that is reached at the end of training alone.
    """

    def __init__(self, p: float, *, rises: bool) -> None:
        super().__init__()
        self.p = p
        self.rises = rises

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = self._probability() if self.training else 0.0
        if not p:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= p
        return x * (kept / (1 - p)).to(x.dtype)

    def _probability(self) -> float:
        """The present one; that of a network that nobody trains has not risen."""
        if not self.rises:
            return self.p
        step = training_step()
        if step is None:
            return 0.0
        if step.progress is None:
            raise ValueError(
                "path_dropout rises over training, so its end must be known: give "
                "trainer.max_epochs or max_steps, or schedule: constant"
            )
        return self.p * step.progress
