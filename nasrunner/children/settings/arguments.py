"""The arguments of Lightning's Trainer: which are legal, and which the fast loop may keep."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeGuard

import pytorch_lightning as pl
from pytorch_lightning.plugins import MixedPrecision, Precision
from pytorch_lightning.plugins.environments import ClusterEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from nasrunner.children.ranks import are_started_by_srun, environment
from nasrunner.children.settings.options import ChildOptions
from nasrunner.children.settings.ranges import check_ranges
from nasrunner.children.settings.searched import Construct
from nasrunner.core import ConfigError
from nasrunner.core.annotations import check_values, describes_objects
from nasrunner.core.errors import suggest
from nasrunner.core.language.leaves import hint_of_decision

OWN = tuple(each.name for each in fields(ChildOptions))
"""Arguments of the trainer's configuration that are not Lightning's."""

SAFE = frozenset(
    {
        "accelerator",
        "benchmark",
        "check_val_every_n_epoch",
        "deterministic",
        "devices",
        "enable_autolog_hparams",
        "enable_checkpointing",
        "enable_model_summary",
        "enable_progress_bar",
        "inference_mode",
        "limit_val_batches",
        "log_every_n_steps",
        "max_epochs",
        "max_time",
        "min_epochs",
        "num_sanity_val_steps",
        "precision",
    }
)
"""Arguments with which an epoch may be given to Lightning as one batch."""


@functools.cache
def lightning_defaults() -> dict[str, Any]:
    """Returns the arguments of Lightning's Trainer with their default values."""
    parameters = inspect.signature(pl.Trainer.__init__).parameters
    return {name: p.default for name, p in parameters.items() if name != "self"}


def check_names(arguments: Mapping[str, Any]) -> None:
    """Refuses an argument that is neither Lightning's nor ours, or is not of Lightning's type.

    Raises:
        ConfigError: names the argument, and all legal ones or the legal type.
    """
    _check_objects(arguments)
    legal = [*lightning_defaults(), *OWN]
    for name in arguments:
        if not name.startswith("_") and name not in legal:
            raise ConfigError(
                f"trainer.{name}: Lightning's Trainer takes no {name!r}, {suggest(name, legal)}"
            )
    for target, names in ((ChildOptions, OWN), (pl.Trainer, lightning_defaults())):
        checked = {n: v for n, v in arguments.items() if n in names}
        checked = {n: v for n, v in checked.items() if n not in _COLLECTIONS or not _is_named(v)}
        if wrong := check_values(target, checked):
            name, told = wrong
            raise ConfigError(f"trainer.{name} {told}{hint_of_decision(checked[name])}")
    check_ranges(arguments)


def _check_objects(arguments: Mapping[str, Any]) -> None:
    """Refuses names in the place of callbacks and loggers."""
    for name in _COLLECTIONS:
        given = arguments.get(name)
        if _is_named(given):
            parts = {f"{name}.{key}": v for key, v in given.items() if v is not None}
        else:
            parts = dict.fromkeys([name], given)
            if isinstance(given, list | tuple):
                parts = {f"{name}.{place}": value for place, value in enumerate(given)}
        for key, value in parts.items():
            if isinstance(value, str) or (key != name and not describes_objects(value)):
                raise ConfigError(
                    f"trainer.{key} must be a mapping with _target_, the dotted path of a class, "
                    f"got {value!r}"
                )


_COLLECTIONS = ("callbacks", "logger")
"""Arguments that may be objects in a list, or by names that others do not look at."""


def _is_named(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value maps names to objects, so that each can be overridden by its name."""
    return isinstance(value, Mapping) and "_target_" not in value


def make_trainer(
    config: Mapping[str, Any],
    folder: Path,
    construct: Construct,
    callbacks: Sequence[pl.Callback],
    *,
    first: Sequence[pl.Callback] = (),
) -> pl.Trainer:
    """Returns Lightning's Trainer for one child.

    Args:
        config: the ``trainer`` part of the child's configuration. Callbacks, loggers, plugins,
            strategies and profilers may be given with ``_target_``, callbacks and loggers by names
            too, as in Lightning's templates for Hydra; null leaves one out.
        folder: where Lightning keeps files, if it is told to write some.
        construct: builds what has a ``_target_``.
        callbacks: ours that come after those of ``config``.
        first: ours that come before them.

    Raises:
        ConfigError: an argument does not exist, or Lightning refuses its value.
    """
    check_names(config)
    given = {n: v for n, v in config.items() if not n.startswith("_") and n not in OWN}
    built = {n: _objects(v, f"trainer.{n}", construct) for n, v in given.items()}
    for name in _COLLECTIONS:
        if _is_named(built.get(name)):
            built[name] = [each for each in built[name].values() if each is not None]
    users = built.pop("callbacks", None) or []
    plugins = built.get("plugins") or []
    built["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins])]
    if not any(isinstance(each, ClusterEnvironment) for each in built["plugins"]):
        built["plugins"].append(environment())
    built["default_root_dir"] = built.get("default_root_dir") or folder
    users = users if isinstance(users, list) else [users]
    try:
        trainer = pl.Trainer(**built, callbacks=[*first, *users, *callbacks])
    except Exception as error:  # MisconfigurationException, ValueError, TypeError, RuntimeError, …
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error
    profiler: Any = trainer.profiler  # type: ignore[attr-defined]  # set in its __init__
    if config.get("profiler") is not None and profiler.dirpath is None:
        profiler.dirpath = folder  # else it is printed, and children print nothing
        profiler.filename = profiler.filename or "profile"
    return trainer


def has_users_callbacks(config: Mapping[str, Any]) -> bool:
    """Tells whether the ``trainer`` part of a child's configuration has callbacks."""
    given = config.get("callbacks")
    return any(each is not None for each in given.values()) if _is_named(given) else bool(given)


def remarks(config: Mapping[str, Any], trainer: pl.Trainer) -> list[str]:
    """Returns what Lightning trains with instead of what was asked for, in sentences.

    Args:
        config: the ``trainer`` part of the child's configuration.
        trainer: Lightning's Trainer of it.
    """
    asked, used = str(config.get("precision")), trainer.precision
    if asked in ("16", "16-mixed") and used != "16-mixed":
        device = trainer.strategy.root_device.type
        return [f"trainer.precision={asked} is not to be had on {device}: children use {used}"]
    return []


def needs_ranks(config: Mapping[str, Any], trainer: Callable[[], pl.Trainer]) -> bool:
    """Tells whether a child is trained by processes of its own, one for each device.

    Args:
        config: the ``trainer`` part of the child's configuration.
        trainer: makes Lightning's Trainer of it, where only that can tell.
    """
    given = {**lightning_defaults(), **config}
    if (given["devices"], given["num_nodes"], given["strategy"]) == (1, 1, "auto"):
        return False
    return not isinstance(trainer().strategy, SingleDeviceStrategy)


def check_ranks(config: Mapping[str, Any], batch_size: Any, trainer: pl.Trainer) -> None:
    """Refuses what several devices cannot train a child with.

    Args:
        config: the ``trainer`` part of the child's configuration.
        batch_size: ``data.batch_size``, where it is there.
        trainer: Lightning's Trainer of it.

    Raises:
        ConfigError: the strategy starts processes in another way, or a batch, the nodes or
            synchronized batch normalization do not go with the devices.
    """
    strategy, num_ranks = trainer.strategy, trainer.world_size
    if trainer.num_nodes > 1 and not are_started_by_srun():
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes} needs a job that starts processes on every "
            "node: executor=slurm; legal with any other executor: 1"
        )
    is_ddp = isinstance(strategy, DDPStrategy) and not isinstance(strategy, DeepSpeedStrategy)
    starts_commands = isinstance(strategy.launcher, _SubprocessScriptLauncher)
    if not isinstance(strategy, SingleDeviceStrategy) and not (is_ddp and starts_commands):
        raise ConfigError(
            f"trainer.strategy={config['strategy']} cannot train a child on several devices; "
            "legal: auto, ddp, ddp_find_unused_parameters_true"
        )
    is_divided = not config["batch_size_per_device"] and isinstance(batch_size, int)
    if is_divided and 1 <= batch_size < num_ranks:
        raise ConfigError(
            f"data.batch_size={batch_size} leaves some of the child's {num_ranks} devices without "
            f"an example in every step; legal: >= {num_ranks}, or "
            "trainer.batch_size_per_device=true"
        )
    if num_ranks > 1 and config.get("sync_batchnorm") and strategy.root_device.type == "cpu":
        raise ConfigError("trainer.sync_batchnorm=true needs GPUs; legal on CPUs: false")


def is_fast(config: Mapping[str, Any], trainer: pl.Trainer) -> bool:
    """Tells whether the fast loop takes exactly the steps that Lightning's own would.

    It does on one device, in full or bfloat16 precision, where no argument changes what happens
    between the batches of an epoch, and no callback of the user's looks there.
    """
    if config.get("max_time") is not None and config.get("min_epochs"):
        return False  # time that is up does not end an epoch before the least number of them
    unsafe = {n: v for n, v in lightning_defaults().items() if n not in SAFE} | {"logger": False}
    if any(n in config and config[n] not in (value, None) for n, value in unsafe.items()):
        return False
    precision = trainer.precision_plugin
    is_plain = type(precision) is Precision
    is_bfloat16 = type(precision) is MixedPrecision and precision.scaler is None
    return (
        bool(config["fast_loop"])
        and type(trainer.strategy) is SingleDeviceStrategy
        and (is_plain or is_bfloat16)
    )


def _objects(value: Any, key: str, construct: Construct) -> Any:
    """The value with every mapping that has a ``_target_`` replaced by what it describes."""
    if isinstance(value, Mapping) and "_target_" in value:
        return construct(value, key)
    if isinstance(value, list):
        return [_objects(item, f"{key}.{index}", construct) for index, item in enumerate(value)]
    if isinstance(value, Mapping) and describes_objects(value):
        return {name: _objects(item, f"{key}.{name}", construct) for name, item in value.items()}
    return value
