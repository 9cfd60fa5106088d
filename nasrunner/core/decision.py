"""Decisions: the open questions of a search space, where they stand, and their answers."""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    """

    path: str
    kind: str
    options: tuple[Any, ...]
    is_ordered: bool
    selection: Selection | None = None


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

    def decision(self, at: Address) -> Decision:
        return Decision(at.path, at.kind, self.options, self.is_ordered)


def genotype_hash(genotype: Mapping[str, int]) -> str:
    """Twelve hex digits that are equal exactly when two genotypes are, in any process."""
    text = json.dumps(sorted(genotype.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
