"""Cheaper trainings: numbers of the child's configuration that a proposal changes."""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from nasrunner.children.settings.ranges import check_ranges
from nasrunner.children.settings.searched import Config, applied
from nasrunner.core import ConfigError
from nasrunner.core.errors import suggest

_SAME_FOR_ALL = ("trainer.devices", "trainer.num_nodes", "data.in_shape", "data.num_outputs")
"""What workers, jobs and networks are made for."""


def reduced(config: Config, fidelity: Mapping[str, float]) -> Config:
    """The configuration with the numbers of a fidelity in the place of its own.

    It is a copy, made before the hyperparameters that a space searches; integers stay integers.

    Args:
        config: the child's configuration.
        fidelity: dotted keys of it -> numbers, see ``check_fidelity``.
    """
    if not fidelity:
        return config
    values = dict(_entries(config))
    whole = {key: isinstance(values[key], int) for key in fidelity}
    return applied(config, [(k, int(v) if whole[k] else v) for k, v in fidelity.items()])


def effective(config: Config, fidelity: Mapping[str, float]) -> dict[str, float]:
    """What of a fidelity changes the configuration, integers as integers.

    Args:
        config: the child's configuration.
        fidelity: as of ``reduced``.
    """
    values = dict(_entries(config))
    return {
        key: int(number) if isinstance(values[key], int) else float(number)
        for key, number in fidelity.items()
        if number != values[key]
    }


def check_fidelity(
    config: Config, fidelity: Mapping[str, float], searched: Collection[str]
) -> None:
    """Refuses a fidelity that cannot be trained at.

    Args:
        config: the child's configuration, before any hyperparameters.
        fidelity: dotted keys of it -> numbers.
        searched: the keys that the space searches.

    Raises:
        ConfigError: names the key and what is legal.
    """
    values = dict(_entries(config))
    numbers = {key for key, value in values.items() if _is_number(value)}
    legal = {key for key in numbers if not _is_below(key, (*_SAME_FOR_ALL, *searched))}
    for key, number in fidelity.items():
        told = suggest(key, legal)
        if key not in values:
            raise ConfigError(f"fidelity: the child's configuration has no {key!r}, {told}")
        if key not in numbers:
            raise ConfigError(f"fidelity: {key} is {values[key]!r} and no number, {told}")
        if key not in legal:
            why = "is searched" if _is_below(key, searched) else "must be the same for all children"
            raise ConfigError(f"fidelity: {key} {why}, {told}")
        if not _is_number(number) or not math.isfinite(number):
            raise ConfigError(f"fidelity: {key} must be a number, got {number!r}")
        if isinstance(values[key], int) and number != int(number):
            raise ConfigError(f"fidelity: {key} must be a whole number, got {number!r}")
    if fidelity:
        check_ranges(reduced(config, fidelity)["trainer"])


def _entries(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key below a part of a configuration, and what stands there."""
    parts = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in parts:
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping | list):
            yield from _entries(value, f"{prefix}{name}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_below(key: str, others: Collection[str]) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in others)
