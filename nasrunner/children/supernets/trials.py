"""Tries a supernet on batches while it is trained, for what learns its architecture."""

import math
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.optim import Optimizer

from nasrunner.children.supernets.validation_batches import Batch, ValidationBatches
from nasrunner.children.tasks.tasks import Task
from nasrunner.core.training_step import stepping

# B = batch, K = number of outputs


class Trials:
    """Runs a network on batches as it is set at the moment, with the precision of its training.

    Nothing of it changes gradients, the metrics of the training, or what its data draw.

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
        takes gradients of it refuses that.
        """
        return self._measure(batch)[1]

    def reward(self, batch: Batch) -> float | None:
        """Computes the task's reward of a batch, as if it were the whole validation part.

        Where its metric is no finite number, ``task.reward.diverged`` says what it is, as it does
        of children: with ``chance`` that of a guess, and with ``keep`` none, for nothing was
        measured of this network before.

        Raises:
            ValueError: it has none, as of ``Reward.of_value``; with ``failed`` also because its
                metric is no finite number.
        """
        with torch.no_grad():
            predicted_BK, loss = self._measure(batch)
            value = float(self._value(predicted_BK, batch[1], loss.detach()))
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

    def _measure(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs of a batch, and their mean loss."""
        x, target, *weights_B = batch
        progress: Any = self.module.progress
        # What layers add to the loss of a training step is no part of what is tried.
        with self.trainer.precision_plugin.forward_context(), stepping(progress):
            predicted_BK = self.module(x)
            if weights_B:
                loss = self.task.weighted_loss(predicted_BK, target, weights_B[0])
            else:
                loss = self.task.loss(predicted_BK, target)
        return predicted_BK, loss

    def _value(
        self, predicted_BK: torch.Tensor, target: torch.Tensor, loss: torch.Tensor
    ) -> torch.Tensor:
        """The metric that rewards are of."""
        name = self.task.reward.metric.removeprefix("val_")
        following = {"loss": loss, "train_loss": loss, **self.task.following(loss)}
        if name in following:
            return following[name]
        metric: Any = self.module.metrics[name]  # type: ignore[index]  # a ModuleDict
        metric.update(*self.task.measured(predicted_BK, target))
        value: torch.Tensor = metric.compute()
        metric.reset()
        return value
