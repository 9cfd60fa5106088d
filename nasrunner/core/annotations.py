"""Checks values from a configuration against the annotations of what takes them."""

import dataclasses
import enum
import inspect
import math
import os
import pkgutil
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Within:
    """The range of an annotated number: ``Annotated[float, Within("[0, 1)")]``.

    Attributes:
        interval: as mathematicians write it, ``inf`` for an open end.
    """

    interval: str

    def __contains__(self, value: float) -> bool:
        low, high = map(float, self.interval[1:-1].split(","))
        is_above = value > low or (value == low and self.interval[0] == "[")
        is_below = value < high or (value == high and self.interval[-1] == "]")
        return is_above and is_below

    def __str__(self) -> str:
        low, high = (end.strip() for end in self.interval[1:-1].split(","))
        if high != "inf":
            return f"in {self.interval}"
        return "" if low == "-inf" else f"{'>=' if self.interval[0] == '[' else '>'} {low}"


def AtLeast(least: float) -> Within:
    """Returns the range of finite numbers >= ``least``."""
    return Within(f"[{least}, inf)")


def Above(low: float) -> Within:
    """Returns the range of finite numbers > ``low``."""
    return Within(f"({low}, inf)")


FINITE = Within("(-inf, inf)")
"""The range of all finite numbers."""

Seed = Annotated[int, Within("[0, 4294967295]")]
"""A seed of random draws: 32 bits, as Lightning takes them."""

Count = Annotated[int, AtLeast(1)]
"""A number of things of which there is at least one."""


def check_values(target: Callable[..., Any], given: Mapping[str, Any]) -> tuple[str, str] | None:
    """Finds the first argument that is not what the target's annotations ask for.

    Args:
        target: a class or function; what it does not annotate may be anything.
        given: arguments from a configuration, by name; those that describe objects with
            ``_target_`` are let through.

    Returns:
        the argument's name, and what it must be; None where all are right.
    """
    annotated = annotations_of(target)
    for name, value in given.items():
        annotation, default = annotated.get(name, (Any, None))
        if value == default and type(value) is type(default):
            continue  # also where the annotation leaves its own default out
        if not describes_objects(value) and not fits_configured(value, annotation):
            return name, f"must be {readable(annotation)}, got {value!r}"
    return None


def annotations_of(target: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the annotation and the default value of each argument that can be known, by its
    name.
    """
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    found = {}
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        names = getattr(inspect.unwrap(function), "__globals__", {})
        try:
            hints = typing.get_type_hints(holder, globalns=names, include_extras=True)
        except Exception:  # a name that its module imports for type checkers only
            continue
        is_named = name in parameters and parameters[name].kind not in (
            inspect.Parameter.VAR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
        )
        if is_named:
            found[name] = (hints[name], parameters[name].default)
    return found


def takes_fields_of(options: type, *, alone: bool = False) -> Callable[[Function], Function]:
    """Makes known to whoever reads a function's signature that it takes a dataclass's fields.

    Args:
        options: the dataclass; its fields are given among the function's ``**`` arguments.
        alone: whether they are the only ones there.
    """

    def marked(function: Function) -> Function:
        known = inspect.signature(function)
        *named, others = known.parameters.values()
        given = [
            inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=each.default if each.default is not dataclasses.MISSING else others.empty,
                annotation=each.type,
            )
            for each in dataclasses.fields(options)
        ]
        rest = [] if alone else [others]
        signature = known.replace(parameters=[*named, *given, *rest])
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__annotations__ |= {each.name: each.annotation for each in given}
        return function

    return marked


def takes(config: Any, name: str) -> bool:
    """Tells whether the ``_target_`` of a configuration takes an argument of this name."""
    try:
        target = pkgutil.resolve_name(str(config["_target_"]))
        parameters = inspect.signature(target).parameters
    except Exception:  # told where the object is built
        return False
    legal = getattr(target, "legal_arguments", None)  # those of its ** arguments
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return name in parameters or (is_open and (legal is None or name in legal()))


def describes_objects(value: Any) -> bool:
    """Tells whether a value from a configuration describes an object, or holds one that does."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(describes_objects, value.values()))
    return isinstance(value, list | tuple) and any(map(describes_objects, value))


def fits_configured(value: object, annotation: Any) -> bool:
    """Like ``fits``, but accepts lists in place of tuples, as YAML has no tuples."""
    return fits(value, annotation) or fits(_tupled(value), annotation)


def _tupled(value: object) -> object:
    return tuple(map(_tupled, value)) if isinstance(value, list | tuple) else value


def fits(value: object, annotation: Any) -> bool:
    """Tells whether a value from a configuration is of an annotated type and in its range.

    A whole number is a float, a bool is no number, and nothing is NaN. What cannot be told by
    looking is let through.
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return True
    if origin is typing.Annotated:
        ranges = [extra for extra in inner[1:] if isinstance(extra, Within)]
        return fits(value, inner[0]) and all(value in one for one in ranges)  # type: ignore[operator]
    if origin is typing.Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if Ellipsis in inner:
            return all(fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(fits, value, inner))
    if annotation is float:
        is_whole = isinstance(value, int) and not isinstance(value, bool)  # of any size
        return is_whole or (isinstance(value, float) and not math.isnan(value))
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(origin, type):
        if issubclass(origin, Iterable) and not issubclass(origin, Mapping):
            if isinstance(value, list | tuple):
                return all(fits(item, inner[0]) for item in value)
            return isinstance(value, origin) and not isinstance(value, str)
        return isinstance(value, origin)
    if not isinstance(annotation, type):
        return True
    if isinstance(value, str) and issubclass(annotation, os.PathLike | enum.Enum):
        return True
    if getattr(annotation, "_is_protocol", False):
        return not isinstance(value, bool | int | float | str | list | tuple | Mapping | None)
    return isinstance(value, annotation)


def readable(annotation: Any) -> str:
    """Returns an annotated type as a person would write it: ``int >= 1``, ``one of same,
    valid``.
    """
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return " ".join([readable(inner[0]), *filter(None, map(str, inner[1:]))])
    if origin is typing.Literal:
        return ("one of " if len(inner) > 1 else "") + ", ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(readable, inner))
    if origin is tuple and Ellipsis not in inner:
        return f"[{', '.join(map(readable, inner))}]"
    if isinstance(origin, type) and issubclass(origin, Iterable):
        what = "mapping" if issubclass(origin, Mapping) else "list"
        item = inner[-1 if what == "mapping" else 0] if inner else Any
        return what if item is Any else f"{what} of {readable(item)}"
    if annotation is types.NoneType:
        return "null"
    if origin is Callable:
        return "a mapping with _target_"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
