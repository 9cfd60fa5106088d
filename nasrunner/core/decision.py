"""Decisions: the open questions of a search space, where they stand, and their answers."""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nasrunner.core.errors import SpaceError

Genotype = dict[str, int]
"""The answers that make one architecture: decision path -> option index."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a decision selects: whether ``candidate`` is in the set that ``taker`` takes.

    Attributes:
        candidate: path of a part of the space.
        taker: the same.
    """

    candidate: str
    taker: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One open question of a space.

    Attributes:
        path: where it stands, unique in the space: ``2/optional/dropout/p``.
        kind: ``path`` with the position inside every ``repeat`` replaced by ``*``. Decisions of
            one kind ask the same question with the same options, so a policy can share weights.
        options: what may be answered; a genotype holds an index into it.
        is_ordered: the options are numbers in strictly increasing or decreasing order.
        selection: where the options are (False, True) and select one member of a set; None for
            any other decision.
        forced: the index that the space answers itself, without asking; None: it asks.
    """

    path: str
    kind: str
    options: tuple[Any, ...]
    is_ordered: bool
    selection: Selection | None = None
    forced: int | None = None


Choose = Callable[[Decision], int]
"""Answers a decision with an option index, ``0 <= index < len(decision.options)``."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a part of the space stands: its path, and the same path for decisions of its kind."""

    path: str = ""
    kind: str = ""

    def __truediv__(self, segment: str | int) -> "Address":
        return Address(
            f"{self.path}/{segment}" if self.path else str(segment),
            f"{self.kind}/{segment}" if self.kind else str(segment),
        )

    def repetition(self, position: int) -> "Address":
        """The address of one repetition; all repetitions share a kind."""
        return Address((self / position).path, (self / "*").kind)


def _are_ordered(options: tuple[Any, ...]) -> bool:
    if any(isinstance(o, bool) or not isinstance(o, int | float) for o in options):
        return False
    steps = [after - before for before, after in itertools.pairwise(options)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


@dataclass(frozen=True)
class OneOf:
    """An open argument of a module: exactly one of ``options``, none of them twice.

    ``range``, ``linspace`` and ``logspace`` of the space language are this with numbers in order.

    Raises:
        SpaceError: ``options`` is empty or repeats a value.
    """

    options: tuple[Any, ...]
    is_ordered: bool = False

    def __post_init__(self) -> None:
        if not self.options:
            raise SpaceError("oneof needs at least one option, got []")
        seen: set[str] = set()
        for option in self.options:
            text = json.dumps(option, sort_keys=True, default=repr)
            if text in seen:
                raise SpaceError(f"oneof must not repeat an option, got {option!r} twice")
            seen.add(text)
        object.__setattr__(self, "is_ordered", _are_ordered(self.options))

    @property
    def values(self) -> tuple[Any, ...]:
        """The options that can still be chosen."""
        return self.options

    def decision(self, at: Address) -> Decision:
        return Decision(at.path, at.kind, self.options, self.is_ordered)


@dataclass(frozen=True)
class Schedule(OneOf):
    """An argument that changes in the course of a search, from option to option.

    The first ``every`` proposals of a search have the first option, as many after them the
    second, and so on; the last stays. No searcher is asked: see ``Space.at_proposal``. To all
    who look at proposals of any time it is an ordinary ordered decision.

    Args:
        options: whole numbers, each higher than the one before.
        every: proposals until the next option, >= 1.
        now: the index of the option that has its time; None: any time.

    Raises:
        SpaceError: the options do not rise, or ``every`` is less than 1.
    """

    every: int = field(kw_only=True)
    now: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.is_ordered or self.options[-1] < self.options[0]:
            raise SpaceError(f"a schedule must go up, got {list(self.options)}")
        if self.every < 1:
            raise SpaceError(f"every of a schedule must be >= 1 proposal, got {self.every}")

    @property
    def values(self) -> tuple[Any, ...]:
        return self.options if self.now is None else (self.options[self.now],)

    def stage(self, index: int) -> int:
        """The index of the option that proposal number ``index`` has."""
        return min(index // self.every, len(self.options) - 1)

    def decision(self, at: Address) -> Decision:
        return replace(super().decision(at), forced=self.now)


def options_of(value: Any) -> tuple[Any, ...]:
    """Every value that an argument of a module can have: its options, or just itself."""
    return value.options if isinstance(value, OneOf) else (value,)


def values_of(value: Any) -> tuple[Any, ...]:
    """Every value that an argument can still have, where a schedule has its time."""
    return value.values if isinstance(value, OneOf) else (value,)


def genotype_hash(genotype: Mapping[str, int]) -> str:
    """Twelve hex digits that are equal exactly when two genotypes are, in any process."""
    text = json.dumps(sorted(genotype.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
