"""Training hyperparameters that a space searches: dotted keys of the child's configuration."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nasrunner.core import ConfigError, OneOf
from nasrunner.core.errors import suggest

Config = dict[str, Any]
"""What a child is trained with: data, task, optimizer, scheduler and trainer, in plain values."""

Construct = Callable[..., Any]
"""Builds an object from its configuration: (config, key, *arguments, **arguments)."""


def applied(config: Config, settings: Iterable[tuple[str, Any]]) -> Config:
    """A copy of the configuration with each dotted key set to its value, one after the other.

    A value that is a mapping replaces all below its key: ``optimizer`` to another optimizer.

    Raises:
        ConfigError: a key does not lead to a value of the configuration.
    """
    result = copy.deepcopy(config)
    for key, value in settings:
        *parents, name = key.split(".")
        node: Any = result
        for parent in parents:
            node = _entry(node, parent, result, key)
        if isinstance(node, list):
            _entry(node, name, result, key)
            node[int(name)] = plain(value)
        elif isinstance(node, dict):
            node[name] = plain(value)
        else:
            raise _unknown(key, result)
    return result


def check_settings(
    config: Config, settings: Iterable[tuple[str, Any]], where: str = "space.hyperparameters"
) -> None:
    """Refuses a hyperparameter whose key the child's configuration does not have.

    Args:
        config: the child's configuration.
        settings: (dotted key, ``OneOf`` or its value), in the order they are applied.
        where: what gave them, for error messages.

    Raises:
        ConfigError: names the key and the nearest one that exists.
    """
    for key, value in settings:
        if key not in keys_of(config):
            raise _unknown(key, config, where)
        first = value.options[0] if isinstance(value, OneOf) else value
        config = applied(config, [(key, first)])


def variants(config: Config, settings: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Config]]:
    """The configuration with each option of each hyperparameter, and ``key=option``.

    All other hyperparameters have their first option, so a setting below one that replaces its
    parent is applied to what it was written for.
    """
    settings = tuple(settings)
    first = [(k, v.options[0] if isinstance(v, OneOf) else v) for k, v in settings]
    yield "", applied(config, first)
    for place, (key, value) in enumerate(settings):
        for option in value.options[1:] if isinstance(value, OneOf) else ():
            changed = [*first[:place], (key, option), *first[place + 1 :]]
            yield f"{key}={option}", applied(config, changed)


def keys_of(config: Any, prefix: str = "") -> set[str]:
    """Every dotted key of a configuration, also those of whole subtrees."""
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(config, Mapping):
        entries = config.items()
    elif isinstance(config, list):
        entries = enumerate(config)
    keys = set()
    for name, value in entries:
        keys |= {f"{prefix}{name}"} | keys_of(value, f"{prefix}{name}.")
    return keys


def _entry(node: Any, name: str, config: Config, key: str) -> Any:
    try:
        return node[int(name)] if isinstance(node, list) else node[name]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise _unknown(key, config) from error


def _unknown(key: str, config: Config, where: str = "space.hyperparameters") -> ConfigError:
    legal = {k for k in keys_of(config) if not k.rpartition(".")[2].startswith("_")}
    return ConfigError(f"{where}: the child's configuration has no {key!r}, {suggest(key, legal)}")


def plain(value: Any) -> Any:
    """A value of its own, with the tuples that the space language makes turned back into lists."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
