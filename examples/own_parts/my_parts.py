"""Small parts of your own: a callback, a metric, a loss and a reward."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from nasrunner.children.tasks.reward import Curves, Reward

# B = batch, K = number of classes


class GradNorm(pl.Callback):
    """Logs the norm of a child's gradients.

    Args:
        every: so many steps.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, child: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if trainer.global_step % self.every == 0:
            grads = [p.grad.norm() for p in child.parameters() if p.grad is not None]
            child.log("grad_norm", torch.stack(grads).norm())


class BalancedError(MulticlassAccuracy):
    """The share of wrong examples, the mean over classes.

    Args:
        num_classes: of the data.
    """

    higher_is_better = False

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="macro")

    def compute(self) -> torch.Tensor:
        return 1 - super().compute()


class Focal(nn.Module):
    """The focal loss of each example. Lin et al. 2017, arXiv:1708.02002, eq. 4.

    Args:
        gamma: 0 is the cross entropy.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits_BK: torch.Tensor, target_B: torch.Tensor) -> torch.Tensor:
        losses_B = functional.cross_entropy(logits_BK, target_B, reduction="none")
        return (1 - (-losses_B).exp()) ** self.gamma * losses_B


@dataclass(frozen=True, kw_only=True)
class Early(Reward):
    """A reward that counts the epochs, too: of two equal children the shorter one is better.

    Args:
        weight: taken off for each epoch.
    """

    weight: float

    def __call__(self, curves: Curves) -> float:
        return super().__call__(curves) - self.weight * len(curves)
