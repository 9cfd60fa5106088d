"""The arguments of a class of modules: their names, types, and which holds submodules."""

import dataclasses
import functools
import typing
from typing import Any

from nasrunner.core.space.part import Part


@functools.cache
def argument_names(module: type[Part]) -> tuple[str, ...]:
    """Returns the arguments of a module in the order of its signature, ``path`` left out."""
    found = dataclasses.fields(module)  # type: ignore[arg-type]  # subclasses are dataclasses
    return tuple(f.name for f in found if f.name != "path")


@functools.cache
def argument_types(module: type[Part]) -> dict[str, Any]:
    """Returns the annotated type of each argument, evaluated."""
    hints = typing.get_type_hints(module, include_extras=True)
    return {name: hints[name] for name in argument_names(module)}


def is_module_type(annotation: object) -> bool:
    """Tells whether an argument of this type is one submodule."""
    return isinstance(annotation, type) and issubclass(annotation, Part)


def is_modules_type(annotation: object) -> bool:
    """Tells whether an argument of this type is a list of submodules."""
    arguments = typing.get_args(annotation)
    return (
        typing.get_origin(annotation) is tuple
        and bool(arguments)
        and all(is_module_type(item) or item is Ellipsis for item in arguments)
    )


@functools.cache
def content_field(module: type[Part]) -> str | None:
    """Returns the argument that may be given without its name: the only one that holds
    submodules.
    """
    types = argument_types(module)
    holding = [n for n, t in types.items() if is_module_type(t) or is_modules_type(t)]
    return holding[0] if len(holding) == 1 else None
