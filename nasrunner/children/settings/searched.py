"""Training hyperparameters that a space searches: dotted keys of the child's configuration."""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from nasrunner.core import ConfigError
from nasrunner.core.annotations import takes
from nasrunner.core.decision import is_open, parts_of
from nasrunner.core.errors import suggest
from nasrunner.core.language.values import alternatives

Config = dict[str, Any]
"""What a child is trained with: data, task, optimizer, scheduler and trainer, in plain values."""

Construct = Callable[..., Any]
"""Builds an object from its configuration: (config, key, *arguments, **arguments)."""


def check_not_searched(settings: Iterable[tuple[str, Any]]) -> None:
    """Refuses searched settings of a supernet's training.

    Args:
        settings: (dotted key, value with decisions in it) pairs.

    Raises:
        ConfigError: names those that are searched.
    """
    searched = [key for key, value in settings if is_open(value)]
    if searched:
        raise ConfigError(
            f"space.hyperparameters: {', '.join(searched)} are searched, and a supernet is "
            "trained with one value of each; legal: values in their place"
        )


def applied(config: Config, settings: Iterable[tuple[str, Any]]) -> Config:
    """Returns a copy of the configuration with each dotted key set to its value, in whatever order.

    A value that is a mapping replaces all below its key: ``optimizer`` to another optimizer. What
    is set below it, ``optimizer.lr``, is set after it. Where a value refers to other keys
    (``${trainer.max_epochs}``), it has theirs when all are set.

    Raises:
        ConfigError: a key does not lead to a value of the configuration, or a reference does not.
    """
    result = copy.deepcopy(config)
    settings = sorted(settings, key=lambda setting: setting[0].count("."))
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
    return _resolved(result) if any(_refers(value) for _, value in settings) else result


def check_settings(
    config: Config, settings: Iterable[tuple[str, Any]], where: str = "space.hyperparameters"
) -> None:
    """Refuses a hyperparameter whose key the child's configuration does not have.

    Args:
        config: the child's configuration.
        settings: (dotted key, value, or one with decisions in it), in the order they are applied.
        where: what gave them, for error messages.

    Raises:
        ConfigError: names the key and the nearest one that exists.
    """
    for key, value in sorted(settings, key=lambda setting: setting[0].count(".")):
        if key not in keys_of(config):
            raise _unknown(key, config, where)
        config = applied(config, [(key, next(alternatives(value)))])


def variants(config: Config, settings: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Config]]:
    """Yields the configuration with each option of each hyperparameter, and ``key=option``.

    All other decisions have their first option, so a setting below one that replaces its parent is
    applied to what it was written for. Of more than twenty ordered numbers twenty are tried, the
    first and the last among them.
    """
    settings = tuple(settings)
    first = [(key, next(alternatives(value))) for key, value in settings]
    yield "", applied(config, first)
    for place, (key, value) in enumerate(settings):
        for option in itertools.islice(alternatives(value), 1, None):
            changed = [*first[:place], (key, option), *first[place + 1 :]]
            yield f"{key}={option}", applied(config, changed)


def _refers(value: Any) -> bool:
    if isinstance(value, str):
        return "${" in value
    return any(_refers(part) for _, part in parts_of(value))


def _resolved(config: Config) -> Config:
    from omegaconf import OmegaConf  # where nothing refers to anything, nothing needs it
    from omegaconf.errors import OmegaConfBaseException

    try:
        found = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    except OmegaConfBaseException as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"space.hyperparameters: {reason}") from error
    assert isinstance(found, dict)
    return {str(group): part for group, part in found.items()}


def keys_of(config: Any, prefix: str = "") -> set[str]:
    """Returns every dotted key of a configuration, also those of whole subtrees."""
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
    group, _, name = key.partition(".")
    if takes(config.get(group), name):
        return ConfigError(
            f"{where}: the child's configuration has no {key!r} yet: +{key}=… adds one for it"
        )
    legal = {k for k in keys_of(config) if not k.rpartition(".")[2].startswith("_")}
    return ConfigError(f"{where}: the child's configuration has no {key!r}, {suggest(key, legal)}")


def plain(value: Any) -> Any:
    """Returns a value of its own, with the tuples that the space language makes turned back into
    lists.
    """
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
