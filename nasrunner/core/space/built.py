"""Records what modules of a frozen space are built as, for who looks for them in a network."""

from collections.abc import Iterator
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


def note(part: "Part", in_shape: InShape, out_shape: Shape, layer: Any) -> None:
    """Adds an operation to the record, where there is one."""
    if (record := _record.get()) is not None:
        record.append(Built(part, in_shape, out_shape, layer))
