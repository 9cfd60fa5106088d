"""Reads the space language: YAML that says what may be built, as a tree of modules.

A node is ``module_name: arguments``, a bare ``module_name``, or a mapping with ``_target_``. An
argument is a value, or one of the leaves of ``nasrunner.core.language.leaves``: ``oneof``,
``range``, … Leaves may stand inside a list, a mapping or an option, too.
"""

import importlib
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from torch import nn

import nasrunner.spaces as modules
from nasrunner.core.annotations import fits
from nasrunner.core.decision import readable_count
from nasrunner.core.errors import SpaceError, nearest, suggest
from nasrunner.core.language.leaves import leaf_of
from nasrunner.core.language.values import flattened, parse_value, whole_numbers
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import (
    Space,
    argument_types,
    content_field,
    is_module_type,
    is_modules_type,
)
from nasrunner.spaces.external import External
from nasrunner.spaces.share import check_sharing

MODULES: dict[str, type[Space]] = {
    value.name(): value
    for value in vars(modules).values()
    if isinstance(value, type) and issubclass(value, Space)
}
"""The modules of the language by name."""

_SETTINGS = "hyperparameters"

MAX_MODULES = 10_000
"""An architecture of more is refused before one is drawn: each module is an object."""


def parse_space(config: object, key: str = "space") -> SearchSpace:
    """Builds a space from its configuration in plain dicts, lists and values.

    Args:
        config: one module, beside an optional ``hyperparameters`` mapping.
        key: where ``config`` stands, for error messages.

    Raises:
        SpaceError: the configuration is no space; names the key, the value and what is legal.
    """
    hyperparameters: object = {}
    if isinstance(config, Mapping) and _SETTINGS in config:
        hyperparameters = config[_SETTINGS] or {}
        config = {name: value for name, value in config.items() if name != _SETTINGS}
    settings = parse_settings(hyperparameters, f"{key}.{_SETTINGS}")
    network = _parse_module(config, key)
    if (count := network.most_modules()) > MAX_MODULES:
        raise SpaceError(
            f"{key}: an architecture must have at most {MAX_MODULES:,} modules, repetitions and "
            f"skip connections counted, and can have {readable_count(count)}"
        )
    try:
        check_sharing(network)
    except SpaceError as error:
        raise SpaceError(f"{key}: {error}") from None
    return SearchSpace(settings, network)


def parse_settings(config: object, key: str) -> tuple[tuple[str, Any], ...]:
    """Returns training settings: (dotted key of the child's configuration, ``OneOf`` or value)
    pairs.

    Args:
        config: dotted keys with values or decisions.
        key: where ``config`` stands, for error messages.

    Raises:
        SpaceError: it is no mapping, or a decision cannot be read.
    """
    if not isinstance(config, Mapping):
        raise SpaceError(f"{key} maps configuration keys to values or decisions")
    given = flattened(config, key)
    return tuple((name, parse_value(value, f"{key}.{name}")) for name, value in given.items())


def _parse_module(node: object, key: str) -> Space:
    if isinstance(node, str):
        return _parse_named(node, None, key)
    if isinstance(node, Mapping) and "_target_" in node:
        return _parse_target(node, key)
    if isinstance(node, Mapping) and len(node) == 1:
        ((name, arguments),) = node.items()
        return _parse_named(str(name), arguments, key)
    legal = "a name, 'name: arguments' or a mapping with _target_"
    if isinstance(node, Mapping) and len(node) > 1:
        names = [str(name) for name in node]
        hints = [
            f"{name!r}: did you mean {_SETTINGS!r}?"
            for name in names
            if name not in MODULES and nearest(name, [_SETTINGS])
        ]
        got = f"{len(names)} keys: {', '.join(names)}"
        raise SpaceError("; ".join([f"{key} must be one module: {legal}, got {got}", *hints]))
    raise SpaceError(f"{key} must be one module: {legal}, got {node!r}")


def _parse_named(name: str, arguments: object, key: str) -> Space:
    if name not in MODULES:
        if "." in name:
            raise SpaceError(f"{key}: a class of your own or of torch is written _target_: {name}")
        raise SpaceError(f"{key}: there is no module {name!r}, {suggest(name, MODULES)}")
    return _parse_arguments(MODULES[name], arguments, f"{key}.{name}")


def _parse_target(node: Mapping[Any, Any], key: str) -> Space:
    target = locate(str(node["_target_"]), f"{key}._target_")
    arguments = {str(name): value for name, value in node.items() if name != "_target_"}
    if issubclass(target, Space):
        return _parse_arguments(target, arguments, key)
    if not issubclass(target, nn.Module):
        raise SpaceError(f"{key}._target_ must name an nn.Module or a Space, got {target}")
    _check_constructor(target, arguments, key)
    whole = _whole_arguments(target)
    values = {name: parse_value(value, f"{key}.{name}") for name, value in arguments.items()}
    values |= {name: whole_numbers(values[name], f"{key}.{name}") for name in whole & set(values)}
    return External(target, tuple(values.items()))


def _whole_arguments(target: type[nn.Module]) -> set[str]:
    """The arguments of a user's class that are annotated as whole numbers."""
    try:
        hints = typing.get_type_hints(target.__init__)
    except Exception:  # names that exist for type checkers only
        return set()
    return {name for name, hint in hints.items() if fits(1, hint) and not fits(0.5, hint)}


def _check_constructor(target: type[nn.Module], arguments: Mapping[str, Any], key: str) -> None:
    """Refuses arguments that a user's class does not take, and a call that lacks one."""
    parameters = inspect.signature(target).parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    legal = {p.name for p in named} - {"in_shape"}
    for name in arguments:
        if name not in legal and not takes_any:
            raise SpaceError(f"{key}: {target.__name__} takes no {name!r}, {suggest(name, legal)}")
    for parameter in named:
        if parameter.default is parameter.empty and parameter.name not in {*arguments, "in_shape"}:
            raise SpaceError(f"{key}: {target.__name__} needs {parameter.name!r}")


def locate(path: str, key: str) -> type:
    """Imports a class by its dotted path.

    Raises:
        SpaceError: there is no such class, or its module does not import.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise SpaceError(f"{key} must be a dotted path like my_package.MyModule, got {path!r}")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:
        reason = error if isinstance(error, Exception) else f"it ends the process ({error!r})"
        raise SpaceError(f"{key}: cannot import {path!r}: {reason}") from error
    if not isinstance(found, type):
        raise SpaceError(f"{key} must name a class, got {path!r}, which is {found!r}")
    return found


def _parse_arguments(module: type[Space], given: object, key: str) -> Space:
    types_of = argument_types(module)
    content = content_field(module)
    if given is None:
        given = {}
    is_by_name = isinstance(given, Mapping) and set(map(str, given)) <= set(types_of)
    if content is not None and not is_by_name and (len(types_of) == 1 or _is_node(given)):
        given = {content: given}
    is_value = not isinstance(given, Mapping) or leaf_of(given, key) is not None
    if module.unnamed and not is_by_name and is_value:
        given = {module.unnamed: given}
    if not isinstance(given, Mapping):
        raise SpaceError(
            f"{key} takes arguments by name, got {given!r}. Legal: {', '.join(types_of) or 'none'}"
        )
    arguments: dict[str, Any] = {}
    for name, value in given.items():
        if name not in types_of:
            raise SpaceError(f"{key}: {module.name()} takes no {name!r}, {suggest(name, types_of)}")
        where = key if name == content and not is_by_name else f"{key}.{name}"
        arguments[name] = _parse_argument(types_of[name], value, where)
    for field in fields(module):
        if field.name != "path" and field.default is MISSING and field.name not in arguments:
            raise SpaceError(f"{key}: {module.name()} needs {field.name!r}")
    try:
        return module(**arguments)
    except SpaceError as error:
        raise SpaceError(f"{key}: {error}") from error


def _is_node(value: object) -> bool:
    """Whether a value can only be meant as submodules, not as arguments by name."""
    if isinstance(value, str | Sequence):
        return True
    if not isinstance(value, Mapping):
        return False
    return "_target_" in value or (len(value) == 1 and next(iter(value)) in MODULES)


def _parse_argument(annotation: Any, value: object, key: str) -> object:
    if is_module_type(annotation):
        return _parse_module(value, key)
    if not is_modules_type(annotation):
        return parse_value(value, key, annotation)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SpaceError(f"{key} takes a list of modules, got {value!r}")
    arity = typing.get_args(annotation)
    if Ellipsis not in arity and len(value) != len(arity):
        raise SpaceError(f"{key} takes exactly {len(arity)} modules, got {len(value)}")
    return tuple(_parse_module(node, f"{key}.{index}") for index, node in enumerate(value))
