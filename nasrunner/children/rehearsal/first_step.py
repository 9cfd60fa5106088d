"""The first step of a child's training, with all that training has: what breaks it breaks all."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from nasrunner.children.evaluating import ONE_CLASS
from nasrunner.children.fit.batch_norm import set_epsilon
from nasrunner.children.fit.batches import BatchCheck
from nasrunner.children.fit.energy import check_counts
from nasrunner.children.fit.loading import LoadedData
from nasrunner.children.fit.measuring import LastValidation, Measuring
from nasrunner.children.fit.memory_format import is_channels_last
from nasrunner.children.fit.module import ChildModule
from nasrunner.children.fit.network_training import interruptible, sigterm_first
from nasrunner.children.fit.patience import patience
from nasrunner.children.inputs import Inputs
from nasrunner.children.progress.attempts import Line
from nasrunner.children.rehearsal.needs import Needs
from nasrunner.children.rehearsal.shortened import shortened
from nasrunner.children.rehearsal.telling import one_line
from nasrunner.children.settings.arguments import has_users_callbacks, make_trainer
from nasrunner.children.settings.length import Length
from nasrunner.children.settings.scheduling import Schedule
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.tasks.tasks import make_task
from nasrunner.core import ConfigError, DataError, InShape, NasRunnerError, SearchSpace
from nasrunner.core.errors import suggest
from nasrunner.core.ledger.goal_settings import check_measured
from nasrunner.core.ledger.objectives import DEPLOYED, ENERGY, REWARD, SIZES
from nasrunner.core.machine.child_folder import NO_METRICS


class NetworkError(Exception):
    """A network broke in its own forward pass: other networks of the space may not."""


@dataclass(frozen=True)
class FirstStep:
    """Trains a network for one step, validates it on one batch, and ends the epoch.

    Attributes:
        config: the child's configuration.
        in_shape: shape of one example.
        construct: builds an object from its configuration.
        data: the data module, set up.
        length: how long a child's training is.
        needs: what the study needs of the child.
    """

    config: Config
    in_shape: InShape
    construct: Construct
    data: pl.LightningDataModule
    length: Length
    needs: Needs

    def train(self, frozen: SearchSpace, folder: Path) -> list[str]:
        """Trains a network.

        Args:
            frozen: the space with its decisions taken.
            folder: for whatever training writes.

        Returns:
            Sentences on what will be done in another way than was asked for.

        Raises:
            NetworkError: it broke in its own forward pass.
            ConfigError: training fails for a reason that is not this network's.
            DataError: no child can be trained on the batches.
        """
        per_epoch, construct = self.length.batches_per_epoch, self.construct
        settings = shortened(self.config["trainer"], per_epoch)
        task = make_task(self.config, construct)
        measuring = Measuring(keeps_weights=has_users_callbacks(settings))
        trainer = make_trainer(
            settings,
            folder,
            construct,
            [*patience(settings, task), LastValidation(measuring)],
            first=[measuring],
        )
        _without_traces(trainer, folder)
        if ENERGY in self.needs.objectives:
            check_counts(trainer.strategy.root_device)
        network, _ = frozen.build(self.in_shape)
        set_epsilon(network, settings["batch_norm_epsilon"])
        lines: list[Line] = []
        schedule = Schedule(self.config["scheduler"], construct)
        module = _LookingModule(
            _Traced(network),
            task,
            lambda parameters: construct(self.config["optimizer"], "optimizer", parameters),
            schedule,
            lambda: self.length,
            lambda line: None,
            lines.append,
            is_channels_last=is_channels_last(settings["channels_last"], network, self.in_shape),
            is_fast=False,
        )
        module.check = BatchCheck.of(self.config, task, self.data)
        loaded = LoadedData(self.data, is_fast=False).attach(trainer)
        try:
            with interruptible(), sigterm_first(trainer):
                trainer.fit(module, datamodule=loaded)
        except (KeyboardInterrupt, SIGTERMException, NetworkError, NasRunnerError):
            raise
        except torch.OutOfMemoryError:
            return []  # of this network
        except FloatingPointError as error:
            module.diverged = str(error)
        except BaseException as error:
            raise ConfigError(_unknown_monitor(trainer, error) or _explained(error)) from error
        finally:
            self.data.trainer = None
        if module.diverged is not None and module.holds_nan:
            raise DataError(f"data: a batch holds NaN, and so does its loss: {module.diverged}")
        if module.diverged is not None:
            return []  # of this network and its first weights
        measured = {name for line in lines for name in line}
        if self.needs.is_rewarded and task.reward.metric not in measured:
            raise ConfigError(
                f"task.reward.metric: {task.reward.metric!r} was not measured in a first epoch; "
                f"measured were {', '.join(sorted(measured))}"
            )
        check_measured(
            self.needs.objectives,
            {REWARD, "epochs", *DEPLOYED, *SIZES, *measured} - {*NO_METRICS},
        )
        _check_heard(self.needs.heard, measured - {*NO_METRICS})
        said = schedule.remark(trainer.lr_scheduler_configs[0].scheduler, self.length)
        return [] if said is None else [said]


def _check_heard(names: Sequence[str], measured: Collection[str]) -> None:
    """Refuses metrics that a searcher compares running children by, and no epoch measures."""
    for name in names:
        if name not in measured:
            raise ConfigError(
                f"searcher.metric: no child measures {name!r}, {suggest(name, measured)}"
            )


class _LookingModule(ChildModule):
    """Looks at each batch before it is trained on."""

    check: BatchCheck
    holds_nan = False

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor | None:
        self._look_at(batch)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._look_at(batch)
        super().validation_step(batch, batch_idx)

    def _look_at(self, batch: Any) -> None:
        self.check(batch)
        x, target, *_ = batch
        parts = [*(x.values() if isinstance(x, Mapping) else [x]), target]
        self.holds_nan |= any(bool(part.isnan().any()) for part in parts)


class _Traced(nn.Module):
    """A network whose own failures can be told from all others."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Inputs) -> torch.Tensor:
        try:
            out: torch.Tensor = self.network(x)
        except (KeyboardInterrupt, torch.OutOfMemoryError):
            raise
        except BaseException as error:
            raise NetworkError(f"{type(error).__name__}: {error}") from error
        return out


def _without_traces(trainer: pl.Trainer, folder: Path) -> None:
    """Keeps a rehearsal out of the user's loggers and checkpoints."""
    trainer.loggers = [DummyLogger() for _ in trainer.loggers]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(folder)


def _unknown_monitor(trainer: pl.Trainer, error: BaseException) -> str | None:
    """Tells that a callback has failed for want of the metric that it looks at; None: none has."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        # One that only children which answer one class have is none to wait for.
        names = [name for name in trainer.callback_metrics if name != ONE_CLASS]
        if isinstance(monitor, str) and monitor not in names and monitor in str(error):
            return (
                f"trainer.callbacks: {type(callback).__name__} has monitor={monitor}, which is not "
                f"logged when it looks, {suggest(monitor, names)}"
            )
    return None


def _explained(error: BaseException) -> str:
    """A failure of training in one sentence, with the key to change where it is known."""
    text = one_line(error)
    if "gradient clipping" in text and "fused" in text:
        return (
            "trainer.gradient_clip_val clips no gradients that the optimizer scales itself, as a "
            "fused one does with trainer.precision=*-mixed; legal: optimizer.fused=false, or "
            "trainer.precision=32-true"
        )
    where = "a first step of training fails"
    if isinstance(error, MisconfigurationException):
        where = "trainer: Lightning refuses the configuration"
    return f"{where}: {type(error).__name__}: {text}"
