"""Reads values of the space language: plain ones, decisions, and values with decisions inside."""

import itertools
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nasrunner.core.annotations import fits, readable
from nasrunner.core.decision import OneOf, parts_of, with_parts
from nasrunner.core.errors import SpaceError
from nasrunner.core.language.leaves import decision_of, hint_of_decision, holds_leaf, leaf_of
from nasrunner.core.search_space import CHILD_GROUPS

_MOST_TRIED = 20


def parse_value(value: object, key: str, annotation: Any = Any) -> object:
    """Returns a value, a decision, or a list or mapping with decisions in some of its places.

    Args:
        value: plain dicts, lists and values.
        key: where it stands, for error messages.
        annotation: what it must be, and every option of a decision in its place.

    Raises:
        SpaceError: it is not of that type, or a decision cannot be read.
    """
    if not holds_leaf(value, key):
        return _checked(value, annotation, key)
    return _tupled(_opened(value, key, annotation), deeply=annotation is not Any)


def flattened(settings: Mapping[Any, Any], key: str, prefix: str = "") -> dict[str, Any]:
    """Returns hyperparameters by dotted keys, also those that are written ``{optimizer: {lr: …}}``.

    A mapping without a ``_target_`` is no part of a child's configuration, but the way to one; one
    below such a part is a value, unless a decision is in it.

    Args:
        settings: dotted keys, or mappings of them, with values and decisions.
        key: where they stand, for error messages.
        prefix: the dotted key that they are below, with a dot at its end.

    Raises:
        SpaceError: a key is written twice, or a decision is misspelt.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        is_group = not prefix and name in CHILD_GROUPS
        where = f"{key}.{prefix}{name}"
        is_part = leaf_of(value, where) is not None or not isinstance(value, Mapping)
        is_way = not is_part and "_target_" not in value
        if is_way and (is_group or (prefix and holds_leaf(value, where))):
            given = flattened(value, key, f"{prefix}{name}.")
        else:
            given = {f"{prefix}{name}": value}
        if twice := found.keys() & given:
            raise SpaceError(f"{key}: {min(twice)} is written twice")
        found |= given
    return found


def whole_numbers(value: object, key: str = "") -> object:
    """Returns a value with whole numbers for the floats 8.0, 64.0 that ``logspace`` has for them.

    Args:
        value: as of ``parse_value``.
        key: where it stands, where nothing but whole numbers is legal there; else decisions with
            other numbers stay as they are.

    Raises:
        SpaceError: there is a ``key``, and a decision with other numbers.
    """
    if not isinstance(value, OneOf):
        return with_parts(value, lambda place, part: whole_numbers(part, key and f"{key}.{place}"))
    if value.is_nested:
        options = (whole_numbers(option, key) for option in value.options)
        return replace(value, options=tuple(options))
    if not value.is_ordered or not any(isinstance(o, float) for o in value.options):
        return value
    other = next((option for option in value.options if not float(option).is_integer()), None)
    if other is None:
        return replace(value, options=tuple(map(int, value.options)))
    if key and math.isfinite(other):
        rounded = OneOf(tuple(dict.fromkeys(map(round, value.options)))).label
        raise SpaceError(f"{key} must be whole numbers, got {other!r}; rounded: {rounded}")
    return value


def alternatives(value: Any) -> Iterator[Any]:
    """Yields a value with the first option of every decision in it, then with each other option.

    Of a decision over more than twenty ordered numbers twenty are taken, both ends among them.
    """
    if isinstance(value, OneOf):
        for option in _spread(value):
            yield from alternatives(option)
        return
    parts = dict(parts_of(value))
    first = {place: next(alternatives(part)) for place, part in parts.items()}
    yield with_parts(value, lambda place, _: first[place])
    for changed, part in parts.items():
        for option in itertools.islice(alternatives(part), 1, None):
            yield with_parts(value, lambda at, _: option if at == changed else first[at])  # noqa: B023 - called here


def _spread(decision: OneOf) -> Sequence[Any]:
    options = decision.options
    if not decision.is_ordered or len(options) <= _MOST_TRIED:
        return options
    last = len(options) - 1
    return [options[place * last // (_MOST_TRIED - 1)] for place in range(_MOST_TRIED)]


def _opened(value: object, key: str, annotation: Any) -> object:
    leaf = leaf_of(value)
    if leaf is not None:
        return _parse_leaf(typing.cast(Mapping[str, Any], value), leaf, key, annotation)
    if not holds_leaf(value):
        _checked(value, annotation, key)
        return value
    inner = _types_of_parts(value, annotation)
    if inner is None:
        raise SpaceError(_misfit(value, key, annotation))
    types_of = dict(zip((place for place, _ in parts_of(value)), inner, strict=True))
    return with_parts(value, lambda at, part: _opened(part, f"{key}.{at}", types_of[at]))


def _parse_leaf(value: Mapping[str, Any], leaf: str, key: str, annotation: Any) -> OneOf:
    try:
        decision = decision_of(value, leaf)
        if fits(1, annotation) and not fits(0.5, annotation):
            decision = typing.cast(OneOf, whole_numbers(decision, f"{key}.{leaf}"))
        options = []
        for place, option in enumerate(decision.options):
            is_plain = not isinstance(option, Mapping | list | tuple)
            where = f"{key}.{leaf}" if is_plain else f"{key}.{leaf}.{place}"
            options.append(parse_value(option, where, annotation))
        return replace(decision, options=tuple(options))
    except ValueError as error:
        raise SpaceError(f"{key}.{leaf}: {error}, got {value[leaf]!r}") from error
    except SpaceError as error:
        raise error if str(error).startswith(key) else SpaceError(f"{key}: {error}") from error


def _types_of_parts(value: object, annotation: Any) -> Sequence[Any] | None:
    """The type of each part of a list or mapping; None: the annotation is of something else."""
    count = len(list(parts_of(value)))
    if annotation is Any:
        return [Any] * count
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    for one in typing.get_args(annotation) if is_union else (annotation,):
        origin, inner = typing.get_origin(one) or one, typing.get_args(one)
        if not isinstance(origin, type) or issubclass(origin, str):
            continue
        if isinstance(value, Mapping):
            if issubclass(origin, Mapping):
                return [inner[1] if inner else Any] * count
        elif issubclass(origin, tuple) and inner and Ellipsis not in inner:
            if len(inner) == count:
                return inner
        elif issubclass(origin, Sequence):
            return [inner[0] if inner else Any] * count
    return None


def _tupled(value: object, deeply: bool) -> object:
    if not isinstance(value, list | tuple):
        return value
    return tuple(_tupled(item, deeply) if deeply else item for item in value)


def _checked(value: object, annotation: Any, key: str) -> object:
    """The value with lists as tuples, where it is of the argument's type."""
    value = _tupled(value, deeply=annotation is not Any)
    if not fits(value, annotation):
        raise SpaceError(_misfit(value, key, annotation))
    return value


def _misfit(value: object, key: str, annotation: Any) -> str:
    return f"{key} must be {readable(annotation)}, got {value!r}{hint_of_decision(value)}"
