"""Candidates: the architectures that a surrogate compares before one of them is proposed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import AtLeast, Within
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.order import Key, key_of, rollouts, untaken
from nasrunner.core.space import Space


@dataclass(frozen=True)
class Candidates:
    """Random rollouts, and mutations of the best children so far.

    Rollouts as in DeepArchitect (Negrinho & Gordon 2017, arXiv:1704.08792), mutations as in
    BANANAS (White et al. 2019, arXiv:1910.11858). A mutation replays one of the best children
    with some of its answers changed; decisions that become active are drawn, those that become
    inactive are dropped.

    Args:
        num_rollouts: random architectures a proposal, >= 0.
        num_mutations: mutations a proposal, >= 0; one of the two is >= 1.
        num_parents: how many of the best children are mutated, each equally often, >= 1.
        more_changes: probability that one more answer changes after each change, in [0, 1).

    Raises:
        ValueError: there would be no candidate.
    """

    num_rollouts: Annotated[int, AtLeast(0)]
    num_mutations: Annotated[int, AtLeast(0)]
    num_parents: Annotated[int, AtLeast(1)]
    more_changes: Annotated[float, Within("[0, 1)")]

    def __post_init__(self) -> None:
        if self.num_rollouts + self.num_mutations < 1:
            raise ValueError("candidates.num_rollouts or num_mutations must be >= 1, got 0 and 0")

    def draw(
        self,
        space: Space,
        parents: Sequence[Genotype],
        taken: Collection[Key],
        rng: np.random.Generator,
    ) -> list[Genotype]:
        """Draws at least one genotype, none twice and none in ``taken``.

        Args:
            space: where at least one architecture is not taken.
            parents: the best children, best first; none at the start of a search.
            taken: what was proposed before.
            rng: the stream of this proposal.
        """
        drawn = rollouts(space, rng, self.num_rollouts)
        mutable = [(parent, _mutable(space, parent)) for parent in parents[: self.num_parents]]
        mutable = [(parent, paths) for parent, paths in mutable if paths]
        for position in range(self.num_mutations if mutable else 0):
            parent, paths = mutable[position % len(mutable)]
            num_changes = min(len(paths), int(rng.geometric(1 - self.more_changes)))
            changed = {paths[place] for place in _sample(len(paths), num_changes, rng)}
            drawn.append(_mutate(space, parent, changed, rng))
        fresh = {key: genotype for genotype in drawn if (key := key_of(genotype)) not in taken}
        return list(fresh.values()) or [untaken(space, taken, rng)]


def _sample(num_places: int, num_chosen: int, rng: np.random.Generator) -> set[int]:
    """Some of 0, 1, …, each set equally likely: Floyd's algorithm, Bentley 1987, column 13.

    As ``rng.choice(replace=False)``, which takes several times as long for so few, and so that the
    generator comes to the same state: proposals are those of earlier versions.
    """
    chosen: set[int] = set()
    for last in range(num_places - num_chosen, num_places):
        place = int(rng.integers(last + 1))
        chosen.add(last if place in chosen else place)
    for remaining in range(num_chosen, 1, -1):  # what it shuffles them by
        rng.integers(remaining)
    return chosen


def _mutable(space: Space, genotype: Genotype) -> list[str]:
    """The decisions of a child that have another option, in the space as it is now."""
    paths: list[str] = []

    def replay(decision: Decision) -> int:
        if len(decision.options) > 1 and decision.path in genotype:
            paths.append(decision.path)
        return genotype.get(decision.path, 0)

    space.walk(replay)
    return paths


def _mutate(
    space: Space, parent: Genotype, changed: Collection[str], rng: np.random.Generator
) -> Genotype:
    def choose(decision: Decision) -> int:
        num_options = len(decision.options)
        if decision.path in changed:
            return int((parent[decision.path] + rng.integers(1, num_options)) % num_options)
        if decision.path in parent:
            return parent[decision.path]
        return int(rng.integers(num_options))

    return space.walk(choose)
