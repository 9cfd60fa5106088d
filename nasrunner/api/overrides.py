"""What a caller gives in Python, as the overrides and the files that Hydra composes from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from omegaconf import OmegaConf
from omegaconf.base import Container

from nasrunner.compose.config import config_dir, quoted, search_path
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.language.leaves import leaf_of
from nasrunner.core.space import Space
from nasrunner.spaces.language.writing import written

_GIVEN = "own"
"""What an option is called that was given as YAML, a mapping or an object."""

_WHOLE = ("objectives", "scalarization", "start_with")
"""Mappings of the top level that are values, and not the way to one."""

_NOT_HERE = {
    "resume": "nasrunner.resume(folder) goes on with a study",
    "trust": "it is for studies of others",
    "hydra": "folder= says where the study goes",
}


def groups() -> list[str]:
    """Returns the groups of the configuration that a study has."""
    inside = [each.name for each in config_dir().iterdir() if each.is_dir()]
    return sorted(set(inside) - {"grid", "hydra", "local"})


def overrides_of(settings: Mapping[str, Any], own_dir: Path) -> Iterator[str]:
    """Yields what settings are on the command line of ``nasrunner``, in their order, options first.

    Args:
        settings: groups and top-level keys of the configuration, and dotted keys. A group is the
            name of an option, an option of one's own (a mapping with ``_target_``, any space as a
            mapping, YAML text, or a space object), or a mapping of keys to set in the usual one.
        own_dir: a folder, in which options of one's own are written.

    Raises:
        ConfigError: there is no such key, or a value is none that YAML could hold.
        SpaceError: a space cannot be written as YAML.
    """
    known, rest = groups(), {}
    for key, value in settings.items():
        top = key.split(".")[0]
        if top in _NOT_HERE:
            raise ConfigError(f"{key} is no argument of nasrunner.search: {_NOT_HERE[top]}")
        if key in known and _is_option(key, value):
            yield _chosen(key, value, own_dir)
        else:
            rest[key] = value
    if own_dir.is_dir() and any(own_dir.iterdir()):
        yield search_path(own_dir)
    for key, value in rest.items():
        is_inside = key.split(".")[0] in known
        for place, leaf in _leaves(key, value):
            # Inside a group the class says what it takes; a key of the top level is known.
            yield f"{'++' if is_inside else ''}{place}={hydra_value(place, leaf)}"


def _is_option(group: str, value: Any) -> bool:
    if isinstance(value, Mapping):
        return group == "space" or "_target_" in value or "defaults" in value
    return value is not None


def _chosen(group: str, value: Any, own_dir: Path) -> str:
    """The override that chooses an option, which is written first if it is one of the caller's."""
    if isinstance(value, Path):
        value = value.read_text(encoding="utf-8")
    if isinstance(value, str) and not any(mark in value for mark in "\n:{"):
        return f"{group}={value}"
    option = _option(group, value)
    place = own_dir / group / f"{_GIVEN}.yaml"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(yaml.safe_dump(option, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return f"{group}={_GIVEN}"


def _option(group: str, value: Any) -> dict[str, Any]:
    """An option in plain values.

    Raises:
        ConfigError: it is none.
        SpaceError: an argument in a space object cannot be written.
    """
    if isinstance(value, Space):
        if group != "space":
            raise ConfigError(f"{group} was given a space, {type(value).__name__}")
        return written(value)
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{group} is no YAML: {' '.join(str(error).split())}") from None
        if isinstance(value, str):  # a bare module, as space: lenet
            value = {value: None} if group == "space" else value
    if isinstance(value, Container):
        value = OmegaConf.to_container(value)
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{group} must be the name of an option, a mapping, YAML text or a path of a YAML "
            f"file{', or arrays (x, y)' if group == 'data' else ''}, got "
            f"{value if isinstance(value, int | float | str | list) else type(value).__name__}"
        )
    return {str(name): _plain(group, each) for name, each in value.items()}


def _plain(key: str, value: Any) -> Any:
    """A value as YAML has it: numpy's numbers and tuples become Python's numbers and lists."""
    if isinstance(value, Container):
        value = OmegaConf.to_container(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(f"{key}.{name}", each) for name, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(f"{key}.{place}", each) for place, each in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, type):
        if value.__module__ == "__main__" or "<locals>" in value.__qualname__:
            raise ConfigError(
                f"{key}: {value.__qualname__} is defined where no worker can import it; classes "
                "that a configuration names stand in a module, a file beside you"
            )
        return f"{value.__module__}.{value.__qualname__}"
    raise ConfigError(
        f"{key} must be a number, text, list or mapping, got an object of {type(value).__name__}; "
        "an object is written as a mapping with its class as _target_ and its arguments"
    )


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(Dotted key, value) of what a mapping of keys sets; a decision is one value."""
    is_value = not isinstance(value, Mapping) or "_target_" in value or key in _WHOLE
    if is_value or not value or leaf_of(value, key) is not None:
        yield key, value
        return
    for name, each in value.items():
        yield from _leaves(f"{key}.{name}", each)


def hydra_value(key: str, value: Any) -> str:
    """Returns a value as Hydra's command line takes it.

    Raises:
        ConfigError: it is none that YAML could hold.
    """
    return _text(key, _plain(key, value))


def _text(key: str, value: Any) -> str:
    """The text of a plain value."""
    match value:
        case Mapping():
            items = (f"{_name(key, name)}:{_text(key, each)}" for name, each in value.items())
            return f"{{{','.join(items)}}}"
        case list():
            return f"[{','.join(_text(key, each) for each in value)}]"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
    return quoted(value).replace("\\${", "${")


def _name(key: str, name: str) -> str:
    """A key of a mapping, which Hydra's grammar has no quotes for."""
    if not name or any(not (letter.isalnum() or letter in "_-./@+%$") for letter in name):
        raise ConfigError(f"{key}: {name!r} is no name; letters, digits and _-./ are legal")
    return name


def check_names(settings: Mapping[str, Any], legal: Sequence[str]) -> None:
    """Raises ConfigError where a setting begins with what is no key of the configuration."""
    for key in settings:
        if (top := key.split(".")[0]) not in (*legal, *_NOT_HERE):
            raise ConfigError(f"there is no key {top!r}, {suggest(top, legal)}")
