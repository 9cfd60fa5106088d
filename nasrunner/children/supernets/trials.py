"""Tries a supernet on batches while it is trained, for what learns its architecture."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.optim import Optimizer

from nasrunner.children.inputs import Inputs
from nasrunner.children.supernets.shared_gradients import mean_over_ranks
from nasrunner.children.supernets.validation_batches import Batch, ValidationBatches
from nasrunner.children.tasks.mean_loss import MeanLoss
from nasrunner.children.tasks.tasks import Task
from nasrunner.core.shapes import each_input
from nasrunner.core.training_step import stepping

# B = batch, K = number of outputs


class Trials:
    """Runs a network on batches as it is set at the moment, with the precision of its training.

    Nothing of it changes gradients, the metrics of the training, or what its data draw.

    Several ranks try the same architectures at the same time, each on its part of a batch.

    Args:
        module: holds the network; has ``metrics``, the task's on the device of the training, and
            the ``progress`` of its steps, as of ``TrainingStep``.
        task: whose loss and reward count.
        trainer: trains the module.
        batches: of validation examples.
    """

    def __init__(
        self,
        module: pl.LightningModule,
        task: Task,
        trainer: pl.Trainer,
        batches: ValidationBatches,
    ) -> None:
        self.module = module
        self.task = task
        self.trainer = trainer
        self._batches = batches

    @property
    def validation(self) -> Iterator[Batch]:
        """Batches of validation examples without end, on the device of the training."""
        while True:
            if self.trainer.received_sigterm:  # as Lightning does after each training batch
                raise SIGTERMException
            yield next(self._batches)

    @property
    def optimizer(self) -> Optimizer:
        """That of the weights; its learning rates are those of the next step."""
        return self.trainer.optimizers[0]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Computes the task's mean loss of a batch, of which gradients can be taken.

        It is not scaled, as ``trainer.precision=16-mixed`` scales the loss of the weights: whoever
        takes gradients of it refuses that. Of several ranks it is what has that loss as its mean
        over ranks, see ``averaged``.
        """
        x, target, *third = batch
        if not third or not isinstance(third[0], int):
            return self._measure(batch)[1]
        if len(target) == 0:  # the others wait for this rank's gradients, and draw as it does
            made_up = each_input(x, lambda part: part.new_zeros(2, *part.shape[1:]))
            return 0.0 * self._predicted(made_up).sum()
        return self._measure(batch)[1] * (len(target) * self.trainer.world_size / third[0])

    def averaged(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Returns the gradients of a whole batch, the mean of those that each rank has found.

        All ranks call it together.
        """
        return mean_over_ranks(gradients) if self.trainer.world_size > 1 else list(gradients)

    def reward(self, batch: Batch) -> float | None:
        """Computes the task's reward of a batch, as if it were the whole validation part.

        It is the same on all ranks, which call it together.
        Where its metric is no finite number, ``task.reward.diverged`` says what it is, as it does
        of children: with ``chance`` that of a guess, and with ``keep`` none, for nothing was
        measured of this network before.

        Raises:
            ValueError: it has none, as of ``Reward.of_value``; with ``failed`` also because its
                metric is no finite number.
        """
        with torch.no_grad():
            value = float(self._value(batch))
        reward = self.task.reward
        if math.isfinite(value):
            return reward.of_value(value)
        if reward.diverged == "failed":
            raise ValueError(
                f"{reward.metric} of a validation batch is {value}, from which the architecture of "
                "a supernet cannot learn; legal: task.reward.diverged=keep, which leaves such "
                "batches out, or chance"
            )
        if reward.diverged == "keep":
            return None
        by_chance = self.task.by_chance(reward.metric)
        assert by_chance is not None, "the task has looked"
        return reward.of_value(by_chance)

    def _predicted(self, x: Inputs) -> torch.Tensor:
        progress: Any = self.module.progress
        # What layers add to the loss of a training step is no part of what is tried.
        with self.trainer.precision_plugin.forward_context(), stepping(progress):
            predicted_BK: torch.Tensor = self.module(x)
        return predicted_BK

    def _measure(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs of a batch, or of this rank's part of one, and their mean loss."""
        x, target, *third = batch
        predicted_BK = self._predicted(x)
        with self.trainer.precision_plugin.forward_context():
            if weights_B := _weights_in(third):
                return predicted_BK, self.task.weighted_loss(predicted_BK, target, weights_B[0])
            return predicted_BK, self.task.loss(predicted_BK, target)

    def _value(self, batch: Batch) -> torch.Tensor:
        """The metric that rewards are of."""
        target = batch[1]
        has_part = len(target) > 0 or self.trainer.world_size == 1
        predicted_BK, loss = self._measure(batch) if has_part else (None, torch.tensor(0.0))
        if self.trainer.world_size > 1:
            loss = self._mean_loss(loss, batch)
        name = self.task.reward.metric.removeprefix("val_")
        following = {"loss": loss, "train_loss": loss, **self.task.following(loss)}
        if name in following:
            return following[name]
        metric: Any = self.module.metrics[name]  # type: ignore[index]  # a ModuleDict
        if predicted_BK is not None:
            self.task.add_to([metric], *self.task.measured(predicted_BK, target))
        value = self.task.value_of(metric)  # of all ranks
        metric.reset()
        return value

    def _mean_loss(self, own: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The mean loss of the parts of all ranks."""
        _, target, *third = batch
        weights_B = _weights_in(third)
        size = weights_B[0].sum() if weights_B else self.task.num_targets(target)
        mean = MeanLoss()
        mean.add(own, size)
        return mean.compute(self.trainer.strategy)


def _weights_in(third: Sequence[Any]) -> list[torch.Tensor]:
    """The weights of a batch's examples, if it has any: a rank's part has a number there."""
    return [each for each in third if not isinstance(each, int)]
