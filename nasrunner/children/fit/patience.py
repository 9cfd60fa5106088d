"""Stops a child's training when its reward metric has not improved for some epochs."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping

from nasrunner.children.settings.searched import Config
from nasrunner.children.tasks.tasks import Task


class Patience(EarlyStopping):
    """Lightning's early stopping with a patience in epochs, however often a child is validated.

    Lightning counts validations: with ``check_val_every_n_epoch=5`` its patience of 10 is 50
    epochs, with ``val_check_interval=0.1`` it is one.

    Args:
        monitor: the metric that is looked at after each validation.
        mode: ``max``: higher is better; ``min``: lower is.
        patience: epochs without improvement, >= 0, after which training stops.
        min_delta: what counts as an improvement, in units of the metric, >= 0.
    """

    def __init__(self, monitor: str, mode: str, patience: int, min_delta: float) -> None:
        super().__init__(monitor=monitor, mode=mode, patience=patience, min_delta=min_delta)
        self._now = 0.0
        self._best_at: float | None = None

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        self._now = epochs_trained(trainer)
        super()._run_early_stopping_check(trainer)

    def _evaluate_stopping_criteria(self, current: torch.Tensor) -> tuple[bool, str | None]:
        if self._best_at is None:  # at first, or written by a version that validated each epoch
            self._best_at = self._now - 1 - self.wait_count
        best = self.best_score
        # What Lightning adds 1 to, and then compares with the patience.
        self.wait_count = self._now - self._best_at - 1  # type: ignore[assignment]  # a fraction
        found = super()._evaluate_stopping_criteria(current)
        if self.best_score is not best:
            self._best_at = self._now
        return found

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best_at": self._best_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._best_at = state_dict.get("best_at")


def patience(settings: Config, task: Task) -> Iterator[pl.Callback]:
    """Yields the early stopping that the ``trainer`` part of a child's configuration asks for, if
    any.
    """
    if settings["stop_patience"] is not None:
        reward, min_delta = task.reward, settings["stop_min_delta"]
        yield Patience(reward.metric, reward.mode, settings["stop_patience"], min_delta)


def epochs_trained(trainer: pl.Trainer) -> float:
    """Returns how many epochs a fit has behind it, with the part of the present one that is
    done.
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress
    total = trainer.num_training_batches
    if progress.is_last_batch or not total:
        return trainer.current_epoch + 1.0
    return trainer.current_epoch + min(progress.current.ready / total, 1.0)
