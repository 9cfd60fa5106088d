"""Exhaustive search."""

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.order import after, first
from nasrunner.core.records import Outcome, Proposal
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

    repeats = False

    def __init__(self, *, space: Space, seed: Seed) -> None:
        super().__init__(space=space, seed=seed)
        self.last: Genotype | None = None

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self.last = proposal.genotype

    def suggest(self, index: int) -> Proposal | None:
        space = self.space_at(index)
        genotype = first(space) if self.last is None else after(space, self.last)
        return None if genotype is None else Proposal(index, genotype)

    def learn(self, outcome: Outcome) -> None:
        pass
