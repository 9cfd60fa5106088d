"""Checks values from a configuration against the annotations of what takes them."""

import types
import typing
from collections.abc import Sequence
from typing import Any


def fits(value: object, annotation: Any) -> bool:
    """Whether a value from a configuration is of an annotated type.

    A whole number is a float, a bool is no number. What cannot be told by looking is let through.
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return True
    if origin is typing.Literal:
        return value in inner
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if Ellipsis in inner:
            return all(fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(fits, value, inner))
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(origin, type):
        is_sequence = issubclass(origin, Sequence) and isinstance(value, list | tuple)
        return is_sequence or isinstance(value, origin)
    return not isinstance(annotation, type) or isinstance(value, annotation)


def readable(annotation: Any) -> str:
    """An annotated type as a person would write it: ``int``, ``one of same, valid``."""
    if typing.get_origin(annotation) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(annotation)))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(map(readable, typing.get_args(annotation)))
    if annotation is types.NoneType:
        return "null"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
