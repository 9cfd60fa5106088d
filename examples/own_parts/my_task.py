"""A task of your own."""

from typing import Annotated

import torch

from nasrunner.children.tasks.metrics import MetricClasses, Metrics
from nasrunner.children.tasks.reward import Reward
from nasrunner.children.tasks.tasks import Task
from nasrunner.core.annotations import Within

# B = batch, K = number of outputs


class Quantile(Task):
    """K numbers: the pinball loss, which a quantile of the targets minimises.

    Koenker & Bassett 1978, doi:10.2307/1913643, eq. 3.1.

    Args:
        quantile: 0.5 is the median.
    """

    metric_classes = MetricClasses("torchmetrics.regression", "")
    target_kind = "numbers"

    def __init__(
        self,
        *,
        num_outputs: int,
        quantile: Annotated[float, Within("(0, 1)")],
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        self.quantile = quantile
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    def loss(self, predicted_BK: torch.Tensor, target_BK: torch.Tensor) -> torch.Tensor:
        return self.losses(predicted_BK, target_BK).mean()

    def losses(self, predicted_BK: torch.Tensor, target_BK: torch.Tensor) -> torch.Tensor:
        """Returns the loss of each example, (B,)."""
        error_BK = target_BK - predicted_BK
        return torch.maximum(self.quantile * error_BK, (self.quantile - 1) * error_BK).mean(1)

    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        target_BK = torch.arange(size * self.num_outputs).view(size, -1).float()
        return target_BK + 1, target_BK
