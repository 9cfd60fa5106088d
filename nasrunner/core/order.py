"""The architectures of a space one by one: at random, or in lexicographic order."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.questions import Question, writing
from nasrunner.core.randomness.draws import Draws
from nasrunner.core.space import Space

Key = frozenset[tuple[str, int]]
"""A genotype as a member of a set."""


def key_of(genotype: Genotype) -> Key:
    """Returns a genotype as a member of sets and key of dicts."""
    return frozenset(genotype.items())


def is_of(space: Space, genotype: Genotype) -> bool:
    """Tells whether a genotype answers exactly the decisions that the space asks."""
    return space.walk(lambda decision: genotype.get(decision.path, 0)) == genotype


def rollout(space: Space, rng: np.random.Generator) -> Genotype:
    """Draws an architecture, every active decision uniformly."""
    return space.walk(lambda decision: int(rng.integers(len(decision.options))))


def rollouts(space: Space, rng: np.random.Generator, num_rollouts: int) -> list[Genotype]:
    """Draws the same architectures as ``num_rollouts`` calls of ``rollout``, but faster.

    The generator ends in the same state, so later draws do not depend on which of the two was
    called. Its numbers are drawn in blocks, of which each decision takes the next one.
    """
    draws = Draws(rng, num_expected=8 * num_rollouts)
    drawn = [
        space.walk(lambda decision: draws.below(len(decision.options))) for _ in range(num_rollouts)
    ]
    draws.settle()
    return drawn


def untaken(space: Space, taken: Collection[Key], rng: np.random.Generator) -> Genotype:
    """Returns a random architecture that is not taken; there must be one.

    If the one drawn is taken, it returns the next free one in lexicographic order, in which the
    first architecture follows the last.
    """
    genotype = rollout(space, rng)
    if key_of(genotype) not in taken:
        return genotype
    place = Place.of(space, genotype)
    while key_of(place.genotype) in taken:
        place = place.after() or Place.of(space, {})
    return place.genotype


@dataclass(frozen=True, slots=True)
class _Answered:
    """A question of a compiled space: what was asked in it, and all answers, forced ones too."""

    asked: list[Decision]
    genotype: Genotype


def _answered(question: Question, answers: Iterable[int]) -> _Answered:
    """A question asked with these answers first, and then with zeros."""
    asked: list[Decision] = []
    genotype: Genotype = {}
    remaining = iter(answers)

    def ask(decision: Decision) -> int:
        index = decision.forced
        if index is None:
            asked.append(decision)
            index = next(remaining, 0)
        genotype[decision.path] = index
        return index

    question.ask(ask)
    return _Answered(asked, genotype)


class Place:
    """Where an architecture stands in the lexicographic order of its space.

    Only what the next one answers differently is asked again to find it.

    Attributes:
        space: it.
        genotype: the architecture.
    """

    __slots__ = ("_answered", "_firsts", "genotype", "space")

    def __init__(
        self, space: Space, answered: list[_Answered], firsts: list[_Answered | None]
    ) -> None:
        self.space = space
        self.genotype: Genotype = {}
        self._answered = answered
        self._firsts = firsts
        for each in answered:
            self.genotype.update(each.genotype)

    @classmethod
    def of(cls, space: Space, genotype: Genotype) -> "Place":
        """Returns the place of an architecture; what the genotype does not answer is 0."""
        answered = []
        for question in space.compiled:
            found = _Answered([], {})

            def replay(decision: Decision, asked: list[Decision] = found.asked) -> int:
                asked.append(decision)
                return genotype.get(decision.path, 0)

            question.ask(writing(found.genotype, replay))
            answered.append(found)
        return cls(space, answered, [None] * len(answered))

    def after(self) -> "Place | None":
        """Returns the place of the next architecture; None after the last.

        The last answer that can be raised is; what is asked after it starts at 0.
        """
        for position in reversed(range(len(self._answered))):
            asked, genotype = self._answered[position].asked, self._answered[position].genotype
            for raised in reversed(range(len(asked))):
                if genotype[asked[raised].path] + 1 < len(asked[raised].options):
                    answers = [genotype[decision.path] for decision in asked[: raised + 1]]
                    answers[-1] += 1
                    changed = _answered(self.space.compiled[position], answers)
                    rest = map(self._first, range(position + 1, len(self._answered)))
                    answered = [*self._answered[:position], changed, *rest]
                    return Place(self.space, answered, self._firsts)
        return None

    def _first(self, position: int) -> _Answered:
        """A question with zeros for answers, asked once for all places that follow each other."""
        found = self._firsts[position]
        if found is None:
            found = self._firsts[position] = _answered(self.space.compiled[position], ())
        return found


def listed(space: Space) -> Iterator[Genotype]:
    """Yields every architecture of a space, in its lexicographic order."""
    place: Place | None = Place.of(space, {})
    while place is not None:
        yield place.genotype
        place = place.after()
