"""Changes of a configuration that was saved: overrides as for Hydra, against what it holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf

from nasrunner.compose import config as skeleton
from nasrunner.core.errors import ConfigError, suggest


def parse_overrides(overrides: Sequence[str]) -> tuple[list[Override], list[Override]]:
    """Changes of the configuration, and apart from them where else options of groups may lie."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    paths = [each for each in parsed if each.key_or_group == "hydra.searchpath"]
    return [each for each in parsed if each not in paths], paths


def check_kind(override: Override) -> None:
    """Refuses what changes no single configuration: sweeps, and removing or forcing a key.

    Raises:
        ConfigError: names the override.
    """
    if override.type in (OverrideType.DEL, OverrideType.FORCE_ADD) or override.is_sweep_override():
        raise ConfigError(f"{override.input_line}: legal are key=value and +key=value")


def exchanged_groups(overrides: Sequence[Override]) -> set[str]:
    """Returns the keys that changes replace as a whole; ``+tracker@tracker.trackers.x=csv`` adds
    only.
    """
    return {each.key_or_group for each in overrides if each.package is None}


def override_config(
    config: Any,
    overrides: Sequence[Override],
    paths: Sequence[Override],
    groups: Sequence[str],
) -> dict[str, Any]:
    """Returns a configuration with changes, resolved.

    A group's option (``scheduler=cosine``) is read from ``conf/`` and may refer to other values of
    the configuration. Groups are changed first, wherever they stand.

    Args:
        config: the configuration, as OmegaConf has it.
        overrides: the changes.
        paths: overrides that say where else options may lie.
        groups: the groups of which another option may be taken.

    Raises:
        ConfigError: a key does not exist.
        HydraException: an override or an option of a group cannot be read.
    """
    for override in sorted(overrides, key=lambda each: _order(each, groups)):
        key = override.key_or_group
        value = override.value()
        if key in groups:
            value = option(key, value, paths)
            key = _place_in_group(override)
        elif override.type is OverrideType.CHANGE:
            _check_exists(config, key)
        OmegaConf.update(config, key, value, merge=False, force_add=True)
    raw: Any = OmegaConf.to_container(config)
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    space = {"space": raw["space"]} if "space" in raw else {}  # it refers to children's values
    return {str(key): value for key, value in resolved.items()} | space


def option(group: str, name: object, paths: Sequence[Override], primary: str = "config") -> Any:
    """Returns an option of a group as it stands in ``conf/``, with what it refers to left open.

    Args:
        group: the group.
        name: the option.
        paths: overrides that say where else options may lie.
        primary: the primary configuration that the group belongs to.

    Raises:
        HydraException: there is no such option.
    """
    skeleton.register()
    lines = [f"{group}={name}", *(str(each.input_line) for each in paths)]
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        return compose(primary, overrides=lines)._get_node(group)


def _order(override: Override, groups: Sequence[str]) -> int:
    """Groups are exchanged first, then options are put into them, then keys are changed."""
    if override.key_or_group not in groups:
        return 2
    return 0 if override.package is None else 1


def _place_in_group(override: Override) -> str:
    """Where an option goes: it is the group, or what Hydra calls its package is in the group.

    Raises:
        ConfigError: it is elsewhere.
    """
    group, package = override.key_or_group, override.package
    if package is not None and not f"{package}.".startswith(f"{group}."):
        raise ConfigError(f"{override.input_line}: legal are {group}=option and +{group}@{group}.…")
    return str(package or group)


def _check_exists(tree: Any, key: str) -> None:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent) if parent else tree
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"there is no key {key!r}: {parent} holds no keys in this study")
    if name not in list(node):  # one that is ??? is no member for OmegaConf
        raise ConfigError(f"there is no key {key!r}, {suggest(name, keys_of(node))}")


def keys_of(node: Mapping[Any, Any]) -> list[str]:
    """Returns the keys of a node that a user may give."""
    return [str(each) for each in node if not str(each).startswith("_")]
