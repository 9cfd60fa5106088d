"""Regularized evolution."""

import heapq
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import AtLeast, Seed
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space


@dataclass(frozen=True)
class Member:
    """One of the population.

    Attributes:
        genotype: its architecture.
        reward: its child's.
        index: its child's; None: it is of an earlier study.
    """

    genotype: Genotype
    reward: float
    index: int | None


class RegularizedEvolution(Searcher):
    """Aging evolution with tournament selection. Real et al. 2019, arXiv:1802.01548, algorithm 1.

    The first ``population_size`` proposals are random. From then on the best of
    ``tournament_size`` members, drawn with replacement, has one active decision changed to
    another option; the child joins the population when its reward arrives, and the oldest member
    leaves. Decisions that the change makes active are drawn uniformly, those it makes inactive
    are dropped. A proposal's ``parent`` is the index of the winner.

    What earlier studies found are the first members, in the order in which it was found; where
    there is more of it than members, the best. So many random proposals fewer are made.

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
        self.population: deque[Member] = deque(maxlen=population_size)
        self._num_known = 0

    def suggest(self, index: int) -> Proposal:
        rng, space = self.rng(index), self.space_at(index)
        if index + self._num_known < self.population_size or not self.population:
            return Proposal(index, _mutate(space, {}, None, rng))
        entrants = rng.integers(len(self.population), size=self.tournament_size)
        parent = max((self.population[i] for i in entrants), key=lambda member: member.reward)
        before = space if parent.index is None else self.space_at(parent.index)
        genotype = _mutate(space, parent.genotype, _draw_decision(before, parent, rng), rng)
        return Proposal(index, genotype, parent=parent.index)

    def learn(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        self.population.append(Member(proposal.genotype, outcome.known_reward, proposal.index))

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        places = range(len(outcomes))
        best = heapq.nlargest(self.population_size, places, key=lambda i: outcomes[i].reward)
        for place in sorted(best):
            self.population.append(Member(outcomes[place].genotype, outcomes[place].reward, None))
        self._num_known = len(self.population)

    def parents(self) -> Collection[int]:
        return [member.index for member in self.population if member.index is not None]

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children > self.population_size:
            return None
        return (
            f"A budget of {max_children} children makes this a random search: evolution starts "
            f"after searcher.population_size={self.population_size} children."
        )


def _draw_decision(space: Space, parent: Member, rng: np.random.Generator) -> str | None:
    """One active decision that has another option; None: there is none.

    Args:
        space: as it stood for the parent; for one of an earlier study as it stands now.
        parent: whose decisions they are; what it does not answer is not among them.
        rng: draws one.
    """
    mutable: list[str] = []

    def replay(decision: Decision) -> int:
        if len(decision.options) > 1 and decision.path in parent.genotype:
            mutable.append(decision.path)
        return parent.genotype.get(decision.path, 0)

    space.walk(replay)
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
