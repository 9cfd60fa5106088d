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
from pytorch_lightning.utilities.model_helpers import is_overridden

from nasrunner.children.fit.batch_norm import batch_norms
from nasrunner.children.fit.batches import BatchCheck, batches_of, last_batch_size
from nasrunner.children.fit.loading import is_in_memory
from nasrunner.children.inputs import zeros
from nasrunner.children.rehearsal.first_step import FirstStep, NetworkError
from nasrunner.children.rehearsal.needs import Needs
from nasrunner.children.rehearsal.shortened import on_one_device
from nasrunner.children.rehearsal.telling import one_line, told_of_data
from nasrunner.children.settings.arguments import make_trainer, remarks
from nasrunner.children.settings.length import (
    Length,
    check_ends,
    check_least,
    check_validated,
    limited,
)
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.tasks.tasks import Task, make_task
from nasrunner.core import ConfigError, DataError, InShape, SearchSpace
from nasrunner.core.shapes import in_dtype_of

_LOOKING_S = 0.5
"""How long the targets of further batches are looked at."""

_CHANGING_BATCHES = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
"""Methods of a data module between its loaders and a step."""


@dataclass(frozen=True)
class ChildRehearsal:
    """Tries a child's training with one configuration.

    Attributes:
        networks: frozen spaces, smallest network first.
        config: the child's configuration.
        in_shape: shape of one example.
        construct: builds an object from its configuration.
        data: the data module, set up.
        needs: what the study needs of the child.
    """

    networks: Sequence[SearchSpace]
    config: Config
    in_shape: InShape
    construct: Construct
    data: pl.LightningDataModule
    needs: Needs

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
        step = FirstStep(
            self.config,
            self.in_shape,
            self.construct,
            self.data,
            self.length,
            self.needs,
        )
        broken: list[NetworkError] = []
        for frozen in self.networks:
            try:
                with tempfile.TemporaryDirectory(prefix="nasrunner-rehearsal-") as folder:
                    said = step.train(frozen, Path(folder))
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
        """Refuses to ask for validation examples where there are none."""
        settings, name = self.config["trainer"], type(self.data).__name__
        if self.needs.learns_by_validation:
            learns = "the architecture of a supernet learns from validation batches"
            if not is_overridden("val_dataloader", self.data):
                raise ConfigError(f"data: {name} has no val_dataloader(), but {learns}")
            if _len(self.validation_loader) == 0:
                raise ConfigError(f"data: {name} has no validation batch, but {learns}")
        for metric, key in self._validation_metrics():
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
            if key != "scheduler.monitor":  # which waits
                check_validated(settings, self.length, metric, key, self.needs.pause)

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
        if self.needs.is_rewarded and reward.is_of_validation:
            yield reward.metric, "task.reward.metric"
        for key, names in (
            ("objectives", self.needs.objectives),
            ("searcher.metric", self.needs.heard),
        ):
            yield from ((name, key) for name in names if name.startswith("val_"))
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
            in_dtype = in_dtype_of(self.config["data"])
            try:
                with torch.no_grad():
                    network.train()(zeros(1, self.in_shape, in_dtype))
            except ValueError as error:
                raise ConfigError(
                    "data.batch_size leaves one example for the last training batch of an epoch, "
                    f"which batch normalization cannot train on ({one_line(error)}); legal: "
                    "another batch size, or data.drop_last=true"
                ) from error


def _len(loader: Any) -> int | None:
    """The batches of an epoch; None where the loader does not say how many."""
    try:
        return len(loader)
    except TypeError:
        return None
