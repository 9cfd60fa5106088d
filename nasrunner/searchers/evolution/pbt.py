"""Population-based training: poor members go on as changed copies of good ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from nasrunner.core.annotations import AtLeast, Count, Seed, Within
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.order import Key, key_of, untaken
from nasrunner.core.records import Outcome, Proposal, Source
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space

_MEMBER = "member"
"""The note that says whose training a proposal is."""

_SEARCHED = "hyperparameters/"
"""What the paths of searched hyperparameters begin with."""


@dataclass(frozen=True)
class Paused:
    """What a member's training had come to when it was paused, or at its end.

    Attributes:
        index: the proposal that has it.
        genotype: its architecture and hyperparameters.
        reward: its reward.
    """

    index: int
    genotype: Genotype
    reward: float


@dataclass(frozen=True)
class Trainee:
    """A member of the population.

    Attributes:
        epochs: how long it was trained.
        states: epochs -> what it had come to after these.
        is_over: whether its training has come to its end.
    """

    epochs: int
    states: dict[int, Paused]
    is_over: bool = False


class PopulationBasedTraining(Searcher):
    """Trains a population side by side, and replaces poor members by changed copies of good ones.

    Jaderberg et al. 2017, arXiv:1711.09846. Members are random architectures with random
    hyperparameters. Each is paused after every ``interval`` epochs. If its reward is then among the
    lowest ``truncation`` share of those that have come as far, it goes on with the whole training
    state that a random member of the highest share had then, instead of its own (exploit,
    truncation selection; section 4.1.1), with that member's architecture and changed
    hyperparameters (explore): each is drawn anew with probability ``resample``, else moved to the
    next option up or down where the options are in order. The others go on as they are.

    Members never wait for one another; of those that are paused the least trained goes on first, so
    that few workers bring a population forward together.

    A member whose training fails goes on as a copy as well, or begins anew where nobody can be
    copied. One that is stopped from outside has ended: it is compared, and copied, as it was when
    it paused before. What the user gives to begin with is trained to its end, and no member.

    Differs from the paper: hyperparameters are decisions of the space, so that a step leads to the
    neighbouring option instead of multiplying by 1.2 or 0.8; and rewards are compared after equal
    epochs, not as they stand when a member pauses.

    Args:
        population_size: P, members.
        interval: epochs between two comparisons of a member with the others.
        max_epochs: of a whole training.
        truncation: share of the population, in (0, 0.5]; at least one member of it.
        resample: probability that a hyperparameter is drawn anew, in [0, 1].

    Raises:
        ValueError: the space searches no hyperparameters or is too small, the share is less than a
            member, or no member would be paused.
    """

    repeats = False

    def __init__(
        self,
        *,
        population_size: Annotated[int, AtLeast(2)],
        interval: Count,
        max_epochs: Count | None,
        truncation: Annotated[float, Within("(0, 0.5]")],
        resample: Annotated[float, Within("[0, 1]")],
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        self.population_size = population_size
        self.interval = interval
        self.resample = resample
        self.num_cut = int(truncation * population_size + 1e-9)
        if self.num_cut < 1:
            raise ValueError(
                f"truncation must be at least a member of the population, {1 / population_size:.3g}"
                f" with population_size={population_size}, got {truncation}"
            )
        if max_epochs is None or max_epochs <= interval:
            raise ValueError(
                f"max_epochs must be more than interval={interval}, or no member is ever compared, "
                f"got {max_epochs}; it is trainer.max_epochs by default"
            )
        self.max_epochs = max_epochs
        if not _searched(space):
            raise ValueError(
                "space.hyperparameters must have decisions, which are what population-based "
                "training changes, and this space searches none; legal is, for example, "
                "'+space.hyperparameters={optimizer.lr: {logspace: [1e-4, 1e-1, 16]}}'"
            )
        if space.size() < population_size:
            raise ValueError(
                f"population_size must be at most {space.size()}, the architectures of the space, "
                f"got {population_size}"
            )
        self.members: dict[int, Trainee] = {}
        self._beginning: set[int] = set()  # members without an outcome
        self._due: list[int] = []  # members that go on next, in the order in which they paused
        self._failed: set[int] = set()  # of these: whose last training failed
        self._taken: set[Key] = set()
        self._num_begun = 0

    @property
    def is_ready(self) -> bool:
        return bool(self._due) or self._is_open or not self.pending

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return (Proposal(0, {}, until=self.interval),)

    @property
    def whole_epochs(self) -> Collection[int]:
        return (self.max_epochs,)

    @property
    def why_done(self) -> str:
        return f"all {self.population_size} members of the population were trained to their ends"

    def suggest(self, index: int) -> Proposal | None:
        if not self._is_open:
            return self.suggest_continuation(index)
        genotype = untaken(self.space_at(index), self._taken, self.rng(index))
        notes = {_MEMBER: self._num_begun}
        return Proposal(index, genotype, until=self.interval, notes=notes)

    def suggest_continuation(self, index: int) -> Proposal | None:
        if not self._due:
            return None
        rng = self.rng(index)
        number = min(self._due, key=lambda each: self.members[each].epochs)
        member = self.members[number]
        other = self._copied(number, rng)
        state = other or member.states[member.epochs]
        is_changed = other is not None or number in self._failed
        genotype = self._explored(state.genotype, index, rng) if is_changed else state.genotype
        until = member.epochs + self.interval
        return Proposal(
            index,
            genotype,
            until=until if until < self.max_epochs else None,
            sources=(Source(state.index, "training"),),
            notes={_MEMBER: number},
        )

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        self._taken.add(key_of(proposal.genotype))
        number = self._member_of(proposal)
        if number is None:
            return
        if proposal.continues is None:
            self._beginning.add(number)
            self._num_begun = number + 1
        else:
            self._due.remove(number)
            self._failed.discard(number)

    def learn(self, outcome: Outcome) -> None:
        proposal = outcome.proposal
        number = self._member_of(proposal)
        if number is None:
            return
        if outcome.status in ("failed", "invalid"):  # its reward is the rules'
            self.forget(proposal)
            return
        before = self.members.get(number, Trainee(0, {}))
        self._beginning.discard(number)
        if outcome.status == "stopped":  # before it came as far as the others are compared
            self.members[number] = replace(before, is_over=True)
            return
        last = proposal.index if outcome.reused_from is None else outcome.reused_from
        is_over = outcome.status != "paused"
        epochs = self.max_epochs if proposal.until is None else proposal.until
        state = Paused(last, proposal.genotype, outcome.known_reward)
        self.members[number] = Trainee(epochs, {**before.states, epochs: state}, is_over)
        if not is_over:
            self._due.append(number)

    def revise(self, outcome: Outcome) -> None:
        self.learn(outcome)

    def forget(self, proposal: Proposal) -> None:
        number = self._member_of(proposal)
        if number is None:
            return
        if number in self._beginning:
            self._beginning.remove(number)  # another one begins in its place
            return
        self._due.append(number)
        self._failed.add(number)

    def needs(self) -> Collection[int]:
        going_on = [each.epochs for each in self.members.values() if not each.is_over]
        least = self.interval if self._beginning or self._is_open else min(going_on, default=None)
        if least is None:
            return set()
        members = self.members.values()
        return {s.index for m in members for epochs, s in m.states.items() if epochs >= least}

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children >= self.population_size:
            return None
        return (
            f"A budget of {max_children} children begins no more members than these of "
            f"searcher.population_size={self.population_size}."
        )

    @property
    def _is_open(self) -> bool:
        """Whether the population has room for one more member that can be drawn."""
        num_members = len(self.members) + len(self._beginning)
        return num_members < self.population_size and len(self._taken) < self.space.size()

    def _member_of(self, proposal: Proposal) -> int | None:
        number = proposal.notes.get(_MEMBER)
        return None if number is None else int(number)

    def _copied(self, number: int, rng: np.random.Generator) -> Paused | None:
        """What a member goes on with; None: its own training."""
        epochs = self.members[number].epochs
        states = {n: m.states[epochs] for n, m in self.members.items() if epochs in m.states}
        ranked = sorted(states, key=lambda each: (-states[each].reward, each))
        num_cut = min(self.num_cut, len(ranked) // 2)
        is_poor = number in ranked[len(ranked) - num_cut :] or number in self._failed
        best = [states[each] for each in ranked[: max(1, num_cut)] if each != number]
        return best[int(rng.integers(len(best)))] if is_poor and best else None

    def _explored(self, genotype: Genotype, index: int, rng: np.random.Generator) -> Genotype:
        """The same architecture with other hyperparameters."""

        def choose(decision: Decision) -> int:
            answer = genotype.get(decision.path)
            if answer is not None and not decision.path.startswith(_SEARCHED):
                return answer
            num_options = len(decision.options)
            if answer is None or rng.random() < self.resample:
                return int(rng.integers(num_options))
            if not decision.is_ordered:
                return answer
            step = 1 if rng.random() < 0.5 else -1
            return min(max(answer + step, 0), num_options - 1)

        return self.space_at(index).walk(choose)


def _searched(space: Space) -> list[str]:
    """The paths of the hyperparameters that the space searches."""
    found: list[str] = []

    def choose(decision: Decision) -> int:
        if decision.path.startswith(_SEARCHED) and len(decision.options) > 1:
            found.append(decision.path)
        return 0

    space.walk(choose)
    return found
