"""What a policy gradient climbs: the part in which REINFORCE and PPO differ."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch

from nasrunner.core.annotations import Above, AtLeast

# B = children of a batch


class PolicyObjective(Protocol):
    """The gain that a step of the controller increases, beside a bonus for entropy.

    Attributes:
        num_steps: of the optimizer for one batch.
        is_corrected: whether the gain allows for children that an earlier controller drew. If
            not, a replica's gradient is computed on the controller that drew them.
    """

    num_steps: int
    is_corrected: bool

    def gain(
        self, log_p_B: torch.Tensor, drawn_log_p_B: torch.Tensor, advantages_B: torch.Tensor
    ) -> torch.Tensor:
        """Returns the gain (B,) of each child.

        Args:
            log_p_B: log-probability of each architecture now; gradients flow through it.
            drawn_log_p_B: when it was drawn.
            advantages_B: reward minus baseline.
        """


@dataclass(frozen=True)
class Reinforce:
    """log P(a) (R - b): Williams 1992; Zoph & Le 2017, arXiv:1611.01578, eq. 3.

    Args:
        num_steps: of the optimizer for one batch, >= 1. After the first of several the children
            are no longer drawn by the policy that is changed; MLPNAS takes 10 all the same.
    """

    num_steps: Annotated[int, AtLeast(1)] = 1  # studies saved before do not say it
    is_corrected: ClassVar[bool] = False

    def gain(
        self, log_p_B: torch.Tensor, drawn_log_p_B: torch.Tensor, advantages_B: torch.Tensor
    ) -> torch.Tensor:
        return log_p_B * advantages_B


@dataclass(frozen=True)
class Ppo:
    """The clipped gain of proximal policy optimization. Schulman et al. 2017, arXiv:1707.06347.

    With r = P(a) / P_drawn(a), eq. 7: min(r (R - b), clip(r, 1 - ε, 1 + ε) (R - b)).

    Args:
        clip: ε, > 0. The paper uses 0.2.
        num_steps: of the optimizer for one batch, >= 1; the paper's K epochs of one minibatch.

    Differs from the paper: r is that of the whole architecture instead of each decision, since
    its only reward comes at its end; the baseline is the moving average of rewards, without a
    value network.
    """

    clip: Annotated[float, Above(0)]
    num_steps: Annotated[int, AtLeast(1)]

    is_corrected: ClassVar[bool] = True

    def gain(
        self, log_p_B: torch.Tensor, drawn_log_p_B: torch.Tensor, advantages_B: torch.Tensor
    ) -> torch.Tensor:
        ratios_B = (log_p_B - drawn_log_p_B).exp()
        clipped_B = ratios_B.clamp(1 - self.clip, 1 + self.clip)
        return torch.minimum(ratios_B * advantages_B, clipped_B * advantages_B)
