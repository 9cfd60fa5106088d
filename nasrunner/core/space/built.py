"""What modules of a frozen space are built as: records of it, and who else may build them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nasrunner.core.shapes import InShape, Shape

if TYPE_CHECKING:
    from torch import nn

    from nasrunner.core.space.part import Part


@dataclass(frozen=True)
class Built:
    """A frozen module, and the layer that it was built as.

    Attributes:
        part: the module.
        in_shape, out_shape: what comes in and out, of one example.
        layer: the layer.
    """

    part: "Part"
    in_shape: InShape
    out_shape: Shape
    layer: "nn.Module"


Make = Callable[["Part", Any, Callable[[], tuple["nn.Module", Shape]]], tuple["nn.Module", Shape]]
"""Returns the layer of an operation, for inputs of a shape, and the shape that comes out.

The third argument makes it anew.
"""

_record: ContextVar[list[Built] | None] = ContextVar("_record", default=None)


@contextmanager
def recorded() -> Iterator[list[Built]]:
    """Records every operation that is built in the block, inner ones before those around them."""
    found: list[Built] = []
    token = _record.set(found)
    try:
        yield found
    finally:
        _record.reset(token)


_within: ContextVar[str] = ContextVar("_within", default="")


@contextmanager
def within(place: str) -> Iterator[None]:
    """Says which of the same parts of a module those are that are built in the block.

    Args:
        place: of a cell in a stack, for one, whose operations all stand at the same paths.
    """
    token = _within.set(f"{_within.get()}~{place}")
    try:
        yield
    finally:
        _within.reset(token)


def place_within() -> str:
    """Returns what was said of the place of what is being built; mostly empty."""
    return _within.get()


_make: ContextVar[Make | None] = ContextVar("_make", default=None)


@contextmanager
def made_by(make: Make) -> Iterator[None]:
    """Has every operation that is built in the block made by somebody else.

    What an operation builds for itself is a part of it, and made as ever.
    """
    token = _make.set(make)
    try:
        yield
    finally:
        _make.reset(token)


def made(
    part: "Part", in_shape: Any, make: Callable[[], tuple["nn.Module", Shape]]
) -> tuple["nn.Module", Shape]:
    """Returns an operation's layer, from whoever makes them.

    Args:
        part: it.
        in_shape: of one example.
        make: makes it anew.
    """
    if (of_others := _make.get()) is None:
        return make()
    token = _make.set(None)
    try:
        return of_others(part, in_shape, make)
    finally:
        _make.reset(token)


def note(part: "Part", in_shape: InShape, out_shape: Shape, layer: Any) -> None:
    """Adds an operation to the record, where there is one."""
    if (record := _record.get()) is not None:
        record.append(Built(part, in_shape, out_shape, layer))
