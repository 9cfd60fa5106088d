"""How the architectures of a space grow: its depth, found from the space itself."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.questions import Question, writing
from nasrunner.core.space import Space

Legal = Callable[[Decision], Sequence[int]]
"""The options of a decision that a growing architecture may have."""


class Growth(Protocol):
    """Tells the levels of a space's architectures apart."""

    @property
    def name(self) -> str:
        """What says how deep an architecture is, as the user names it."""

    @property
    def depths(self) -> Sequence[str]:
        """How deep architectures of each level are, in words."""

    def level_of(self, genotype: Genotype) -> int:
        """Returns which level an architecture is of, the smallest being 0."""

    def legal(self, level: int, parent: Genotype | None) -> Legal:
        """Returns what architectures of a level may answer.

        Args:
            level: theirs, 0 being the smallest.
            parent: of the level before, whose answers they have; None: any.
        """

    def implied(self) -> Sequence[str]:
        """Paths of decisions whose answers the others imply."""


@dataclass(frozen=True)
class GrowingNumber:
    """A number in order, of which larger values ask all that smaller ones do, and more.

    Attributes:
        name: path of its decision, which every architecture answers.
        options: its values' places among the options, from the smallest value to the largest.
        depths: these values.
    """

    name: str
    options: tuple[int, ...]
    depths: tuple[str, ...]

    def level_of(self, genotype: Genotype) -> int:
        return self.options.index(genotype[self.name])

    def legal(self, level: int, parent: Genotype | None) -> Legal:
        answers = {**(parent or {}), self.name: self.options[level]}

        def options(decision: Decision) -> Sequence[int]:
            known = answers.get(decision.path)
            return range(len(decision.options)) if known is None else (known,)

        return options

    def implied(self) -> Sequence[str]:
        return (self.name,)


@dataclass(frozen=True)
class GrowingString:
    """Decisions one after the other, of one kind, until one has the option that ends them.

    Attributes:
        name: the kind.
        places: paths of the decisions -> their places in the string.
        final: the option that ends it.
        depths: how many do not end it, at the least and so on.
    """

    name: str
    places: dict[str, int]
    final: int
    depths: tuple[str, ...]

    def level_of(self, genotype: Genotype) -> int:
        return sum(genotype.get(path, self.final) != self.final for path in self.places)

    def legal(self, level: int, parent: Genotype | None) -> Legal:
        answers = parent or {}

        def options(decision: Decision) -> Sequence[int]:
            place = self.places.get(decision.path)
            if place is not None and place >= level:
                return (self.final,)
            known = answers.get(decision.path)
            if place is None:
                return range(len(decision.options)) if known is None else (known,)
            if known is None or known == self.final:
                return [each for each in range(len(decision.options)) if each != self.final]
            return (known,)

        return options

    def implied(self) -> Sequence[str]:
        return ()


def find_growth(space: Space, depth: str | None) -> Growth:
    """Finds what says how deep the architectures of a space are.

    Args:
        space: of the architectures.
        depth: path or kind of the decision that is meant; None: the only one that there is.

    Raises:
        ValueError: there is none, there are several and none is meant, or another is meant.
    """
    found = {each.name: each for each in map(_growth_of, space.compiled) if each is not None}
    legal = ", ".join(sorted(found))
    if not found:
        raise ValueError(
            "space must have a depth to grow, a number that every architecture answers and of "
            "which each larger value asks further decisions, as times: {range: [1, 5, 1]} of "
            "repeat, or a string; it has none"
        )
    if depth is None and len(found) > 1:
        raise ValueError(f"depth must say which decision is the depth of the space: {legal}")
    meant = depth or legal
    for name, growth in found.items():
        if meant == name or (isinstance(growth, GrowingString) and meant in growth.places):
            return growth
    raise ValueError(f"depth must be a decision that grows the space, {legal}, got {depth!r}")


def architectures(space: Space, legal: Legal) -> Iterator[Genotype]:
    """Yields every architecture that has legal answers alone, in lexicographic order."""
    raised: list[int] = []
    while True:
        nums: list[int] = []  # of options, of the decisions that were asked

        def choose(decision: Decision, nums: list[int] = nums, raised: list[int] = raised) -> int:
            options = legal(decision)
            place = raised[len(nums)] if len(nums) < len(raised) else 0
            nums.append(len(options))
            return options[place]

        yield space.walk(choose)
        raised = [*raised, *[0] * (len(nums) - len(raised))]
        while raised and raised[-1] + 1 >= nums[len(raised) - 1]:
            raised.pop()
        if not raised:
            return
        raised[-1] += 1


def drawn(space: Space, legal: Legal, rng: np.random.Generator) -> Genotype:
    """Draws an architecture that has legal answers alone, each uniformly."""

    def choose(decision: Decision) -> int:
        options = legal(decision)
        return options[int(rng.integers(len(options)))] if len(options) > 1 else options[0]

    return space.walk(choose)


def _growth_of(question: Question) -> Growth | None:
    """How a question of a space grows; None: it does not.

    Its first decision is asked in every architecture: no other answer opens it.
    """
    asked = _asked(question, {}, 0)
    if not asked:
        return None
    return _growing_number(question, asked[0]) or _growing_string(question)


def _growing_number(question: Question, first: Decision) -> GrowingNumber | None:
    if not first.is_ordered or len(first.options) < 2 or first.forced is not None:
        return None
    order = sorted(range(len(first.options)), key=lambda option: first.options[option])
    paths = [{each.path for each in _asked(question, {first.path: option}, 0)} for option in order]
    if not all(smaller < larger for smaller, larger in itertools.pairwise(paths)):
        return None
    return GrowingNumber(first.path, tuple(order), tuple(str(first.options[o]) for o in order))


def _growing_string(question: Question) -> GrowingString | None:
    """The string of which each decision asks the next unless it has one of its options."""
    for last in (0, 1):  # one of the two does not end it
        asked = _asked(question, {}, last)
        kinds = [each.kind for each in asked if each.kind != each.path]
        for kind in dict.fromkeys(kinds):
            if found := _string_of(question, [d for d in asked if d.kind == kind], last):
                return found
    return None


def _string_of(question: Question, chain: Sequence[Decision], last: int) -> GrowingString | None:
    """The string that some decisions of one kind are, if they are; ``last`` goes on with each."""
    if len(chain) < 2:
        return None
    finals = set()
    for place, decision in enumerate(chain[:-1]):
        ends = [
            option
            for option in range(len(decision.options))
            if chain[place + 1] not in _asked(question, {decision.path: option}, last)
        ]
        if len(ends) != 1:
            return None
        finals.add(ends[0])
    if len(finals) != 1:
        return None
    places = {decision.path: place for place, decision in enumerate(chain)}
    depths = tuple(map(str, range(len(chain) + 1)))
    return GrowingString(chain[0].kind, places, finals.pop(), depths)


def _asked(question: Question, answers: Genotype, other: int) -> list[Decision]:
    """The decisions that a question asks, in order.

    Args:
        question: of a space.
        answers: to some of its decisions.
        other: the answer to all others, or the last option where they have no such.
    """
    asked: list[Decision] = []

    def recorded(decision: Decision) -> int:
        asked.append(decision)
        return answers.get(decision.path, min(other, len(decision.options) - 1))

    question.ask(writing({}, recorded))
    return asked
