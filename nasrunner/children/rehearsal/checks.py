"""Tries what children will need before the first one is trained, so that mistakes show at once."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import Optimizer

from nasrunner.children.evaluating import Evaluation
from nasrunner.children.fit.loading import make_data
from nasrunner.children.muted import without_messages
from nasrunner.children.rehearsal.needs import Needs
from nasrunner.children.rehearsal.rehearsing import ChildRehearsal
from nasrunner.children.rehearsal.telling import told_of_data
from nasrunner.children.settings.arguments import check_ranks, make_trainer, needs_ranks
from nasrunner.children.settings.schedulers import Plateau
from nasrunner.children.settings.scheduling import Schedule
from nasrunner.children.settings.searched import Config, Construct, check_settings, variants
from nasrunner.children.tasks.tasks import make_task
from nasrunner.core import ConfigError, DataError, InShape, NasRunnerError, SearchSpace
from nasrunner.core.annotations import Within, takes
from nasrunner.core.errors import suggest
from nasrunner.core.language.values import whole_numbers
from nasrunner.core.shapes import as_in_shape


def check_child(
    config: Config,
    settings: Iterable[tuple[str, Any]],
    in_shape: InShape,
    construct: Construct,
    networks: Sequence[SearchSpace],
    needs: Needs,
    *,
    named: str = "space.hyperparameters {}",
) -> list[str]:
    """Builds every part of a child for every option of every hyperparameter, and trains a step.

    A step is trained with the first option of each, and with those that are not just another
    number in the place of a number.

    Args:
        config: the child's configuration.
        settings: (dotted key, ``OneOf`` or its value) of the space's hyperparameters.
        in_shape: shape of one example.
        construct: builds an object from its configuration.
        networks: what is trained a step, smallest first; the others where that one breaks.
        needs: what the study needs of the child.
        named: how an error names ``key=option``, which stands in the place of ``{}``.

    Returns:
        Sentences on what will be done in another way than was asked for.

    Raises:
        ConfigError: a part cannot be built, or training cannot work; names its key, and the option
            where it is one's.
        DataError: a file of the data set is missing or damaged, or its batches cannot be trained
            on.
    """
    settings = tuple(settings)
    check_settings(config, settings)
    said: list[str] = []
    tried = Tried(in_shape, construct, networks, needs)
    base = None
    for option, variant in variants(config, settings):
        base = base or variant
        try:
            _check_same_for_all(config, variant)
            with without_messages():  # what children will say, they say in their logs
                trains = variant is base or not _differ_in_numbers(base, variant)
                said += tried(variant, trains=trains)
        except NasRunnerError as error:
            for key, value in settings:
                if str(error).startswith(f"{key} must be int"):
                    whole_numbers(value, key)  # raises with the rounded list
            where = f" (with {named.format(option)})" if option else ""
            raise type(error)(f"{error}{where}") from error
    return list(dict.fromkeys(said))


def check_evaluation(evaluation: Evaluation, config: Config, construct: Construct) -> Config:
    """Returns the configuration of the first training of a child's evaluation.

    Raises:
        ConfigError: a child cannot be trained several times with this trainer or these data.
    """
    if evaluation.is_single:
        return config
    settings = config["trainer"]
    with without_messages():  # Lightning says which devices it found
        is_divided = needs_ranks(settings, lambda: make_trainer(settings, Path(), construct, []))
    if is_divided:
        raise ConfigError(
            f"evaluation.repeats={evaluation.repeats}, folds={evaluation.folds}: the trainings of "
            "a child follow one another on one device; trainer.devices and num_nodes must be 1"
        )
    if evaluation.folds and not all(takes(config["data"], name) for name in ("fold", "folds")):
        raise ConfigError(
            f"evaluation.folds={evaluation.folds} needs data that can be split so: "
            f"{config['data']['_target_']} takes no fold and folds"
        )
    first, _ = next(evaluation.trainings(config, 0))
    return first


def check_folds(
    evaluation: Evaluation, config: Config, in_shape: InShape, construct: Construct
) -> None:
    """Loads the data of each fold but the first, with which everything else is tried.

    Raises:
        ConfigError, DataError: as of ``check_child``; names the fold.
    """
    for fold in range(1, evaluation.folds or 0):
        data = {**config["data"], "fold": fold, "folds": evaluation.folds}
        try:
            with without_messages():
                loaded_data({**config, "data": data}, in_shape, construct)
        except NasRunnerError as error:
            raise type(error)(f"{error} (in fold {fold} of evaluation.folds)") from error


class Tried:
    """Tries configurations of one study's children; each part of them once."""

    def __init__(
        self,
        in_shape: InShape,
        construct: Construct,
        networks: Sequence[SearchSpace],
        needs: Needs,
    ) -> None:
        self.in_shape = in_shape
        self.construct = construct
        self.networks = networks
        self.needs = needs
        self._tried: set[str] = set()
        self._data: tuple[str, pl.LightningDataModule] | None = None

    def __call__(self, config: Config, *, trains: bool) -> list[str]:
        """Builds what has not been tried yet, looks whether it goes together, and trains a step."""
        for part, check in _PARTS.items():
            if self._is_new(part, config[part]):
                check(config, self.construct)
        data = self._loaded(config)
        rehearsal = ChildRehearsal(
            self.networks,
            config,
            self.in_shape,
            self.construct,
            data,
            self.needs,
        )
        if self._is_new("schedule", [config[n] for n in ("optimizer", "scheduler", "trainer")]):
            _check_scheduler(config, self.construct, rehearsal)
        if self._is_new("check", [config[n] for n in ("data", "task", "trainer", "scheduler")]):
            rehearsal.check()
        return rehearsal.train() if trains else []

    def _loaded(self, config: Config) -> pl.LightningDataModule:
        identity = _identity(config["data"])
        if self._data is None or self._data[0] != identity:
            self._data = (identity, loaded_data(config, self.in_shape, self.construct))
        return self._data[1]

    def _is_new(self, what: str, value: Any) -> bool:
        identity = f"{what} {_identity(value)}"
        is_new = identity not in self._tried
        self._tried.add(identity)
        return is_new


def _identity(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _differ_in_numbers(first: Any, second: Any) -> bool:
    """Whether two configurations are the same but for numbers that are other numbers."""
    return all(
        isinstance(each, int | float) and not isinstance(each, bool)
        for pair in _differences(first, second)
        for each in pair
    )


def _differences(first: Any, second: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(first, Mapping) and isinstance(second, Mapping) and set(first) == set(second):
        for name in first:
            yield from _differences(first[name], second[name])
    elif first != second:
        yield first, second


def _check_same_for_all(config: Config, variant: Config) -> None:
    """Refuses to search what workers, jobs and networks are made for before a child is known."""
    for group, names in _SAME_FOR_ALL.items():
        for name in names:
            if variant[group].get(name) != config[group].get(name):
                raise ConfigError(f"{group}.{name} must be the same for all children")


_SAME_FOR_ALL = {
    "trainer": ("_target_", "devices", "num_nodes", "strategy"),
    "data": ("in_shape", "num_outputs", "in_dtype", "resolution"),
    "task": ("normalize_targets",),  # val_loss is in its units
}


_MOMENTUM = Within("[0, 1)")


def _make_optimizer(config: Config, construct: Construct) -> Optimizer:
    optimizer = construct(config["optimizer"], "optimizer", [nn.Parameter(torch.zeros(1))])
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(f"optimizer._target_ must name a torch Optimizer, got {type(optimizer)}")
    momentum = optimizer.defaults.get("momentum")  # torch takes what makes weights grow forever
    if isinstance(momentum, int | float) and momentum not in _MOMENTUM:
        raise ConfigError(f"optimizer.momentum must be {_MOMENTUM}, got {momentum!r}")
    return optimizer


def _check_scheduler(config: Config, construct: Construct, rehearsal: ChildRehearsal) -> None:
    schedule = Schedule(config["scheduler"], construct)
    scheduler = schedule.make(_make_optimizer(config, construct), lambda: rehearsal.length)
    if isinstance(scheduler, Plateau):
        task = make_task(config, construct)
        names = task.logged_names()
        if scheduler.monitor not in names:
            legal = suggest(scheduler.monitor, names)
            raise ConfigError(f"scheduler.monitor: {scheduler.monitor!r} is never logged, {legal}")
        task.check_mode("scheduler.mode", scheduler.monitor, scheduler.mode)


def _check_task(config: Config, construct: Construct) -> None:
    task = make_task(config, construct)
    task.rehearse()


def _check_trainer(config: Config, construct: Construct) -> None:
    trainer = config["trainer"]
    batch_size = config["data"].get("batch_size")
    check_ranks(trainer, batch_size, make_trainer(trainer, Path(), construct, []))


def loaded_data(config: Config, in_shape: InShape, construct: Construct) -> pl.LightningDataModule:
    """Returns the data module of a configuration, its training examples loaded.

    Raises:
        ConfigError: its batches cannot be divided among the devices.
        DataError: a file is missing or damaged, or it is not what the configuration says.
    """
    settings = config["data"]
    data = make_data(settings, construct)
    read = as_in_shape(settings["in_shape"]) if settings.get("resolution") else in_shape
    for name, expected in (("in_shape", read), ("num_outputs", settings["num_outputs"])):
        found = getattr(data, name, expected)
        if (as_in_shape(found) if name == "in_shape" else found) != expected:
            raise DataError(f"data.{name} is {expected}, but the data module says {found}")
    if getattr(data, "needs_one_device", False):
        _check_one_device(config["trainer"], type(data).__name__, construct)
    with told_of_data(data, "prepare_data() fails"):
        data.prepare_data()
    with told_of_data(data, 'setup("fit") fails'):
        data.setup("fit")
    return data


def _check_one_device(trainer: Config, name: str, construct: Construct) -> None:
    """Refuses several devices to a child whose batches cannot be divided among them."""
    if not needs_ranks(trainer, lambda: make_trainer(trainer, Path(), construct, [])):
        return
    given = [f"trainer.{key}={trainer.get(key)}" for key in ("devices", "num_nodes", "strategy")]
    raise ConfigError(
        f"data: the streams of {name} cannot be divided among the devices of {' '.join(given)}; "
        "legal: trainer.devices=1 trainer.num_nodes=1 trainer.strategy=auto"
    )


_PARTS: Mapping[str, Callable[[Config, Construct], object]] = {
    "task": _check_task,
    "optimizer": _make_optimizer,
    "trainer": _check_trainer,
}
"""How each part of a child's configuration is tried."""
