"""The searcher contract: a policy for ``choose``, resumable by replaying what was recorded."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.ledger.objectives import REWARD, Objective
from nasrunner.core.network.known import Networks
from nasrunner.core.ports import Policy
from nasrunner.core.randomness.draws import seeded
from nasrunner.core.records import KnownOutcome, Outcome, Proposal, Report
from nasrunner.core.relaxation import ForwardGrowth, Relaxation
from nasrunner.core.space import Space


class Searcher(ABC):
    """Proposes architectures of a space and learns from their outcomes.

    Its state is a function of (space, seed, the ledger's events in order) alone. ``suggest``
    changes nothing; a proposal becomes part of the state when it is registered, by ``propose`` or,
    in a resumed study, with the recorded proposal. Outcomes may arrive in any order. A registered
    proposal need not be the searcher's own: users give architectures to begin with, and a study
    draws an unseen one if its searcher keeps proposing known ones. All randomness comes from
    ``rng(index)``, which a child's ``seed_everything`` cannot touch.

    A study limits numpy, torch and every other loaded library to one thread while it calls its
    searcher, because they round differently on more; so a searcher must import whatever it
    computes with when it is constructed. Other processors round differently even so: a recorded
    proposal may not be the one that the searcher would make itself.

    Args:
        space: what may be built.
        seed: fixes every random draw, together with the proposal's index. The study's seed, unless
            ``searcher.seed`` is set.
    """

    repeats: bool = True
    """Whether it may propose an architecture twice; a searcher that never does ends by itself."""

    learns_objectives: bool = False
    """Whether it compares children by the study's objectives instead of their rewards."""

    objectives: tuple[Objective, ...] = (Objective(REWARD, "max"),)
    """What the study compares its children by; the reward alone if it has no objectives."""

    def __init__(self, *, space: Space, seed: Seed) -> None:
        self.space = space
        self.seed = seed
        self.num_proposed = 0
        self.pending: dict[int, Proposal] = {}
        self.networks: Networks | None = None
        self._schedules = tuple(space.schedules())
        self._spaces: dict[tuple[int, ...], Space] = {}

    def rng(self, index: int) -> np.random.Generator:
        """Returns a generator that depends on the seed and ``index`` only, new on every call."""
        return seeded(self.seed, index)

    def see(self, networks: Networks) -> None:
        """Receives the space's networks, before the first event."""
        self.networks = networks

    def compare(self, objectives: Sequence[Objective]) -> None:
        """Receives the study's objectives, with the limits that a child must be within.

        Called before the first event, if the study has any.
        """
        self.objectives = tuple(objectives)

    def identity_of(self, genotype: Genotype) -> str | None:
        """Returns what a genotype's network is known by; None: the study tells genotypes apart, or
        it is impossible.
        """
        if self.networks is None or not self.networks.identifies:
            return None
        try:
            return self.networks.identity(genotype)
        except SpaceError:
            return None

    def __getstate__(self) -> dict[str, Any]:
        """Returns the state that snapshots keep; the networks are given to ``see`` again."""
        return {**self.__dict__, "networks": None}

    @property
    def is_ready(self) -> bool:
        """Whether a proposal can be made now, or only after the next outcome.

        Must be True while no proposal is pending.
        """
        return True

    def space_at(self, index: int) -> Space:
        """Returns the space that proposal number ``index`` is drawn from.

        It differs between proposals only if the space has schedules; see ``Space.at_proposal``.
        """
        if not self._schedules:
            return self.space
        stage = self.stage(index)
        if stage not in self._spaces:
            self._spaces[stage] = self.space.at_proposal(index)
        return self._spaces[stage]

    def stage(self, index: int) -> tuple[int, ...]:
        """Returns the option index of each schedule of the space at proposal number ``index``."""
        return tuple([schedule.stage(index) for schedule in self._schedules])

    def stage_starts(self) -> list[int]:
        """Returns the indices of the proposals at which a schedule moves on, 0 included."""
        lengths = ((each.every, len(each.options)) for each in self._schedules)
        return sorted({0, *(every * step for every, num in lengths for step in range(num))})

    def propose(self) -> Proposal | None:
        """Suggests the next proposal and registers it; returns None if none is left.

        Must only be called while ``is_ready``. ``why_done`` says why there is none.
        """
        return self._registered(self.suggest(self.num_proposed))

    def propose_continuation(self) -> Proposal | None:
        """Suggests the next continuation of a child and registers it; None if none is due now.

        Called instead of ``propose`` once the study has begun all children it may have.
        """
        return self._registered(self.suggest_continuation(self.num_proposed))

    def register(self, proposal: Proposal) -> None:
        """Records that a proposal was made.

        Called by ``propose``, and directly with proposals of a ledger and of the study itself.
        """
        self.pending[proposal.index] = proposal
        self.num_proposed = proposal.index + 1

    def observe(self, outcome: Outcome) -> None:
        """Passes an outcome to ``learn``, ``revise`` or ``forget``; called once a proposal."""
        proposal = self.pending.pop(outcome.proposal.index)
        is_compared = self.learns_objectives and bool(outcome.objectives)
        if outcome.reward is None and not outcome.found and not is_compared:
            self.forget(proposal)
        elif proposal.continues is None:
            self.learn(outcome)
        else:
            self.revise(outcome)

    @abstractmethod
    def suggest(self, index: int) -> Proposal | None:
        """Returns proposal number ``index`` without changing the state; None if none is left."""

    def suggest_continuation(self, index: int) -> Proposal | None:
        """Returns proposal number ``index`` if a continuation of a child is due, else None."""
        return None

    @abstractmethod
    def learn(self, outcome: Outcome) -> None:
        """Updates the state with an outcome that has a reward, or with what a supernet found.

        The study's rules decide the reward of a failed child, or of one beyond a limit of an
        objective: none, or the worst so far. A searcher that ``learns_objectives`` is told of the
        latter without a reward, too.
        """

    def revise(self, outcome: Outcome) -> None:  # noqa: B027 - most never go on with a child
        """Updates the state with the outcome of a continued training."""

    def forget(self, proposal: Proposal) -> None:  # noqa: B027 - most keep nothing to drop
        """Drops what is kept of a pending proposal that ended without a reward."""

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        """Updates the state with the outcomes of earlier studies, once, before the first proposal.

        They belong to no proposal of this study and have no index in it. Their architectures may
        be proposed like any other, since this study may train them differently. A study whose
        searcher does not override this method refuses to begin with earlier outcomes.

        Args:
            outcomes: in the order in which they were recorded.
        """
        raise NotImplementedError

    @property
    def learns_known(self) -> bool:
        """Whether it accepts outcomes of earlier studies, useful or not."""
        return type(self).learn_known is not Searcher.learn_known

    @property
    def ignores_known(self) -> str | None:
        """Why it learns nothing from earlier studies, in words; None if it does learn."""
        return None

    def report(self, report: Report) -> None:  # noqa: B027 - most learn from outcomes alone
        """Updates the state with what a running child measured after an epoch.

        A study listens to running children only if its searcher overrides this method.
        """

    def should_stop(self, index: int) -> bool:
        """Tells whether to stop a running child; asked after each of its reports, changes
        nothing.
        """
        return False

    def needs(self) -> Collection[int]:
        """Returns the children whose checkpoints must be kept; others' may be removed."""
        return ()

    def parents(self) -> Collection[int]:
        """Returns the children that its next proposals may be mutations of."""
        return ()

    def policy(self) -> "Policy | Relaxation | ForwardGrowth | None":
        """Returns what a supernet is trained with: the policy that its architectures are drawn by,
        or how all of its options are weighed; None if it needs none.
        """
        return None

    @property
    def estimated(self) -> Collection[str]:
        """The metrics that it requires of estimates, by name."""
        return ()

    @property
    def has_parents(self) -> bool:
        """Whether it mutates children, which are the parents of its proposals."""
        return type(self).parents is not Searcher.parents

    @property
    def asks_for(self) -> Sequence[Proposal]:
        """An example of all that it proposes beside trainings from first weights to their ends.

        A study whose trainer does not do one of them refuses to begin.
        """
        return ()

    @property
    def listens(self) -> bool:
        """Whether running children must report to it."""
        return type(self).report is not Searcher.report

    @property
    def hears(self) -> Mapping[str, Collection[int]]:
        """The metrics that it compares running children by, and the epochs after which it does.

        Without epochs it compares them after whichever they are measured. A study whose trainer
        does not measure them so refuses to begin.
        """
        return {}

    @property
    def whole_epochs(self) -> Collection[int]:
        """The epochs that it was told a whole training has; empty if it needs no such number.

        A study refuses to begin if its trainings are known to have another number of epochs.
        """
        return ()

    @property
    def ignored(self) -> str | None:
        """Which settings it ignores, and what is legal, in a sentence; None if it ignores none.

        A study refuses to begin with such; one that has begun with them goes on.
        """
        return None

    @property
    def known_as(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def why_done(self) -> str:
        """Why ``propose`` returned None, in words."""
        return "the space is exhausted"

    def advice(self, max_children: int | None) -> str | None:
        """Returns a warning for the user about a search of this budget, if there is one.

        Args:
            max_children: the study's budget; None where it is not limited by number.
        """
        return None

    def _registered(self, proposal: Proposal | None) -> Proposal | None:
        if proposal is not None:
            self.register(proposal)
        return proposal
