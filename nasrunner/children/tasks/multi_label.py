"""The task of labels that do not exclude each other: any of K, or none, for each example."""

from typing import Any

import torch
from torch.nn import functional

from nasrunner.children.tasks.losses import ClassWeights, GivenLoss, LossFunction, WeightedLoss
from nasrunner.children.tasks.metrics import MetricClasses, Metrics
from nasrunner.children.tasks.reward import Reward
from nasrunner.children.tasks.tasks import Task

# B = batch, K = number of labels


class MultiLabel(Task):
    """Which of K labels an example has: binary cross entropy of K logits, the mean over labels.

    Args:
        loss: takes logits and targets, both (B, K), in the place of the cross entropy; None: that.
        class_weights: what a label's ones count beside 1 of its zeros; see ``WeightedLoss``.
    """

    metric_classes = MetricClasses("torchmetrics.classification", "Multilabel")
    outputs = "logits of labels"
    target_kind = "numbers"

    def __init__(
        self,
        *,
        num_outputs: int,
        loss: LossFunction | None,
        class_weights: ClassWeights,
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        given = GivenLoss(loss or functional.binary_cross_entropy_with_logits)
        self._loss = WeightedLoss(given, class_weights, num_outputs, is_of_labels=True)
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    def learn_from(self, data: Any) -> None:
        self._loss.learn_from(data)

    def loss(self, predicted_BK: torch.Tensor, target_BK: torch.Tensor) -> torch.Tensor:
        return self._loss(predicted_BK, target_BK)

    def losses(self, predicted_BK: torch.Tensor, target_BK: torch.Tensor) -> torch.Tensor:
        return self._loss.of_each_example(predicted_BK, target_BK)

    def measured(
        self, predicted_BK: torch.Tensor, target_BK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return predicted_BK, target_BK.long()

    def probabilities(self, measured: torch.Tensor) -> torch.Tensor:
        return measured.sigmoid()

    def needs(self) -> str:
        return f"labels float32 (batch, {self.num_outputs}), each 0 or 1"

    def takes(self, target_BK: torch.Tensor) -> bool:
        is_shaped = target_BK.dtype.is_floating_point and target_BK.shape[1:] == (self.num_outputs,)
        return is_shaped and bool(((target_BK == 0) | (target_BK == 1)).all())

    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        target_BK = torch.arange(size * self.num_outputs).view(size, self.num_outputs) // 2 % 2
        return 2.0 * target_BK - 1.0, target_BK.float()
