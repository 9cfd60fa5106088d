"""A searcher of your own."""

from collections.abc import Sequence
from typing import Annotated

from nasrunner.core import KnownOutcome, Outcome, Proposal, Searcher, Space
from nasrunner.core.annotations import Within
from nasrunner.core.order import rollout


class HillClimb(Searcher):
    """Answers one decision of the best child anew, or begins anywhere.

    Args:
        restart: probability of a random architecture instead.
    """

    def __init__(self, *, restart: Annotated[float, Within("[0, 1]")], space: Space, seed: int):
        super().__init__(space=space, seed=seed)
        self.restart = restart
        self.best: tuple[float, dict[str, int]] | None = None

    def suggest(self, index: int) -> Proposal:
        """Returns proposal number ``index``; all randomness is ``rng(index)``'s."""
        rng, space = self.rng(index), self.space_at(index)
        drawn = rollout(space, rng)
        if self.best is None or rng.random() < self.restart:
            return Proposal(index, drawn)
        known = self.best[1]
        changed = list(known)[rng.integers(len(known))]
        return Proposal(
            index,
            space.walk(
                lambda decision: (
                    known[decision.path]
                    if decision.path in known and decision.path != changed
                    else int(rng.integers(len(decision.options)))
                )
            ),
        )

    def learn(self, outcome: Outcome) -> None:
        self._climb(outcome.known_reward, dict(outcome.proposal.genotype))

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        for each in outcomes:
            self._climb(each.reward, dict(each.genotype))

    def _climb(self, reward: float, genotype: dict[str, int]) -> None:
        if self.best is None or reward > self.best[0]:
            self.best = reward, genotype
