"""Regularized evolution, and its variants: without ageing, with crossover, over objectives."""

import heapq
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nasrunner.core.annotations import AtLeast, Seed, Within
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.ledger.objectives import Objective, ObjectiveScores
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.evolution.crowding import qualities


@dataclass(frozen=True)
class Member:
    """One of the population.

    Attributes:
        genotype: its architecture.
        scores: its child's reward, or its values of the study's objectives; higher is better.
        index: its child's; None: it is of an earlier study.
        excess: how far its child is beyond the limits of objectives; 0: it is within all.
    """

    genotype: Genotype
    scores: tuple[float, ...]
    index: int | None
    excess: float = 0.0


class RegularizedEvolution(Searcher):
    """Aging evolution with tournament selection. Real et al. 2019, arXiv:1802.01548, algorithm 1.

    The first ``population_size`` proposals are random. From then on the best of
    ``tournament_size`` members, drawn with replacement, has one active decision changed to
    another option; the child joins the population when its reward arrives, and the oldest member
    leaves. Decisions that the change makes active are drawn uniformly, those it makes inactive
    are dropped. A proposal's ``parent`` is the index of the winner.

    Without ``ageing`` the worst member leaves in the place of the oldest (non-aging evolution in
    the paper). With ``crossover`` a parent may be crossed with the winner of a second
    tournament before it is mutated: decisions that both answer are answered as either does, others
    as the one does that has them, where the answers so far make them active.

    With ``learns=objectives`` members are compared as NSGA-II compares them (Deb et al. 2002,
    doi:10.1109/4235.996017): within limits before beyond, then by front, then by crowding distance.
    A child that failed has the worst value seen of each objective.

    What earlier studies found are the first members, in the order in which it was found; where
    there is more of it than members, the best. So many random proposals fewer are made.

    Args:
        population_size: P in the paper, >= 1.
        tournament_size: S in the paper, 1 <= S <= P.
        learns: the ``reward`` of each child, or the study's ``objectives``.
        ageing: whether the oldest member leaves; False: the worst one, of equal ones the oldest.
        crossover: how probable a second parent is.

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
        learns: Literal["reward", "objectives"] = "reward",
        ageing: bool = True,
        crossover: Annotated[float, Within("[0, 1]")] = 0.0,
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
        self.learns_objectives = learns == "objectives"
        self.ageing = ageing
        self.crossover = crossover
        self.population: deque[Member] = deque()
        self._num_known = 0
        self._scores = ObjectiveScores(self.objectives)

    def compare(self, objectives: Sequence[Objective]) -> None:
        super().compare(objectives)
        self._scores = ObjectiveScores(self.objectives)

    def suggest(self, index: int) -> Proposal:
        rng, space = self.rng(index), self.space_at(index)
        if index + self._num_known < self.population_size or not self.population:
            return Proposal(index, _mutate(space, {}, None, rng))
        quality = self._qualities()
        parent = self._winner(quality, rng)
        before = space if parent.index is None else self.space_at(parent.index)
        genotype = parent.genotype
        if self.crossover and rng.random() < self.crossover:
            genotype = _crossed(space, genotype, self._winner(quality, rng).genotype, rng)
            before = space
        genotype = _mutate(space, genotype, _draw_decision(before, genotype, rng), rng)
        return Proposal(index, genotype, parent=parent.index)

    def learn(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        if self.learns_objectives:
            found = self._scores.of(outcome)
            if found is None:
                return
            scores, excess = found
        else:
            scores, excess = (outcome.known_reward,), 0.0
        self.population.append(Member(proposal.genotype, scores, proposal.index, excess))
        if len(self.population) > self.population_size:
            quality = [] if self.ageing else self._qualities()
            del self.population[quality.index(min(quality)) if quality else 0]

    def _qualities(self) -> list[tuple[float, ...]]:
        """How good each member is, in tuples that compare."""
        if not self.learns_objectives:
            return [member.scores for member in self.population]
        scores = [member.scores for member in self.population]
        return [*qualities(scores, [member.excess for member in self.population])]

    def _winner(self, quality: Sequence[tuple[float, ...]], rng: np.random.Generator) -> Member:
        entrants = rng.integers(len(self.population), size=self.tournament_size)
        return self.population[max(entrants, key=lambda place: quality[place])]

    @property
    def ignores_known(self) -> str | None:
        if not self.learns_objectives:
            return None
        return "earlier studies tell their rewards alone, and it learns objectives"

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        if self.learns_objectives:
            return
        places = range(len(outcomes))
        best = heapq.nlargest(self.population_size, places, key=lambda i: outcomes[i].reward)
        for place in sorted(best):
            known = outcomes[place]
            self.population.append(Member(known.genotype, (known.reward,), None))
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


def _draw_decision(space: Space, parent: Genotype, rng: np.random.Generator) -> str | None:
    """One active decision that has another option; None: there is none.

    Args:
        space: as it stood for the parent; for one of an earlier study as it stands now.
        parent: whose decisions they are; what it does not answer is not among them.
        rng: draws one.
    """
    mutable: list[str] = []

    def replay(decision: Decision) -> int:
        if len(decision.options) > 1 and decision.path in parent:
            mutable.append(decision.path)
        return parent.get(decision.path, 0)

    space.walk(replay)
    return mutable[rng.integers(len(mutable))] if mutable else None


def _crossed(space: Space, one: Genotype, other: Genotype, rng: np.random.Generator) -> Genotype:
    """Answers each decision as one of two genotypes does; what both lack is drawn."""

    def choose(decision: Decision) -> int:
        known = [each[decision.path] for each in (one, other) if decision.path in each]
        if not known:
            return int(rng.integers(len(decision.options)))
        return known[rng.integers(len(known))]

    return space.walk(choose)


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
