"""Exhaustive search."""

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.order import Place
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
        self._place: Place | None = None  # of the last suggestion

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self.last = proposal.genotype

    def suggest(self, index: int) -> Proposal | None:
        space = self.space_at(index)
        self._place = self._next(space)
        return None if self._place is None else Proposal(index, self._place.genotype)

    def learn(self, outcome: Outcome) -> None:
        pass

    def _next(self, space: Space) -> Place | None:
        """The place after that of the last proposal, found from it where it was suggested."""
        if self.last is None:
            return Place.of(space, {})
        place = self._place
        is_last = place is not None and (place.genotype is self.last or place.genotype == self.last)
        if place is None or place.space is not space or not is_last:
            place = Place.of(space, self.last)
            if place.genotype != self.last:  # of an earlier stage of the space
                return Place.of(space, {})
        return place.after()
