"""The base of searchers that train children a little, and the best of them further."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from nasrunner.core.decision import Genotype
from nasrunner.core.ledger.steps import PROMOTES
from nasrunner.core.records import Outcome, Proposal, Source
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.wrappers.rungs import Bracket, Rungs
from nasrunner.searchers.wrappers.wrapper import Wrapper


@dataclass(frozen=True)
class _Climber:
    """A child that climbs rungs.

    Attributes:
        genotype: its answers.
        inner: its index in the inner searcher.
        bracket: where it is compared.
        last: the proposal that has trained it furthest.
    """

    genotype: Genotype
    inner: int
    bracket: Bracket
    last: int


class Promoting(Wrapper):
    """Trains what another searcher proposes as far as a rung, and goes on with the best.

    Between rungs a training is paused and later continued, so that a promotion costs only the
    difference; or, with a ``fidelity``, each rung is a training of its own, which counts as a child
    of the study.

    The inner searcher learns each child once, from its first rung, and revises it with the later
    ones. What the user gives to begin with is trained to its end and compared with nobody; neither
    is an outcome that was reused, or a child that was stopped or has failed.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        rungs: what children are compared after.

    Raises:
        ValueError: the inner searcher proposes what is paused or continued itself, or compares
            curves that a fidelity would change.
    """

    passes_on = ("kind=estimate", "weights")

    def __init__(
        self, *, searcher: Callable[..., Searcher], rungs: Rungs, space: Space, seed: int
    ) -> None:
        super().__init__(searcher=searcher, space=space, seed=seed)
        if rungs.fidelity is not None and self.inner.listens:
            raise ValueError(
                f"fidelity: {type(self.inner).__name__} compares curves, and those of trainings "
                "anew at other fidelities do not compare; legal are rungs, which pause trainings"
            )
        self.rungs = rungs
        self._climbers: dict[int, _Climber] = {}  # by the index of their first proposal
        self._first_of: dict[int, int] = {}  # proposal that climbs -> its child's first one

    @property
    @abstractmethod
    def brackets(self) -> Collection[Bracket]:
        """Those in which somebody may go on, in the order in which they are looked at."""

    @abstractmethod
    def _bracket_of_next(self) -> Bracket:
        """Returns the bracket that the next child begins in."""

    @property
    @abstractmethod
    def begins_at_several(self) -> bool:
        """Whether not all children begin with the same rung."""

    def advice(self, max_children: int | None) -> str | None:
        learns = not isinstance(self.inner, RandomSearch | ExhaustiveSearch)
        if self.begins_at_several and learns:
            return (
                f"{type(self.inner).__name__} learns the rewards of children that begin with "
                "different rungs as if they were of one; searcher=asha with one bracket, or "
                "successive_halving, begins all with the same."
            )
        return super().advice(max_children)

    @property
    def is_ready(self) -> bool:
        if self._due(is_closed=False) is not None:
            return True
        if self.inner.repeats or not self.inner.is_ready or not self.pending:
            return self.inner.is_ready
        # What runs may go on where the inner searcher has no more to propose.
        return self._suggestion() is not None or self._due(is_closed=True) is not None

    def suggest(self, index: int) -> Proposal | None:
        if (due := self._due(is_closed=False)) is not None:
            return self._promotion(index, *due)
        proposal = self._suggestion() if self.inner.is_ready else None
        if proposal is None and (due := self._due(is_closed=self.inner.is_ready)) is not None:
            return self._promotion(index, *due)
        if proposal is None or proposal.kind != "train":
            return proposal
        return self.rungs.asked(proposal, self._bracket_of_next().first)

    def suggest_continuation(self, index: int) -> Proposal | None:
        if self.rungs.fidelity is not None:
            return None  # it would be one more child
        due = self._due(is_closed=True)
        return None if due is None else self._promotion(index, *due)

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if (promoted := self._promoted_by(proposal)) is not None:
            first = self._first_of[promoted]
            climber = self._climbers[first]
            rung = self.rungs.of(proposal)
            assert rung is not None, "it was asked by this searcher"
            climber.bracket.go_on(first, rung - 1)
            self._first_of[proposal.index] = first
            self._inner_of[proposal.index] = climber.inner
            return
        inner = self._enter(proposal, until=None, fidelity={})
        if proposal.kind != "train":
            return
        bracket = self._bracket_of_next()
        if self.rungs.of(proposal) == bracket.first:
            bracket.begin(proposal.index)
            self._climbers[proposal.index] = _Climber(
                proposal.genotype, inner, bracket, proposal.index
            )
            self._first_of[proposal.index] = proposal.index

    def learn(self, outcome: Outcome) -> None:
        if self._promoted_by(outcome.proposal) is not None:
            self.revise(outcome)
            return
        self._pass_on(outcome)
        self._climb(outcome)

    def revise(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        first = self._first_of[proposal.index]
        climber = self._climbers[first]
        if outcome.status in ("completed", "paused", "stopped"):
            self._climbers[first] = replace(climber, last=proposal.index)
            self._outer_of[climber.inner] = proposal.index
            super().revise(outcome)
        self._climb(outcome)

    def forget(self, proposal: Proposal) -> None:
        if self._promoted_by(proposal) is None:
            self._drop(self._inner_of[proposal.index])
        self._fall(proposal)

    def needs(self) -> Collection[int]:
        inside = set(super().needs())
        if self.rungs.fidelity is not None:
            return inside
        paused = (each for bracket in self.brackets for each in bracket.may_go_on())
        return inside | {self._climbers[each].last for each in paused}

    @property
    def asks_for(self) -> Sequence[Proposal]:
        plain = Proposal(0, {})
        below = [self.rungs.asked(plain, rung) for rung in range(self.rungs.top)]
        return (*super().asks_for, *below)

    @property
    def whole_epochs(self) -> Collection[int]:
        return (*self.rungs.whole_epochs, *super().whole_epochs)

    @property
    def ignored(self) -> str | None:
        return self.rungs.ignored or super().ignored

    def _promoted_by(self, proposal: Proposal) -> int | None:
        """Whom a proposal goes on with; None: it begins a child."""
        if proposal.continues is not None:
            return proposal.continues
        promoted = proposal.notes.get(PROMOTES)
        return None if promoted is None else int(promoted)

    def _promotion(self, index: int, bracket: Bracket, first: int, rung: int) -> Proposal:
        climber = self._climbers[first]
        if self.rungs.fidelity is None:
            sources = (Source(climber.last, "training"),)
            proposal = Proposal(index, climber.genotype, sources=sources)
        else:
            proposal = Proposal(index, climber.genotype, notes={PROMOTES: climber.last})
        return self.rungs.asked(proposal, rung + 1)

    def _due(self, *, is_closed: bool) -> tuple[Bracket, int, int] | None:
        for bracket in self.brackets:
            if (due := bracket.due(is_closed=is_closed)) is not None:
                return bracket, *due
        return None

    def _climb(self, outcome: Outcome) -> None:
        """Compares a child with the others at the rung that it has come to."""
        is_compared = outcome.status in ("completed", "paused") and outcome.reused_from is None
        if not is_compared:
            self._fall(outcome.proposal)
            return
        if (first := self._first_of.get(outcome.proposal.index)) is None:
            return
        rung = self.rungs.of(outcome.proposal)
        assert rung is not None, "who climbs was asked by this searcher"
        self._climbers[first].bracket.add(first, rung, outcome.known_reward)

    def _fall(self, proposal: Proposal) -> None:
        """Leaves out a child that is not compared at the rung it was trained for."""
        first = self._first_of.get(proposal.index)
        rung = self.rungs.of(proposal)
        if first is not None and rung is not None:
            self._climbers[first].bracket.drop(first, rung)
