"""The task of segmentation: a class for each pixel of an image."""

from typing import Any

import torch
from torch.nn import functional

from nasrunner.children.tasks.losses import (
    IGNORED,
    ClassWeights,
    GivenLoss,
    LossFunction,
    WeightedLoss,
)
from nasrunner.children.tasks.metrics import MetricClasses, Metrics
from nasrunner.children.tasks.reward import Reward
from nasrunner.children.tasks.tasks import Task, are_within
from nasrunner.core import ConfigError, InShape, Shape

# B = batch, K = number of classes, H, W = height and width, P = pixels that count


class Segmentation(Task):
    """One of K classes for each pixel: cross entropy of the logits (K, height, width) of an image.

    Pixels of the class -100 count nowhere: not in the loss, of which a batch has the mean over its
    other pixels, and in no metric. Metrics see pixels, not images. Of a child on several devices
    each takes the mean of its own part of a batch.

    Args:
        loss: takes logits (B, K, H, W) and classes (B, H, W) in the place of the cross entropy;
            None: that. Of a loss for each pixel the mean is over those that count; one number for
            a batch is taken as it is, and as 0 if no pixel counts.
        class_weights: as of ``WeightedLoss``, of pixels.
    """

    metric_classes = MetricClasses("torchmetrics.classification", "Multiclass")
    outputs = "logits of classes for each pixel"
    chooses_class = True

    def __init__(
        self,
        *,
        num_outputs: int,
        loss: LossFunction | None,
        class_weights: ClassWeights,
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        if num_outputs < 2:
            raise ConfigError(
                f"task: segmentation needs data.num_outputs >= 2, got {num_outputs}: what is "
                "around an object is a class, too"
            )
        given = GivenLoss(loss or functional.cross_entropy)
        self._loss = WeightedLoss(given, class_weights, num_outputs, ignored=IGNORED)
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    @classmethod
    def out_shape(cls, num_outputs: int, in_shape: InShape) -> Shape:
        if not isinstance(in_shape, tuple) or len(in_shape) != 3:
            shown = list(in_shape) if isinstance(in_shape, tuple) else dict(in_shape)
            raise ConfigError(
                "task: segmentation needs data.in_shape=[channels, height, width] of one input, "
                f"got {shown}"
            )
        return (num_outputs, *in_shape[1:])

    def learn_from(self, data: Any) -> None:
        self._loss.learn_from(data)

    def loss(self, predicted_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        return self._loss(predicted_BKHW, target_BHW)

    def losses(self, predicted_BKHW: torch.Tensor, target_BHW: torch.Tensor) -> torch.Tensor:
        return self._loss.of_each_example(predicted_BKHW, target_BHW)

    def measured(
        self, predicted_BKHW: torch.Tensor, target_BHW: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        counts_BHW = target_BHW != IGNORED
        return predicted_BKHW.movedim(1, -1)[counts_BHW], target_BHW[counts_BHW]

    def probabilities(self, measured: torch.Tensor) -> torch.Tensor:
        return measured.softmax(dim=1)

    def num_targets(self, target_BHW: torch.Tensor) -> torch.Tensor:
        return (target_BHW != IGNORED).sum()

    def needs(self) -> str:
        return (
            f"class indices int64 (batch, height, width) from 0 to {self.num_outputs - 1}, and "
            f"{IGNORED} of pixels that do not count"
        )

    def takes(self, target_BHW: torch.Tensor) -> bool:
        is_classes = target_BHW.dtype == torch.int64 and target_BHW.ndim == 3
        return is_classes and are_within(target_BHW[target_BHW != IGNORED], self.num_outputs)

    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        target_BHW = torch.arange(size * 64).view(size, 8, 8) % self.num_outputs
        scores_BHWK = functional.one_hot(target_BHW, self.num_outputs).float()
        return scores_BHWK.movedim(-1, 1), target_BHW
