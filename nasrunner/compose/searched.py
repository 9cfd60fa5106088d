"""Decisions in a composed configuration: those of the child's become the space's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrunner.compose.overrides import check_place
from nasrunner.core.decision import parts_of
from nasrunner.core.errors import ConfigError
from nasrunner.core.language.leaves import leaf_of
from nasrunner.core.language.values import alternatives, flattened, parse_value
from nasrunner.core.search_space import CHILD_GROUPS

Place = tuple[Any, ...]
"""Names and numbers that lead from the root of a configuration to a value."""

_MARK = "\0searched"
"""Stands for the value of a key that is searched, to find what refers to it."""


def resolved(composed: DictConfig, wanted: Sequence[str] | None = None) -> dict[str, Any]:
    """Returns a composed configuration in plain values, with all that is searched in its space.

    A decision in ``data``, ``task``, ``optimizer``, ``scheduler`` or ``trainer`` moves to
    ``space.hyperparameters``, and its first option takes its place. A value of these that refers
    to something searched (``scheduler.T_max: ${trainer.max_epochs}``) becomes a hyperparameter
    that still refers to it: it is resolved when a child's settings are known.

    Args:
        composed: as Hydra composes it, unresolved.
        wanted: its top-level keys that are resolved; None: all.

    Raises:
        ConfigError: a decision, or a reference to one, stands where no child's value is, or a key
            is searched twice; names the key.
        SpaceError: a decision cannot be read.
        OmegaConfBaseException: a value is missing, or refers to nothing.
    """
    raw: Any = OmegaConf.to_container(composed)
    for key in raw:
        if key not in (*CHILD_GROUPS, "space"):
            for place, value in _nodes(raw[key], (key,)):
                check_place(_dotted(place), value)
    groups = [group for group in CHILD_GROUPS if group in raw]
    found = {place: value for group in groups for place, value in _leaves(raw, (group,))}
    hyperparameters = _given(raw)
    if twice := hyperparameters.keys() & set(map(_dotted, found)):
        key = min(twice)
        raise ConfigError(f"{key} is searched twice: there, and in space.hyperparameters.{key}")
    if not found and not hyperparameters:
        return _plain(composed, wanted or list(raw))
    hyperparameters |= {_dotted(place): value for place, value in found.items()}
    settings = _settings(raw, hyperparameters, [*(wanted or raw), *groups])
    for place in found:
        key = _dotted(place)
        _put(raw, place, next(alternatives(parse_value(settings[key], key))))
    raw["space"] = {"hyperparameters": {}, **_modules(raw["space"])}
    plain = _plain(OmegaConf.create(raw), wanted or list(raw))
    plain["space"]["hyperparameters"] = settings
    return plain


def _settings(
    raw: dict[str, Any], hyperparameters: Mapping[str, Any], tops: Sequence[str]
) -> dict[str, Any]:
    """The hyperparameters, resolved but for references to one another, and those that follow."""
    space = {"hyperparameters": dict(hyperparameters), **_modules(raw["space"])}
    marked: Any = OmegaConf.to_container(OmegaConf.create({**raw, "space": space}))
    for key in sorted(hyperparameters, key=lambda key: key.count(".")):
        _put(marked, tuple(key.split(".")), _MARK)
    tree = OmegaConf.create(marked)

    def depends(place: Place, text: str) -> bool:
        try:
            return _holds_mark(_at(tree, place))
        except OmegaConfBaseException:
            return any(key in text for key in hyperparameters)

    own: Place = ("space", "hyperparameters")
    for key in hyperparameters:
        for place, value in _nodes(marked["space"]["hyperparameters"][key], (*own, key)):
            if _refers(value):
                known = value if depends(place, value) else _unmarked(_at(tree, place))
                _put(marked, place, known)
    settings: dict[str, Any] = marked["space"]["hyperparameters"]
    for top in dict.fromkeys(tops):
        for place, value in _nodes(marked[top], (top,)):
            if place[:2] == own or not _refers(value) or not depends(place, value):
                continue
            if top not in CHILD_GROUPS:
                raise ConfigError(
                    f"{_dotted(place)} refers to {value}, which is searched and differs from child "
                    f"to child; only values in {', '.join(CHILD_GROUPS)} may"
                )
            settings[_dotted(place)] = value
    return settings


def _given(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that the space itself has; what is no mapping is told by its parser."""
    space = raw.get("space")
    given = space.get("hyperparameters") if isinstance(space, Mapping) else None
    return flattened(given, "space.hyperparameters") if isinstance(given, Mapping) else {}


def _modules(space: Any) -> dict[str, Any]:
    if isinstance(space, Mapping):
        return {name: value for name, value in space.items() if name != "hyperparameters"}
    return {space: None}


def _plain(config: DictConfig, wanted: Sequence[str]) -> dict[str, Any]:
    plain = {}
    for key in wanted:
        node = config[key]  # raises where it is missing
        if OmegaConf.is_config(node):
            node = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
        plain[key] = node
    return plain


def _nodes(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """A value and all in it, each with its place."""
    yield place, value
    for name, part in list(parts_of(value)):
        yield from _nodes(part, (*place, name))


def _leaves(raw: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, Any]]:
    """The decisions in a part of the child's configuration; none of those inside others."""
    inside: Place | None = None
    for at, value in _nodes(raw[place[0]], place):
        if inside is not None and at[: len(inside)] == inside:
            continue
        if leaf_of(value, _dotted(at)) is not None:
            inside = at
            yield at, value


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))


def _at(tree: Any, place: Place) -> Any:
    for name in place:
        tree = tree[name]
    return tree


def _put(tree: Any, place: Place, value: Any) -> None:
    """Sets a value where there is such a place; an unknown key is told by ``check_settings``."""
    for depth, name in enumerate(place, start=1):
        if isinstance(tree, list) and str(name).isdigit() and int(name) < len(tree):
            name = int(name)
        elif not isinstance(tree, dict) or name not in tree:
            return
        if depth == len(place):
            tree[name] = value
        tree = tree[name]


def _refers(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def _holds_mark(value: Any) -> bool:
    value = _unmarked(value)
    return any(isinstance(part, str) and _MARK in part for _, part in _nodes(value, ()))


def _unmarked(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
