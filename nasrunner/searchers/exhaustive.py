"""Exhaustive search."""

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.records import Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space


class ExhaustiveSearch(Searcher):
    """Proposes every architecture of the space once, in lexicographic order, then None.

    The order is that of the option indices, decisions in the order they are asked, so the seed
    plays no part. The next proposal is one odometer step after the last one registered: nothing
    is enumerated ahead, and conditional spaces need no special case. Where the space has a
    schedule, each of its stages is begun with its first architecture, and the search ends with the
    first stage that is used up before its time.
    """

    def __init__(self, *, space: Space, seed: int) -> None:
        super().__init__(space=space, seed=seed)
        self.last: Genotype | None = None

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self.last = proposal.genotype

    def suggest(self, index: int) -> Proposal | None:
        space = self.space_at(index)
        genotype = first(space) if self.last is None else after(space, self.last)
        return None if genotype is None else Proposal(index, genotype)

    def learn(self, proposal: Proposal, reward: float) -> None:
        pass


def first(space: Space) -> Genotype:
    """The first architecture in lexicographic order."""
    return space.walk(lambda decision: 0)


def after(space: Space, genotype: Genotype) -> Genotype | None:
    """The next architecture in lexicographic order; None after the last.

    The last answer that can be raised is; what is asked after it starts at 0. The first
    architecture, where the genotype is of an earlier stage of the space.
    """
    asked: list[Decision] = []

    def replay(decision: Decision) -> int:
        asked.append(decision)
        return genotype.get(decision.path, 0)

    if space.walk(replay) != genotype:
        return first(space)
    raisable = [d.path for d in asked if genotype[d.path] + 1 < len(d.options)]
    if not raisable:
        return None
    kept = {d.path for d in asked[: [d.path for d in asked].index(raisable[-1])]}

    def step(decision: Decision) -> int:
        if decision.path == raisable[-1]:
            return genotype[decision.path] + 1
        return genotype[decision.path] if decision.path in kept else 0

    return space.walk(step)
