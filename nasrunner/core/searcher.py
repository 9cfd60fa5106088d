"""The searcher contract: a policy for ``choose``, resumable by replaying what was recorded."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.network.known import Networks
from nasrunner.core.ports import Policy
from nasrunner.core.randomness.draws import seeded
from nasrunner.core.records import KnownOutcome, Outcome, Proposal, Report
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

    repeats: bool = True
    """Whether it may propose an architecture again; one that never does ends by itself."""

    proposes_estimates: bool = False
    """Whether it proposes children to be estimated, measured or predicted, beside trainings."""

    def __init__(self, *, space: Space, seed: Seed) -> None:
        self.space = space
        self.seed = seed
        self.num_proposed = 0
        self.pending: dict[int, Proposal] = {}
        self.networks: Networks | None = None
        self._schedules = tuple(space.schedules())
        self._spaces: dict[tuple[int, ...], Space] = {}

    def rng(self, index: int) -> np.random.Generator:
        """A generator that depends on the seed and ``index`` only, however often it is asked."""
        return seeded(self.seed, index)

    def see(self, networks: Networks) -> None:
        """Is shown the space's networks, before the first event; those who look at them may."""
        self.networks = networks

    def identity_of(self, genotype: Genotype) -> str | None:
        """What a genotype's network is known by; None: the study tells genotypes apart, or it is
        impossible.
        """
        if self.networks is None or not self.networks.identifies:
            return None
        try:
            return self.networks.identity(genotype)
        except SpaceError:
            return None

    def __getstate__(self) -> dict[str, Any]:
        """The state that snapshots keep, without the networks, which it is shown again."""
        return {**self.__dict__, "networks": None}

    @property
    def is_ready(self) -> bool:
        """Whether a proposal can be made now; False: only after the next outcome.

        True as long as none is pending.
        """
        return True

    def space_at(self, index: int) -> Space:
        """The space that proposal number ``index`` is drawn from; see ``Space.at_proposal``."""
        if not self._schedules:
            return self.space
        stage = self.stage(index)
        if stage not in self._spaces:
            self._spaces[stage] = self.space.at_proposal(index)
        return self._spaces[stage]

    def stage(self, index: int) -> tuple[int, ...]:
        """Where each schedule of the space stands for proposal number ``index``."""
        return tuple([schedule.stage(index) for schedule in self._schedules])

    def stage_starts(self) -> list[int]:
        """The proposals with which a stage of the space begins, up to that of the last one."""
        lengths = ((each.every, len(each.options)) for each in self._schedules)
        return sorted({0, *(every * step for every, num in lengths for step in range(num))})

    def propose(self) -> Proposal | None:
        """The next child to train, registered as pending; None: see ``why_done``.

        To be called while ``is_ready``.
        """
        return self._registered(self.suggest(self.num_proposed))

    def propose_continuation(self) -> Proposal | None:
        """The next proposal that goes on with a child, registered; None: none is due now.

        Called in the place of ``propose`` once as many children were begun as the study may have.
        """
        return self._registered(self.suggest_continuation(self.num_proposed))

    def register(self, proposal: Proposal) -> None:
        """Takes a proposal as made: called by ``propose``, and on resume for recorded ones."""
        self.pending[proposal.index] = proposal
        self.num_proposed = proposal.index + 1

    def observe(self, outcome: Outcome) -> None:
        """Takes an outcome, once for each proposal; of one that measured nothing only that."""
        proposal = self.pending.pop(outcome.proposal.index)
        if outcome.reward is None and not outcome.found:
            self.forget(proposal)
        elif proposal.continues is None:
            self.learn(outcome)
        else:
            self.revise(outcome)

    @abstractmethod
    def suggest(self, index: int) -> Proposal | None:
        """The proposal number ``index``, from the state as it is; None: nothing is left."""

    def suggest_continuation(self, index: int) -> Proposal | None:
        """The proposal number ``index``, if one that goes on with a child is due; else None."""
        return None

    @abstractmethod
    def learn(self, outcome: Outcome) -> None:
        """Updates the state with an outcome that has a reward, or with what a supernet found.

        The reward is what the study's rules make of it: of a failed child it may be the worst
        seen.
        """

    def revise(self, outcome: Outcome) -> None:  # noqa: B027 - most never go on with a child
        """Updates the state with the outcome of a child that was gone on with."""

    def forget(self, proposal: Proposal) -> None:  # noqa: B027 - most keep nothing to drop
        """Drops what is kept of a pending proposal that will have no reward."""

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        """Updates the state with what earlier studies found, once, before the first proposal.

        These are outcomes of no proposal of this study, and have no index in it. Their
        architectures may be proposed as any other: here they may be trained in another way. A
        study refuses to begin with outcomes where its searcher does not override this method.

        Args:
            outcomes: in the order in which they were recorded.
        """
        raise NotImplementedError

    @property
    def learns_known(self) -> bool:
        """Whether it takes what earlier studies found, be it of use to it or not."""
        return type(self).learn_known is not Searcher.learn_known

    @property
    def ignores_known(self) -> str | None:
        """Why what earlier studies found teaches it nothing, in words; None: it does."""
        return None

    def report(self, report: Report) -> None:  # noqa: B027 - most learn from outcomes alone
        """Updates the state with what a running child has measured after an epoch.

        A study listens to its children only for a searcher that overrides this method.
        """

    def should_stop(self, index: int) -> bool:
        """Whether a running child shall be stopped; asked after each of its reports."""
        return False

    def needs(self) -> Collection[int]:
        """The children whose checkpoints must be kept; those of others may go."""
        return ()

    def policy(self) -> "Policy | None":
        """Its own for a supernet's trainer; None: it proposes no supernet, or one without."""
        return None

    @property
    def estimated(self) -> Collection[str]:
        """The metrics of estimates that it asks for by name."""
        return ()

    @property
    def asks_for_estimates(self) -> bool:
        """Whether it has children estimated; a study refuses a trainer that makes no estimates."""
        return False

    @property
    def listens(self) -> bool:
        """Whether it wants to know what running children measure."""
        return type(self).report is not Searcher.report

    @property
    def why_done(self) -> str:
        """Why ``propose`` returned None, in words."""
        return "the space is exhausted"

    def advice(self, max_children: int | None) -> str | None:
        """One sentence the user should read before a search of this budget, where there is one.

        Args:
            max_children: the study's budget; None where it is not limited by number.
        """
        return None

    def _registered(self, proposal: Proposal | None) -> Proposal | None:
        if proposal is not None:
            self.register(proposal)
        return proposal
