"""Tensors of a data set, made once a process and shared by data modules that differ in batching."""

import inspect
from collections.abc import Callable, Collection, Hashable
from typing import Any

import pytorch_lightning as pl
import torch

from nasrunner.core.errors import ConfigError

Identity = tuple[Hashable, ...]
"""What the tensors of a data set depend on."""

_KEPT: dict[Hashable, dict[str, Any]] = {}
"""The tensors of the last data set this process loaded, by what they depend on and stage."""


def identity_of(module: pl.LightningDataModule, batching: Collection[str]) -> Identity:
    """Returns the class of a data module and its arguments, but for those that only make batches.

    Raises:
        ConfigError: an argument is no attribute of the same name.
    """
    names = [name for name in inspect.signature(type(module)).parameters if name not in batching]
    if missing := [name for name in names if not hasattr(module, name)]:
        raise ConfigError(
            f"data: {type(module).__name__} must keep its argument {missing[0]!r} as an "
            "attribute of the same name"
        )
    return (type(module), *[(name, repr(getattr(module, name))) for name in names])


def cached(identity: Identity, stage: str, load: Callable[[], Any]) -> Any:
    """Returns what ``load`` returned for this data set and stage; forgets any other data set
    first.
    """
    for other in set(_KEPT) - {identity}:
        del _KEPT[other]
    stages = _KEPT.setdefault(identity, {})
    if stage not in stages:
        stages[stage] = load()
    return stages[stage]


def device_of(module: pl.LightningDataModule) -> torch.device:
    """Returns the device of a data module's trainer; the CPU where it has none."""
    if module.trainer is None:
        return torch.device("cpu")
    return module.trainer.strategy.root_device
