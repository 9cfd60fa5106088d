"""An architecture with parts beside it: a space of which some decisions hold several options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nasrunner.core.decision import Address, Decision, Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.shapes import InShape, Shape
from nasrunner.core.space.keeping import Answers, Case, KeepsAll, Kept
from nasrunner.core.space.part import Part, enter
from nasrunner.core.space.space import Space

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Addition:
    """A part that an architecture does not have, where it could have it.

    Attributes:
        answers: the decision that adds it, and those that it asks itself.
    """

    answers: Answers

    @property
    def path(self) -> str:
        """The decision that adds it."""
        return self.answers[0][0]


@dataclass(frozen=True)
class Beside(Space):
    """Holds what an architecture has at a decision, and the parts that it could have there.

    Args:
        now: what it has.
        parts: what could be added.
        answers: that add each of them.
        follow: whether each of them takes the output of ``now``, and not what comes in.
    """

    now: Space
    parts: tuple[Space, ...]
    answers: tuple[Answers, ...]
    follow: tuple[bool, ...]

    @property
    def is_zero(self) -> bool:
        return False  # the parts have a gradient

    @property
    def takes_inputs(self) -> bool:
        return self.now.takes_inputs and all(part.takes_inputs for part in self.parts)

    def make(self, in_shape: InShape) -> tuple["nn.Module", Shape]:
        raise SpaceError(
            f"no part can be trained beside {self.answers[0][0][0]!r}: the operation around it "
            "builds what is in it in a way of its own"
        )


def beside(space: Space, parent: Genotype, parts: Sequence[Addition]) -> Space:
    """Resolves a space to an architecture with parts beside it, as ``Beside``.

    Args:
        space: of the architecture.
        parent: the architecture.
        parts: as of ``additions``.

    Raises:
        SpaceError: a part belongs to a decision that stands for no module.
    """
    by_path: dict[str, list[Answers]] = {}
    for each in parts:
        by_path.setdefault(each.path, []).append(each.answers)
    return with_others(space, parent, by_path, _beside)


def _beside(cases: Sequence[Case]) -> Beside:
    now, *others = (case.value for case in cases)
    beyond = [part.beyond(now) for part in others]
    parts = tuple(
        part if after is None else after for part, after in zip(others, beyond, strict=True)
    )
    follow = tuple(after is not None for after in beyond)
    return Beside(now, parts, tuple(case.answers for case in cases[1:]), follow, path=now.path)


def with_others(
    space: Space,
    parent: Genotype,
    parts: Mapping[str, Sequence[Answers]],
    choice: Callable[[Sequence[Case]], Part],
) -> Space:
    """Resolves a space as an architecture, but for the decisions that have parts.

    Args:
        space: of the architecture.
        parent: the architecture.
        parts: the answers that add each part, by decision.
        choice: makes the module that holds what the architecture has there, first, and the parts.

    Raises:
        SpaceError: a part belongs to a decision that stands for no module.
    """
    return space.resolve(_Growing(choice, parent, parts), enter(space, Address()))


class _Growing(KeepsAll):
    """Answers as an architecture does, and keeps decisions open for parts beside it.

    Args:
        choice: as of ``KeepsAll``.
        parent: the architecture.
        parts: the answers that add each part, by decision.
    """

    holds_all = False

    def __init__(
        self,
        choice: Callable[[Sequence[Case]], Part],
        parent: Genotype,
        parts: Mapping[str, Sequence[Answers]],
    ) -> None:
        super().__init__(choice)
        self.parent = parent
        self.parts = parts
        self._answers: Mapping[str, int] = parent

    def __call__(self, decision: Decision) -> Any:
        if decision.forced is None and decision.path in self.parts:
            return _KeptBeside(decision, self)
        return self._answers.get(decision.path, 0)

    def made(self, case: Case, make: Callable[[Any], Any]) -> Case:
        before = self._answers
        self._answers = {**before, **dict(case.answers)}
        try:
            return Case(case.answers, make(case.value))
        finally:
            self._answers = before


class _KeptBeside(Kept):
    """The answer to a decision that has parts: what there is first, then these."""

    __slots__ = ()

    def each(self, make: Callable[[int], Any]) -> list[Case]:
        keeping, path = self.keeping, self.decision.path
        assert isinstance(keeping, _Growing)
        answers = [((path, keeping.parent[path]),), *keeping.parts[path]]
        return [keeping.made(Case(each, each[0][1]), make) for each in answers]
