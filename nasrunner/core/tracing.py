"""Tracing: how a frozen network says which operations it applies to what, without being built."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from nasrunner.core.errors import SpaceError
from nasrunner.core.shapes import InShape, Shape


def largest_shape(shapes: Sequence[InShape]) -> Shape:
    """Returns the shape that all of these fit into when they are padded.

    Raises:
        SpaceError: they have different numbers of dimensions.
    """
    first = shapes[0]
    assert isinstance(first, tuple)
    if all(shape == first for shape in shapes):
        return first
    try:
        return tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    except ValueError:
        raise SpaceError(
            f"shapes {[*shapes]} cannot be merged: flatten or pool them first"
        ) from None


def stacked_shape(shapes: Sequence[InShape]) -> Shape:
    """Returns the shape of what is stacked in depth, padded to the largest in the other dimensions.

    Raises:
        SpaceError: as of ``largest_shape``.
    """
    _, *sizes = largest_shape(shapes)
    return (sum(shape[0] for shape in shapes if isinstance(shape, tuple)), *sizes)


V = TypeVar("V")
"""What stands for a tensor while a network is traced."""


class Traceable(Protocol):
    """What can be traced: a frozen ``Space``."""

    is_function: ClassVar[bool]
    is_transparent: ClassVar[bool]

    @classmethod
    def is_one_operation(cls) -> bool:
        """As of ``Space``."""

    def trace(self, tracer: "Tracer[V]", x: V) -> V:
        """As of ``Space``."""

    def stands_for(self, tracer: "Tracer[Any]") -> "Traceable | None":
        """As of ``Space``."""

    def title(self) -> str:
        """As of ``Space``."""

    def text(self) -> str:
        """As of ``Space``."""

    def shown_arguments(self) -> Iterator[tuple[str, Any]]:
        """As of ``Space``."""


class Tracer(ABC, Generic[V]):
    """Follows what a frozen network does with its input, one operation after the other.

    ``Space.trace`` of a module calls these methods, as its network's ``forward`` would compute. A
    tracer says what a value is: the node of a graph, or what is known of the paths that lead there.

    Args:
        labels: what each label stands for around what is traced; None: there are none.

    Attributes:
        labels: what each stands for where tracing is now.
        used: the modules that labels from outside what is traced stood for in it.
    """

    def __init__(self, labels: Mapping[str, "Traceable"] | None = None) -> None:
        self.labels: Mapping[str, Traceable] = labels or {}
        self.used: dict[str, Traceable] = {}

    def run(self, part: "Traceable", x: V) -> V:
        """Returns what comes out of a part of the network."""
        return self.apply(part, x) if part.is_one_operation() else part.trace(self, x)

    def repeat(self, part: "Traceable", times: int, x: V) -> V:
        """Returns what comes out of a part that is applied several times in series."""
        for _ in range(times):
            x = self.run(part, x)
        return x

    def sharing(self, label: str, module: "Traceable", body: "Traceable", x: V) -> V:
        """Returns what comes out of a part in which a label stands for a module."""
        before, used = self.labels, self.used.get(label)
        self.labels = {**before, label: module}
        out = self.run(body, x)
        self.labels = before
        self.used.pop(label, None)
        if used is not None:  # what the same label stands for around this part
            self.used[label] = used
        return out

    def meaning(self, label: str) -> "Traceable":
        """Returns the module that a label stands for."""
        self.used[label] = module = self.labels[label]
        return module

    def original(self, part: "Traceable") -> "Traceable":
        """Returns the part that is in the place of one that only stands for another."""
        while (other := part.stands_for(self)) is not None:
            part = other
        return part

    @abstractmethod
    def apply(self, part: "Traceable", x: V) -> V:
        """Returns what a module makes of a value, as one operation."""

    @abstractmethod
    def zero(self, x: V) -> V:
        """Returns zeros in the shape of a value."""

    @abstractmethod
    def pick(self, x: V, label: str) -> V:
        """Returns one of several inputs by name."""

    @abstractmethod
    def add(self, values: Sequence[V]) -> V:
        """Returns the sum of at least one value, smaller ones padded with zeros."""

    @abstractmethod
    def multiply(self, values: Sequence[V]) -> V:
        """Returns the product of at least one value, smaller ones padded with ones."""

    @abstractmethod
    def concatenate(self, values: Sequence[V]) -> V:
        """Returns at least one value stacked in depth, smaller ones padded with zeros elsewhere."""

    @abstractmethod
    def shape_of(self, value: V) -> InShape:
        """Returns the shape of one example of it."""
