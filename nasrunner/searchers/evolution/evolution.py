"""Regularized evolution."""

from collections import deque
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import AtLeast, Seed
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space


class RegularizedEvolution(Searcher):
    """Aging evolution with tournament selection. Real et al. 2019, arXiv:1802.01548, algorithm 1.

    The first ``population_size`` proposals are random. From then on the best of
    ``tournament_size`` members, drawn with replacement, has one active decision changed to
    another option; the child joins the population when its reward arrives, and the oldest member
    leaves. Decisions that the change makes active are drawn uniformly, those it makes inactive
    are dropped. A proposal's ``parent`` is the index of the winner.

    Args:
        population_size: P in the paper, >= 1.
        tournament_size: S in the paper, 1 <= S <= P.

    Raises:
        ValueError: S is larger than P.

    Differs from the paper: any space, so one kind of mutation instead of their two of a cell, and
    no identity mutation. A child ages from when its reward arrived, as in their distributed runs;
    children without a reward never join, so that failures delay a full population.
    """

    def __init__(
        self,
        *,
        population_size: Annotated[int, AtLeast(1)],
        tournament_size: Annotated[int, AtLeast(1)],
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        if tournament_size > population_size:
            raise ValueError(
                f"tournament_size must be at most population_size ({population_size}), "
                f"got {tournament_size}"
            )
        self.population_size = population_size
        self.tournament_size = tournament_size
        self.population: deque[tuple[Proposal, float]] = deque(maxlen=population_size)

    def suggest(self, index: int) -> Proposal:
        rng, space = self.rng(index), self.space_at(index)
        if index < self.population_size or not self.population:
            return Proposal(index, _mutate(space, {}, None, rng))
        entrants = rng.integers(len(self.population), size=self.tournament_size)
        parent, _ = max((self.population[i] for i in entrants), key=lambda member: member[1])
        genotype = _mutate(space, parent.genotype, self._draw_decision(parent, rng), rng)
        return Proposal(index, genotype, parent=parent.index)

    def learn(self, outcome: Outcome) -> None:
        self.population.append((outcome.proposal, outcome.known_reward))

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children > self.population_size:
            return None
        return (
            f"A budget of {max_children} children makes this a random search: evolution starts "
            f"after searcher.population_size={self.population_size} children."
        )

    def _draw_decision(self, parent: Proposal, rng: np.random.Generator) -> str | None:
        """One active decision that has another option; None: the space has one architecture."""
        mutable: list[str] = []

        def replay(decision: Decision) -> int:
            if len(decision.options) > 1:
                mutable.append(decision.path)
            return parent.genotype[decision.path]

        self.space_at(parent.index).walk(replay)
        return mutable[rng.integers(len(mutable))] if mutable else None


def _mutate(
    space: Space, parent: Genotype, changed: str | None, rng: np.random.Generator
) -> Genotype:
    """Replays the parent with another answer to ``changed``; what it lacks is drawn."""

    def choose(decision: Decision) -> int:
        if decision.path == changed:
            others = [i for i in range(len(decision.options)) if i != parent[changed]]
            return others[rng.integers(len(others))]
        if decision.path in parent:
            return parent[decision.path]
        return int(rng.integers(len(decision.options)))

    return space.walk(choose)
