"""The searcher contract: a policy for ``choose``, resumable by replaying what was recorded."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from nasrunner.core.annotations import Seed
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.space import Space


class Searcher(ABC):
    """Proposes architectures of a space and learns from their outcomes.

    The state is a function of (space, seed, the ledger's events in order) alone. ``suggest``
    changes nothing; a proposal becomes state when it is registered, which ``propose`` does and
    which a resumed study does with the recorded proposal instead. Outcomes may arrive in any
    order, and a proposal may be one that another made: a study draws an unseen architecture where
    its searcher keeps to known ones. All randomness comes from ``rng(index)``: a child's
    ``seed_everything`` cannot touch it. A study calls its searcher with numpy, torch and whatever
    else is loaded on one thread, for they round differently on more; so a searcher imports what it
    computes with when it is made. Other processors round differently even so: what was recorded
    may be what it would not have proposed.

    Args:
        space: what may be built.
        seed: together with the proposal's index it fixes every random draw; the study's, unless
            ``searcher.seed`` is given.
    """

    repeats: ClassVar[bool] = True
    """Whether it may propose an architecture again; one that never does ends by itself."""

    def __init__(self, *, space: Space, seed: Seed) -> None:
        self.space = space
        self.seed = seed
        self.num_proposed = 0
        self.pending: dict[int, Proposal] = {}
        self._schedules = tuple(space.schedules())
        self._spaces: dict[tuple[int, ...], Space] = {}

    def rng(self, index: int) -> np.random.Generator:
        """A generator that depends on the seed and ``index`` only, however often it is asked."""
        return np.random.default_rng([self.seed, index])

    @property
    def is_ready(self) -> bool:
        """Whether a proposal can be made now; False: only after the next outcome.

        True as long as none is pending.
        """
        return True

    def space_at(self, index: int) -> Space:
        """The space that proposal number ``index`` is drawn from; see ``Space.at_proposal``."""
        stage = self.stage(index)
        if stage not in self._spaces:
            self._spaces[stage] = self.space.at_proposal(index)
        return self._spaces[stage]

    def stage(self, index: int) -> tuple[int, ...]:
        """Where each schedule of the space stands for proposal number ``index``."""
        return tuple(schedule.stage(index) for schedule in self._schedules)

    def propose(self) -> Proposal | None:
        """The next child to train, registered as pending; None: the space is exhausted.

        To be called while ``is_ready``.
        """
        proposal = self.suggest(self.num_proposed)
        if proposal is not None:
            self.register(proposal)
        return proposal

    def register(self, proposal: Proposal) -> None:
        """Takes a proposal as made: called by ``propose``, and on resume for recorded ones."""
        self.pending[proposal.index] = proposal
        self.num_proposed = proposal.index + 1

    def observe(self, outcome: Outcome) -> None:
        """Takes an outcome, once for each proposal; without a reward there is nothing to learn."""
        self.pending.pop(outcome.proposal.index)
        if outcome.reward is None:
            self.forget(outcome.proposal)
        else:
            self.learn(outcome.proposal, outcome.reward)

    @abstractmethod
    def suggest(self, index: int) -> Proposal | None:
        """The proposal number ``index``, from the state as it is; None: nothing is left."""

    @abstractmethod
    def learn(self, proposal: Proposal, reward: float) -> None:
        """Updates the state with one reward."""

    def forget(self, proposal: Proposal) -> None:  # noqa: B027 - most keep nothing to drop
        """Drops what is kept of a pending proposal that will have no reward."""

    def advice(self, max_children: int | None) -> str | None:
        """One sentence the user should read before a search of this budget, where there is one.

        Args:
            max_children: the study's budget; None where it is not limited by number.
        """
        return None
