"""Exhaustive search."""

from collections.abc import Sequence

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.order import Key, Place, key_of
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space


class ExhaustiveSearch(Searcher):
    """Proposes every architecture of the space once, in lexicographic order, then None.

    The order is that of the option indices, decisions in the order they are asked, so the seed
    plays no part. The next proposal is one odometer step after the last one registered: nothing
    is enumerated ahead, and conditional spaces need no special case. Where the space has a
    schedule, each of its stages is begun with its first architecture, and the search ends with the
    first stage that is used up before its time. What another has proposed, such as architectures
    that the user gave to begin with, is passed over when its turn comes.
    """

    repeats = False

    def __init__(self, *, space: Space, seed: Seed) -> None:
        super().__init__(space=space, seed=seed)
        self.last: Genotype | None = None
        self._place: Place | None = None  # of the last suggestion
        self._others: set[Key] = set()  # what another has proposed

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        is_own = self._place is not None and self._place.genotype == proposal.genotype
        place = self._place if is_own else self._next(self.space_at(proposal.index))
        if place is not None and place.genotype == proposal.genotype:
            self.last, self._place = proposal.genotype, place
        else:
            self._others.add(key_of(proposal.genotype))

    def suggest(self, index: int) -> Proposal | None:
        place = self._next(self.space_at(index))
        if place is None:
            return None
        self._place = place
        return Proposal(index, place.genotype)

    def learn(self, outcome: Outcome) -> None:
        pass

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        pass

    @property
    def ignores_known(self) -> str:
        return "exhaustive search looks at no rewards"

    def _next(self, space: Space) -> Place | None:
        """The first place after that of the last proposal that no other has taken."""
        place = self._after_last(space)
        while self._others and place is not None and key_of(place.genotype) in self._others:
            place = place.after()
        return place

    def _after_last(self, space: Space) -> Place | None:
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
