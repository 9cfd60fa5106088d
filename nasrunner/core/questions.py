"""A space as a program of its decisions: what a walk asks, without the parts that are fixed."""

from collections.abc import Callable, Iterable
from typing import Protocol

from nasrunner.core.decision import Choose, Decision, Genotype
from nasrunner.core.errors import SpaceError


class Question(Protocol):
    """A step of the program."""

    def ask(self, choose: Choose) -> None:
        """Asks a decision, and what its answer opens."""


class Asked:
    """A decision of a space, and the questions that each of its answers opens.

    Args:
        decision: it.
        opens: the questions that an option's index opens; None: no option opens any. Called once
            for each option that is chosen.
    """

    __slots__ = ("_made", "_opens", "decision")

    def __init__(
        self, decision: Decision, opens: Callable[[int], Iterable[Question]] | None = None
    ) -> None:
        self.decision = decision
        self._opens = opens
        self._made: dict[int, tuple[Question, ...]] = {}

    def ask(self, choose: Choose) -> None:
        index = choose(self.decision)
        if self._opens is None:
            return
        opened = self._made.get(index)
        if opened is None:
            opened = self._made[index] = tuple(self._opens(index))
        for question in opened:
            question.ask(choose)


def writing(genotype: Genotype, choose: Choose) -> Choose:
    """Makes a ``choose`` that also writes each answer into ``genotype``.

    A decision that is forced is answered without asking ``choose``.

    Args:
        genotype: where the answers are written.
        choose: answers.
    """

    def ask(decision: Decision) -> int:
        index = int(choose(decision)) if decision.forced is None else decision.forced
        if not 0 <= index < len(decision.options):
            raise SpaceError(
                f"{decision.path!r} has {len(decision.options)} options, got index {index}"
            )
        genotype[decision.path] = index
        return index

    return ask
