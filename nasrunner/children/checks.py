"""Tries what children will need before the first one is trained, so that mistakes show at once."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, ReduceLROnPlateau

from nasrunner.children.arguments import check_ranks, make_trainer, needs_ranks
from nasrunner.children.batch_norm import check_epsilon
from nasrunner.children.checkpoints import check_keep
from nasrunner.children.continuing import check_interval
from nasrunner.children.loading import make_data
from nasrunner.children.memory_format import check_channels_last
from nasrunner.children.quiet import quiet
from nasrunner.children.scaling import check_scaling
from nasrunner.children.schedulers import Plateau
from nasrunner.children.settings import Config, Construct, check_settings, variants
from nasrunner.children.tasks import Task
from nasrunner.core import ConfigError, DataError, NasRunnerError, Shape
from nasrunner.core.errors import suggest


def check_child(
    config: Config,
    settings: Iterable[tuple[str, Any]],
    in_shape: Shape,
    construct: Construct,
) -> None:
    """Builds every part of a child but its network, for every option of every hyperparameter.

    Args:
        config: the child's configuration.
        settings: (dotted key, ``OneOf`` or its value) of the space's hyperparameters.
        in_shape: shape of one example.
        construct: builds an object from its configuration.

    Raises:
        ConfigError: a part cannot be built; names its key, and the option where it is one's.
        DataError: a file of the data set is missing or damaged.
    """
    settings = tuple(settings)
    check_settings(config, settings)
    _check_same_for_all(settings)
    tried: set[str] = set()
    for option, variant in variants(config, settings):
        for part, check in _PARTS.items():
            identity = f"{part} {json.dumps(variant[part], sort_keys=True, default=repr)}"
            if part == "scheduler":
                identity += json.dumps(variant["optimizer"], sort_keys=True, default=repr)
            if identity in tried:
                continue
            tried.add(identity)
            try:
                check(variant, in_shape, construct)
            except NasRunnerError as error:
                where = f" (with space.hyperparameters {option})" if option else ""
                raise type(error)(f"{error}{where}") from error


def _check_same_for_all(settings: Iterable[tuple[str, Any]]) -> None:
    """Refuses to search what workers and jobs are made for before a child is known."""
    for key, _ in settings:
        if key in ("trainer.devices", "trainer.num_nodes", "trainer.strategy"):
            raise ConfigError(f"space.hyperparameters: {key} must be the same for all children")


def _check_optimizer(config: Config, in_shape: Shape, construct: Construct) -> Optimizer:
    optimizer = construct(config["optimizer"], "optimizer", [nn.Parameter(torch.zeros(1))])
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(f"optimizer._target_ must name a torch Optimizer, got {type(optimizer)}")
    return optimizer


def _check_scheduler(config: Config, in_shape: Shape, construct: Construct) -> None:
    optimizer = _check_optimizer(config, in_shape, construct)
    scheduler = construct(config["scheduler"], "scheduler", optimizer)
    if isinstance(scheduler, ReduceLROnPlateau) and not isinstance(scheduler, Plateau):
        raise ConfigError(
            "scheduler._target_: torch's ReduceLROnPlateau does not say which metric it watches; "
            "use nasrunner.children.schedulers.Plateau"
        )
    if not isinstance(scheduler, LRScheduler):
        raise ConfigError(f"scheduler._target_ must name an LRScheduler, got {type(scheduler)}")
    if isinstance(scheduler, MultiStepLR):
        _check_milestones(list(scheduler.milestones))
    if isinstance(scheduler, Plateau):
        names = _make_task(config, construct).logged_names()
        if scheduler.monitor not in names:
            legal = suggest(scheduler.monitor, names)
            raise ConfigError(f"scheduler.monitor: {scheduler.monitor!r} is never logged, {legal}")


def _check_milestones(milestones: list[Any]) -> None:
    """Refuses what torch takes, but training never comes to."""
    for each in milestones:
        if not isinstance(each, int) or isinstance(each, bool) or each < 1:
            raise ConfigError(f"scheduler.milestones must be epochs >= 1, got {each!r}")


def _check_task(config: Config, in_shape: Shape, construct: Construct) -> None:
    task = _make_task(config, construct)
    in_dtype = config["data"].get("in_dtype", "float32")
    if task.is_of_steps != (in_dtype == "int64"):
        legal = "task=language_model" if in_dtype == "int64" else "data=ptb, data=ptb_char"
        what = "each token, as of language models" if task.is_of_steps else "each example"
        raise ConfigError(
            f"task: {type(task).__name__} has a target for {what}, which data of "
            f"data.in_dtype={in_dtype} has not; legal with it: {legal}"
        )
    with quiet():  # torchmetrics warns of made-up examples that it has so few
        task.rehearse()


def _make_task(config: Config, construct: Construct) -> Task:
    with quiet():  # some metrics warn that they keep all outputs
        task = construct(config["task"], "task", num_outputs=config["data"]["num_outputs"])
    if not isinstance(task, Task):
        raise ConfigError(f"task._target_ must name a Task, got {type(task)}")
    return task


def _check_trainer(config: Config, in_shape: Shape, construct: Construct) -> None:
    trainer = config["trainer"]
    check_keep(trainer["checkpoint"])
    patience, min_delta = trainer["stop_patience"], trainer["stop_min_delta"]
    if patience is not None and (isinstance(patience, bool) or not patience >= 0):
        raise ConfigError(f"trainer.stop_patience must be null or >= 0, got {patience!r}")
    if not min_delta >= 0:
        raise ConfigError(f"trainer.stop_min_delta must be >= 0, got {min_delta!r}")
    check_channels_last(trainer["channels_last"])
    check_interval(trainer["checkpoint_every_s"])
    check_scaling(trainer)
    check_epsilon(trainer["batch_norm_epsilon"])
    with quiet():  # Lightning says which devices it found
        check_ranks(
            trainer, config["data"].get("batch_size"), make_trainer(trainer, Path(), construct, [])
        )


def _check_data(config: Config, in_shape: Shape, construct: Construct) -> None:
    data = make_data(config["data"], construct)
    for name, expected in (("in_shape", in_shape), ("num_outputs", config["data"]["num_outputs"])):
        found = getattr(data, name, expected)
        if (tuple(found) if name == "in_shape" else found) != expected:
            raise DataError(f"data.{name} is {expected}, but the data module says {found}")
    if getattr(data, "needs_one_device", False):
        _check_one_device(config["trainer"], type(data).__name__, construct)
    data.prepare_data()
    data.setup("fit")


def _check_one_device(trainer: Config, name: str, construct: Construct) -> None:
    """Refuses several devices to a child whose batches cannot be divided among them."""
    with quiet():  # Lightning says which devices it found
        if not needs_ranks(trainer, lambda: make_trainer(trainer, Path(), construct, [])):
            return
    given = [f"trainer.{key}={trainer.get(key)}" for key in ("devices", "num_nodes", "strategy")]
    raise ConfigError(
        f"data: the streams of {name} cannot be divided among the devices of {' '.join(given)}; "
        "legal: trainer.devices=1 trainer.num_nodes=1 trainer.strategy=auto"
    )


_PARTS = {
    "task": _check_task,
    "optimizer": _check_optimizer,
    "scheduler": _check_scheduler,
    "trainer": _check_trainer,
    "data": _check_data,
}
"""How each part of a child's configuration is tried."""
