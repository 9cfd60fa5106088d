"""Writes a frozen architecture in the space language: a found network is a YAML file again."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from nasrunner.core.errors import SpaceError
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import Space, content_field
from nasrunner.spaces.external import External
from nasrunner.spaces.language.parsing import MODULES

NUM_OUTPUTS = "${data.num_outputs}"

_PER_OUTPUT = {("affine", "units"), ("language_model", "vocabulary")}
"""Arguments of a network's last module that mean the data's outputs where they are as many."""

_END = {"concat": "modules", "named": "module", "share": "body"}
"""Where the last module of such a module is."""


def written(frozen: SearchSpace, num_outputs: int | None = None) -> dict[str, Any]:
    """What ``parse_space`` reads as this architecture, in plain dicts, lists and values.

    Args:
        frozen: an architecture with its training hyperparameters.
        num_outputs: what is written as ``${data.num_outputs}`` where the last layer or a vocabulary
            has as many, so that the network fits other data; None: every number stays.

    Raises:
        SpaceError: an argument of a user's own class is no plain value.
    """
    network = _written(frozen.network, num_outputs)
    found = {network: None} if isinstance(network, str) else network
    if frozen.hyperparameters:
        settings = {key: _plain(value, key) for key, value in frozen.hyperparameters}
        found = {"hyperparameters": settings, **found}
    return found


def _written(module: Space, num_outputs: int | None) -> Any:
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
        if (kind.name(), field.name) in _PER_OUTPUT and value == num_outputs:
            value = NUM_OUTPUTS
        at_end = num_outputs if field.name == _END.get(kind.name()) else None
        arguments[field.name] = _value(value, f"{kind.name()}.{field.name}", at_end)
    if MODULES.get(kind.name()) is not kind:
        return {"_target_": _dotted(kind), **arguments}
    if not arguments:
        return kind.name()
    content = content_field(kind) or ""
    if list(arguments) == [content] and isinstance(arguments[content], list):
        return {kind.name(): arguments[content]}
    return {kind.name(): arguments}


def _value(value: Any, where: str, num_outputs: int | None) -> Any:
    if isinstance(value, Space):
        return _written(value, num_outputs)
    if isinstance(value, tuple | list):
        last = len(value) - 1
        return [
            _value(item, where, num_outputs if place == last else None)
            for place, item in enumerate(value)
        ]
    return _plain(value, where)


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item, where) for name, item in value.items()}
    raise SpaceError(f"{where} cannot be written as YAML: {value!r} is no plain value")


def _dotted(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
