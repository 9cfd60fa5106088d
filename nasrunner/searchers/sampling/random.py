"""Random search."""

from collections.abc import Sequence

from nasrunner.core.order import rollout
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.searcher import Searcher


class RandomSearch(Searcher):
    """Draws every active decision uniformly. Negrinho & Gordon 2017, arXiv:1704.08792.

    Uniform over answers, not over architectures: two branches of an ``or`` are equally likely
    however many architectures each holds.
    """

    def suggest(self, index: int) -> Proposal:
        return Proposal(index, rollout(self.space_at(index), self.rng(index)))

    def learn(self, outcome: Outcome) -> None:
        pass

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        pass

    @property
    def ignores_known(self) -> str:
        return "random search looks at no rewards"
