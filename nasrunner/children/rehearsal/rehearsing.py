"""Trains a child for a step before a study's first one: what would break all shows at once.

The step is a real one: a network of the space, a batch of the data, the optimizer, scheduler,
callbacks and loggers of the configuration, a validation batch, and what ends an epoch.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn

from nasrunner.children.fit.batch_norm import batch_norms, set_epsilon
from nasrunner.children.fit.batches import BatchCheck, batches_of, last_batch_size
from nasrunner.children.fit.loading import LoadedData, is_in_memory
from nasrunner.children.fit.measuring import LastValidation, Measuring
from nasrunner.children.fit.memory_format import is_channels_last
from nasrunner.children.fit.module import ChildModule
from nasrunner.children.fit.network_training import interruptible, sigterm_first
from nasrunner.children.fit.patience import patience
from nasrunner.children.inputs import Inputs, zeros
from nasrunner.children.progress.attempts import Line
from nasrunner.children.rehearsal.shortened import on_one_device, shortened
from nasrunner.children.rehearsal.telling import one_line, told_of_data
from nasrunner.children.settings.arguments import has_users_callbacks, make_trainer, remarks
from nasrunner.children.settings.length import (
    Length,
    check_ends,
    check_least,
    check_validated,
    limited,
)
from nasrunner.children.settings.scheduling import Schedule
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.tasks.tasks import Task, make_task
from nasrunner.core import ConfigError, DataError, InShape, NasRunnerError, SearchSpace
from nasrunner.core.errors import suggest

_LOOKING_S = 0.5
"""How long the targets of further batches are looked at."""

_CHANGING_BATCHES = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
"""Methods of a data module between its loaders and a step."""


class NetworkError(Exception):
    """A network broke in its own forward pass: other networks of the space may not."""


@dataclass(frozen=True)
class ChildRehearsal:
    """Tries a child's training with one configuration.

    Attributes:
        networks: frozen spaces, smallest network first.
        config: the child's configuration.
        in_shape: shape of one example.
        construct: builds an object from its configuration.
        data: the data module, set up.
        is_rewarded: whether the child needs its reward, as it does in a search.
    """

    networks: Sequence[SearchSpace]
    config: Config
    in_shape: InShape
    construct: Construct
    data: pl.LightningDataModule
    is_rewarded: bool

    @cached_property
    def task(self) -> Task:
        """What the child is trained for."""
        return make_task(self.config, self.construct)

    @cached_property
    def trainer(self) -> pl.Trainer:
        """Lightning's Trainer as the child has it, but for its devices."""
        alone = on_one_device(self.config["trainer"])
        return make_trainer(alone, Path(), self.construct, [])

    @cached_property
    def loader(self) -> Any:
        """The training batches."""
        return self._loader("train_dataloader")

    @cached_property
    def validation_loader(self) -> Any:
        """The validation batches; Lightning takes them out of a list or mapping of one loader."""
        loader = self._loader("val_dataloader")
        parts = list(loader.values()) if isinstance(loader, Mapping) else loader
        return parts[0] if isinstance(parts, list | tuple) else loader

    def _loader(self, method: str) -> Any:
        """What the data module gives Lightning.

        Raises:
            DataError: it is no loader, or several.
        """
        self.data.trainer = self.trainer
        try:
            with told_of_data(self.data, f"{method}() fails"):
                loader = getattr(self.data, method)()
        finally:
            self.data.trainer = None
        parts = list(loader.values()) if isinstance(loader, Mapping) else loader
        num_loaders = len(parts) if isinstance(parts, list | tuple) else 1
        if loader is None or num_loaders != 1:
            given = "None" if loader is None else f"{num_loaders} loaders"
            raise DataError(
                f"data: {type(self.data).__name__}.{method}() gives {given}, but a child needs one"
            )
        return loader

    @cached_property
    def length(self) -> Length:
        """How long a child's training is."""
        return Length.of(self.trainer, self._batches_per_epoch())

    def check(self) -> None:
        """Tries what depends on several parts of the configuration, without training.

        Raises:
            ConfigError: names the keys that do not go together.
            DataError: targets are not what the task needs.
        """
        check_ends(self.config["trainer"], self.length)
        check_least(self.config["trainer"], self.length)
        self._check_validation()
        self._check_callbacks()
        self._look_at_targets()
        self._check_last_batch()

    def train(self) -> list[str]:
        """Trains a network for one step, validates it on one batch, and ends the epoch.

        Returns:
            Sentences on what will be done in another way than was asked for.

        Raises:
            ConfigError: training fails for a reason that is not one network's.
            DataError: no child can be trained on the batches.
        """
        broken: list[NetworkError] = []
        for frozen in self.networks:
            try:
                with tempfile.TemporaryDirectory(prefix="nasrunner-rehearsal-") as folder:
                    said = self._train(frozen, Path(folder))
                return [*remarks(self.config["trainer"], self.trainer), *said]
            except NetworkError as error:
                broken.append(error)
        if broken:
            counted = "the network" if len(broken) == 1 else f"each of {len(broken)} networks"
            raise ConfigError(
                f"space: {counted} that was tried breaks in its first step: {one_line(broken[0])}"
            )
        return []

    def _batches_per_epoch(self) -> int | None:
        given = self.config["trainer"]
        name = "overfit_batches" if given.get("overfit_batches") else "limit_train_batches"
        num_batches = _len(self.loader)
        if num_batches == 0:
            raise ConfigError(f"data: {type(self.data).__name__} has no training batch")
        return limited(name, given.get(name), num_batches)

    def _check_validation(self) -> None:
        """Refuses to ask for what is measured on validation examples where there are none."""
        for metric, key in self._validation_metrics():
            settings, name = self.config["trainer"], type(self.data).__name__
            if not is_overridden("val_dataloader", self.data):
                raise ConfigError(
                    f"data: {name} has no val_dataloader(), but {key}={metric} is measured on "
                    "validation examples"
                )
            if settings.get("limit_val_batches") == 0 and not settings.get("overfit_batches"):
                raise ConfigError(
                    f"trainer.limit_val_batches=0 leaves no validation example to measure "
                    f"{key}={metric} on; legal: > 0, or null for all"
                )
            num_batches = _len(self.validation_loader)
            if num_batches == 0:
                raise ConfigError(
                    f"data: {name} has no validation batch, but {key}={metric} is measured on them"
                )
            self._num_validated()
            check_validated(settings, self.length, metric, key)

    def _num_validated(self) -> int | None:
        """The batches of a validation; None: as many as the loader has."""
        settings = self.config["trainer"]
        name = "overfit_batches" if settings.get("overfit_batches") else "limit_val_batches"
        return limited(name, settings.get(name), _len(self.validation_loader))

    def _check_callbacks(self) -> None:
        """Refuses callbacks that take the worst values of a metric for the best: Lightning's
        ``EarlyStopping`` and ``ModelCheckpoint`` have ``mode=min`` unless told otherwise."""
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
            if isinstance(monitor, str) and mode in ("max", "min"):
                key = f"trainer.callbacks: {type(callback).__name__} has mode"
                self.task.check_mode(key, monitor, mode)

    def _validation_metrics(self) -> Iterator[tuple[str, str]]:
        """The metrics of validation examples that something asks for, and what does."""
        reward = self.task.reward
        if self.is_rewarded and reward.is_of_validation:
            yield reward.metric, "task.reward.metric"
        monitor = self.config["scheduler"].get("monitor")
        if isinstance(monitor, str) and monitor.startswith("val_"):
            yield monitor, "scheduler.monitor"

    def _look_at_targets(self) -> None:
        """Looks at the targets of some batches: the first may not have all that occur."""
        if is_in_memory(self.data):
            return  # it has looked at all of them
        if any(is_overridden(name, self.data) for name in _CHANGING_BATCHES):
            return  # the step sees what is made of the first
        self._look_at("training", self.loader, None)
        if next(self._validation_metrics(), None) is not None:
            self._look_at("validation", self.validation_loader, self._num_validated())

    def _look_at(self, what: str, loader: Any, num_batches: int | None) -> None:
        """Looks at the first so many batches; None: at all that there is time for."""
        check = BatchCheck.of(self.config, self.task, self.data)
        deadline = time.monotonic() + _LOOKING_S
        with (
            told_of_data(self.data, f"a {what} batch cannot be had"),
            batches_of(loader) as batches,
        ):
            for batch in itertools.islice(batches, num_batches):
                check.check_targets(batch)
                if time.monotonic() > deadline:
                    break

    def _check_last_batch(self) -> None:
        """Refuses a last batch of one example where a network normalizes batches."""
        num_batches = _len(self.loader)
        if num_batches is None or last_batch_size(self.loader) != 1:
            return
        if self.length.batches_per_epoch != num_batches:
            return  # it is never reached
        for frozen in self.networks:
            network, _ = frozen.build(self.in_shape)
            if next(batch_norms(network), None) is None:
                continue
            in_dtype = self.config["data"].get("in_dtype", "float32")
            try:
                with torch.no_grad():
                    network.train()(zeros(1, self.in_shape, in_dtype))
            except ValueError as error:
                raise ConfigError(
                    "data.batch_size leaves one example for the last training batch of an epoch, "
                    f"which batch normalization cannot train on ({one_line(error)}); legal: "
                    "another batch size, or data.drop_last=true"
                ) from error

    def _train(self, frozen: SearchSpace, folder: Path) -> list[str]:
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
        network, _ = frozen.build(self.in_shape)
        set_epsilon(network, settings["batch_norm_epsilon"])
        lines: list[Line] = []
        schedule = Schedule(self.config["scheduler"], construct)
        module = _FirstStep(
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
        if self.is_rewarded and task.reward.metric not in measured:
            raise ConfigError(
                f"task.reward.metric: {task.reward.metric!r} was not measured in a first epoch; "
                f"measured were {', '.join(sorted(measured))}"
            )
        said = schedule.remark(trainer.lr_scheduler_configs[0].scheduler, self.length)
        return [] if said is None else [said]


class _FirstStep(ChildModule):
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


def _len(loader: Any) -> int | None:
    """The batches of an epoch; None where the loader does not say how many."""
    try:
        return len(loader)
    except TypeError:
        return None


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
        names = list(trainer.callback_metrics)
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
