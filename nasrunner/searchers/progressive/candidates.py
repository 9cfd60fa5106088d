"""The expansions of children, and the order in which they are trained."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.order import Key, key_of
from nasrunner.core.space import Space
from nasrunner.searchers.progressive.growth import Growth, architectures, drawn

_DRAWS = 10
"""How many expansions are drawn, at most, for each that is to be different."""


@dataclass(frozen=True)
class Grown:
    """A child that may be expanded.

    Attributes:
        index: its number.
        genotype: its answers.
        reward: its own.
    """

    index: int
    genotype: Genotype
    reward: float


@dataclass(frozen=True)
class Expansion:
    """An architecture that may be trained.

    Attributes:
        genotype: its answers.
        parent: the child whose answers it has; None: it is of the smallest depth.
        predicted: the reward that a surrogate predicts; None: none was asked.
    """

    genotype: Genotype
    parent: int | None
    predicted: float | None = None


class Expansions:
    """Lists what children of a level become in the next one.

    Args:
        space: of the architectures.
        growth: its depth.
        max_expansions: how many are listed at most; of more, so many are drawn, the child to expand
            uniformly and so its new answers.
    """

    def __init__(self, space: Space, growth: Growth, max_expansions: int) -> None:
        self.space = space
        self.growth = growth
        self.max_expansions = max_expansions

    def of(self, level: int, parents: Sequence[Grown], rng: np.random.Generator) -> list[Expansion]:
        """Returns architectures of a level, none twice.

        Args:
            level: 0: all architectures, whatever the parents.
            parents: of the level before.
            rng: draws them, if they are too many.
        """
        origins: Sequence[Grown | None] = parents if level else (None,)
        listed = itertools.chain.from_iterable(self._each(level, origin) for origin in origins)
        found: dict[Key, Expansion] = {}
        for each in listed:
            found.setdefault(key_of(each.genotype), each)
            if len(found) > self.max_expansions:
                return self._some(level, origins, rng)
        return list(found.values())

    def _each(self, level: int, origin: Grown | None) -> Iterator[Expansion]:
        genotype, parent = _of(origin)
        for each in architectures(self.space, self.growth.legal(level, genotype)):
            yield Expansion(each, parent)

    def _some(
        self, level: int, origins: Sequence[Grown | None], rng: np.random.Generator
    ) -> list[Expansion]:
        """Draws as many as are listed at most; fewer if so few are left that draws repeat them."""
        found: dict[Key, Expansion] = {}
        for _ in range(_DRAWS * self.max_expansions):
            genotype, parent = _of(origins[int(rng.integers(len(origins)))])
            each = drawn(self.space, self.growth.legal(level, genotype), rng)
            found.setdefault(key_of(each), Expansion(each, parent))
            if len(found) == self.max_expansions:
                break
        return list(found.values())


class Beam:
    """Expansions in the order in which they are trained.

    Args:
        ranked: the first is trained first.
    """

    def __init__(self, ranked: Sequence[Expansion]) -> None:
        self._ranked = ranked
        self._place = 0

    def first(self, is_new: Callable[[Genotype], bool]) -> Expansion | None:
        """Returns the first that is new; what is not new once must never be again."""
        while self._place < len(self._ranked):
            if is_new(self._ranked[self._place].genotype):
                return self._ranked[self._place]
            self._place += 1
        return None


def _of(origin: Grown | None) -> tuple[Genotype | None, int | None]:
    return (None, None) if origin is None else (origin.genotype, origin.index)
