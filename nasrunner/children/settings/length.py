"""How long a training will be: its epochs, batches and steps, and when it is validated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl

from nasrunner.core import ConfigError


@dataclass(frozen=True)
class Length:
    """How long a training is where nothing stops it early.

    Attributes:
        epochs: passes over the training batches, the last one perhaps cut short; None where only
            the clock or a callback ends training.
        steps: steps of the optimizer, likewise.
        batches: training batches, likewise.
        batches_per_epoch: None where the data does not say how many it has.
    """

    epochs: int | None
    steps: int | None
    batches: int | None
    batches_per_epoch: int | None

    @classmethod
    def of(cls, trainer: pl.Trainer, batches_per_epoch: float | None) -> "Length":
        """Reads the limits of a Lightning trainer.

        Args:
            trainer: whose max_epochs, max_steps and accumulate_grad_batches count.
            batches_per_epoch: after ``limit_train_batches``; None or infinite: not known.
        """
        accumulated = trainer.accumulate_grad_batches
        max_epochs = None if trainer.max_epochs in (None, -1) else trainer.max_epochs
        max_steps = None if trainer.max_steps in (None, -1) else trainer.max_steps
        if batches_per_epoch is None or not math.isfinite(batches_per_epoch):
            return cls(max_epochs if max_steps is None else None, max_steps, None, None)
        per_epoch = int(batches_per_epoch)
        steps_per_epoch = math.ceil(per_epoch / accumulated)
        limits = [] if max_epochs is None else [max_epochs * steps_per_epoch]
        limits += [] if max_steps is None else [max_steps]
        if not limits:
            return cls(None, None, None, per_epoch)
        steps = min(limits)
        whole, rest = divmod(steps, steps_per_epoch)
        batches = whole * per_epoch + min(rest * accumulated, per_epoch)
        return cls(math.ceil(steps / steps_per_epoch), steps, batches, per_epoch)


def limited(name: str, limit: int | float | None, num_batches: int | None) -> int | None:
    """Returns the batches that are left of a loader's by ``trainer.limit_*_batches``.

    Args:
        name: of the limit, for the error message.
        limit: a number of batches, or a share of them; None: all.
        num_batches: of the loader; None: not known.

    Raises:
        ConfigError: the share is less than one batch.
    """
    if num_batches is None:
        if isinstance(limit, float) and limit != 1.0:
            raise ConfigError(
                f"trainer.{name}={limit} is a share of batches that the data does not count: its "
                "loader has no length; legal: null, or a number of batches"
            )
        return limit if isinstance(limit, int) else None
    if limit is None:
        return num_batches
    if isinstance(limit, int):
        return min(limit, num_batches)
    if (left := int(num_batches * limit)) == 0 and num_batches > 0:
        raise ConfigError(
            f"trainer.{name}={limit} of {num_batches} batches is less than one; legal: "
            f">= {1 / num_batches:.3g}, or a whole number of batches"
        )
    return left


def check_ends(settings: Mapping[str, Any], length: Length) -> None:
    """Refuses a training that nothing ends.

    Args:
        settings: the ``trainer`` part of the child's configuration.
        length: of the training.

    Raises:
        ConfigError: there is no limit, and nothing that could stop it.
    """
    stoppers = ("max_time", "stop_patience", "callbacks", "fast_dev_run")
    has_stopper = any(settings.get(name) not in (None, False) for name in stoppers)
    if length.epochs is None and length.steps is None and not has_stopper:
        raise ConfigError(
            "trainer.max_epochs=-1 trains every child without end; give max_epochs, max_steps, "
            "max_time or stop_patience"
        )


def check_least(settings: Mapping[str, Any], length: Length) -> None:
    """Refuses a training that has to be longer than it may be: Lightning would end it silently.

    Args:
        settings: the ``trainer`` part of the child's configuration.
        length: of the training.

    Raises:
        ConfigError: ``min_steps`` or ``min_epochs`` is more than its limits leave.
    """
    for unit, most in (("steps", length.steps), ("epochs", length.epochs)):
        least = settings.get(f"min_{unit}")
        if least is not None and most is not None and least > most:
            raise ConfigError(
                f"trainer.min_{unit}={least} must be at most the {most} {unit} that "
                "trainer.max_epochs and max_steps leave"
            )


def check_validated(
    settings: Mapping[str, Any], length: Length, metric: str, key: str, pause: int | None = None
) -> None:
    """Refuses a training that ends, or is paused, before its first validation.

    Args:
        settings: the ``trainer`` part of the child's configuration.
        length: of the training.
        metric: what is measured on validation examples.
        key: what asks for the metric.
        pause: the epochs after which the training is paused; None: it is not.

    Raises:
        ConfigError: the first validation would come too late, or never.
    """
    given, every = settings.get("val_check_interval"), settings.get("check_val_every_n_epoch", 1)
    per_epoch = length.batches_per_epoch
    if per_epoch is None and isinstance(given, float) and given != 1.0:
        raise ConfigError(
            f"trainer.val_check_interval={given} is a share of batches that the data does not "
            "count: its loader has no length; legal: null, or a number of batches"
        )
    if isinstance(given, str | Mapping) or per_epoch is None or settings.get("fast_dev_run"):
        return  # by the clock, nobody knows, or at once
    interval = given if isinstance(given, int) else max(1, int(per_epoch * (given or 1.0)))
    if every is not None and interval > per_epoch:
        raise ConfigError(
            f"trainer.val_check_interval={given} must be at most {per_epoch}, the training batches "
            "of an epoch, or trainer.check_val_every_n_epoch null: then batches are counted across "
            "epochs"
        )
    needed = interval if every is None else (every - 1) * per_epoch + interval
    if pause is not None and needed > pause * per_epoch:
        raise ConfigError(
            f"{key}={metric} is measured on validation examples, but a searcher pauses training "
            f"after {pause * per_epoch} batches (until={pause}), and it is validated after "
            f"{needed}: change searcher.rungs, min_epochs or interval, trainer.val_check_interval "
            "or check_val_every_n_epoch"
        )
    if length.batches is not None and needed > length.batches:
        raise ConfigError(
            f"{key}={metric} is measured on validation examples, but training ends after "
            f"{length.batches} batches and is validated after {needed}: change trainer.max_epochs, "
            "max_steps, val_check_interval or check_val_every_n_epoch"
        )
