"""Writes a space in the space language: a found network, or one made in Python, is YAML."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from nasrunner.core.decision import OneOf, SearchSchedule
from nasrunner.core.errors import SpaceError
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import Space, content_field
from nasrunner.spaces.external import External
from nasrunner.spaces.language.parsing import MODULES

NUM_OUTPUTS = "${data.num_outputs}"

_PER_OUTPUT = {("affine", "units"), ("language_model", "vocabulary")}
"""Arguments of a network's last module that mean the data's outputs where they are as many."""

_END = {"concat": "modules", "named": "module", "share": "body", "or": "modules"}
"""Where the last module of such a module is; of ``or`` each option is."""

_SIDE = ("cell_stack", "auxiliary")
"""What ends in outputs like the network's own, wherever it stands."""


def written(space: Space, num_outputs: int | None = None) -> dict[str, Any]:
    """Writes a space, or an architecture, as ``parse_space`` reads it.

    Args:
        space: a module, or a whole space with its training hyperparameters.
        num_outputs: what is written as ``${data.num_outputs}`` where the last layer or a vocabulary
            has as many, or that of an auxiliary tower, so that the network fits other data; None:
            every number stays.

    Raises:
        SpaceError: an argument of a user's own class is no plain value.
    """
    root = space if isinstance(space, SearchSpace) else SearchSpace((), space)
    network = _written(root.network, num_outputs, is_end=True)
    found = {network: None} if isinstance(network, str) else network
    if root.hyperparameters:
        settings = {key: _plain(value, key) for key, value in root.hyperparameters}
        found = {"hyperparameters": settings, **found}
    return found


def _written(module: Space, num_outputs: int | None, *, is_end: bool) -> Any:
    kind = type(module)
    if isinstance(module, External):
        arguments = {name: _plain(value, name) for name, value in module.arguments}
        return {"_target_": _dotted(module.module), **arguments}
    arguments = {}
    for field in fields(module):
        value = getattr(module, field.name)
        is_default = field.default is not MISSING and value == field.default
        if field.name == "path" or is_default:
            continue
        place = kind.name(), field.name
        if place in _PER_OUTPUT and is_end and value == num_outputs:
            value = NUM_OUTPUTS
        ends = place == _SIDE or (is_end and field.name == _END.get(kind.name()))
        if ends and kind.name() == "or":
            arguments[field.name] = [_written(each, num_outputs, is_end=True) for each in value]
        else:
            arguments[field.name] = _value(value, ".".join(place), num_outputs, is_end=ends)
    if MODULES.get(kind.name()) is not kind:
        return {"_target_": _dotted(kind), **arguments}
    if not arguments:
        return kind.name()
    content = content_field(kind) or ""
    if list(arguments) == [content] and isinstance(arguments[content], list):
        return {kind.name(): arguments[content]}
    return {kind.name(): arguments}


def _value(value: Any, where: str, num_outputs: int | None, *, is_end: bool) -> Any:
    if isinstance(value, Space):
        return _written(value, num_outputs, is_end=is_end)
    if isinstance(value, tuple | list):
        last = len(value) - 1
        return [
            _value(item, where, num_outputs, is_end=is_end and place == last)
            for place, item in enumerate(value)
        ]
    if isinstance(value, OneOf):
        return _decision(value, lambda each: _value(each, where, num_outputs, is_end=is_end))
    return _plain(value, where)


def _decision(value: OneOf, write: Callable[[Any], Any]) -> dict[str, Any]:
    """A decision as the leaf that gives it; each list of numbers as ``oneof``."""
    if not isinstance(value, SearchSchedule):
        return {"oneof": [write(option) for option in value.options]}
    start, end = value.options[0], value.options[-1]
    step = value.options[1] - start if len(value.options) > 1 else 1
    return {"schedule": {"start": start, "step": step, "end": end, "every": value.every}}


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, OneOf):
        return _decision(value, lambda each: _plain(each, where))
    if isinstance(value, tuple | list):
        return [_plain(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item, where) for name, item in value.items()}
    raise SpaceError(f"{where} cannot be written as YAML: {value!r} is no plain value")


def _dotted(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
