"""What stands in a space, as whoever asks, resolves or counts it sees it."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from nasrunner.core.decision import Address, Choose, Decision, OneOf, SearchSchedule, parts_of
from nasrunner.core.questions import Question


class Part(ABC):
    """A module with arguments, some of which may be open: the base of ``Space``."""

    is_transparent: ClassVar[bool] = False
    """A transparent module adds no segment of its own to the paths below it."""

    @classmethod
    @abstractmethod
    def name(cls) -> str:
        """Returns the module's name in the space language."""

    @abstractmethod
    def title(self) -> str:
        """Returns what a person reads as the module's name."""

    @abstractmethod
    def resolve(self, ask: Choose, at: Address) -> object:
        """Returns the same module with every decision asked, and replaced by its value."""

    @abstractmethod
    def questions(self, at: Address) -> Iterator[Question]:
        """Returns what ``resolve`` asks, in the same order."""

    @abstractmethod
    def decisions(self, at: Address) -> Iterator[Decision]:
        """Returns every decision there can be, active or not."""

    @abstractmethod
    def size(self) -> int:
        """Returns the exact number of architectures."""

    @abstractmethod
    def most_modules(self) -> int:
        """Returns at least as many modules as the largest architecture has."""

    @abstractmethod
    def at_proposal(self, index: int) -> "Part":
        """Returns the module as it stands for one proposal."""

    @abstractmethod
    def pruned(self, prune: Any) -> "Part":
        """Returns the frozen module with zeros in the place of its dead parts."""

    @abstractmethod
    def schedules(self) -> Iterator[SearchSchedule]:
        """Returns every schedule in it."""

    @functools.cached_property
    def is_closed(self) -> bool:
        """Whether nothing can be asked in it."""
        return next(self.decisions(Address()), None) is None


def enter(space: Part, at: Address | None = None) -> Address:
    """Returns the address of a module that stands at ``at``: with its own name, unless
    transparent.
    """
    at = at or Address()
    return at if space.is_transparent else at / space.name()


def holds_parts(value: Any) -> bool:
    """Tells whether an argument holds a module or a decision, however deep."""
    if isinstance(value, Part | OneOf):
        return True
    return any(holds_parts(part) for _, part in parts_of(value))
