"""How much training a study has spent, in children that are trained through."""

from abc import ABC, abstractmethod
from dataclasses import replace

from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import ChildTrainer
from nasrunner.core.records import MEASURED, Outcome, Proposal


class Spending(ABC):
    """What a study's trainings took of something that is limited or compared.

    Args:
        state: the study's.
        trainer: knows how long trainings are.
    """

    def __init__(self, state: StudyState, trainer: ChildTrainer) -> None:
        self._state = state
        self._trainer = trainer
        self._num_seen = 0
        self._spent = 0.0

    @property
    def spent(self) -> float:
        """Of all proposals that have an outcome."""
        outcomes = self._state.history.outcomes
        self._spent += sum(map(self._of_outcome, outcomes[self._num_seen :]))
        self._num_seen = len(outcomes)
        return self._spent

    @property
    def committed(self) -> float:
        """Of those in flight, too, as if they came as far as they are to."""
        return self.spent + sum(map(self._planned, self._state.in_flight.values()))

    @abstractmethod
    def _of_outcome(self, outcome: Outcome) -> float:
        """What a training took."""

    @abstractmethod
    def _planned(self, proposal: Proposal) -> float:
        """What one takes that comes as far as it is to."""


class Effort(Spending):
    """Counts children by the share of their epochs that they are trained for.

    What was asked for counts, but of those that their searcher stopped: one that is trained from
    its first weights to its end is 1, whether it ends by itself before, repeats another's outcome
    or fails; one that is beyond a limit by its size is 0; one that is paused after 3 of 12 epochs
    is ¼, and so is what goes on with it for 3 more. Where nobody knows how many epochs a training
    has, what begins a child is 1 and what goes on with it nothing.
    """

    @property
    def again(self) -> float:
        """What was trained once more, since a training state was gone; no part of ``spent``."""
        return sum(map(self._again, self._state.history.outcomes))

    def _of_outcome(self, outcome: Outcome) -> float:
        if outcome.status not in (*MEASURED, "failed") or not outcome.is_trained:
            return 0.0
        if outcome.status != "stopped":
            return self._planned(outcome.proposal)
        epochs = self._state.num_epochs.get(outcome.proposal.index)
        return self._planned(replace(outcome.proposal, until=epochs, identity=None))

    def _planned(self, proposal: Proposal) -> float:
        """How much of a child a proposal trains."""
        if proposal.is_plain:
            return 1.0
        if proposal.kind == "estimate":
            return 0.0
        whole = self._trainer.most_epochs(replace(proposal, kind="train", fidelity={}))
        most = self._trainer.most_epochs(proposal)
        if whole is None or most is None:
            return float(proposal.is_root)
        end = most if proposal.until is None else min(proposal.until, most)
        return max(0, end - self._begin(proposal.continues, most)) / whole

    def _again(self, outcome: Outcome) -> float:
        """How much of a child was trained again before a proposal's own epochs."""
        source = outcome.proposal.continues
        if source is None or not outcome.is_trained_again or outcome.reused_from is not None:
            return 0.0
        most = self._trainer.most_epochs(outcome.proposal)
        if most is None:
            return 0.0
        found: int | None = source
        while found in outcome.lacks and found in self._state.outcomes:
            found = self._state.outcomes[found].proposal.continues
        return (self._begin(source, most) - self._begin(found, most)) / most

    def _begin(self, source: int | None, most: int) -> int:
        """After how many epochs begins what goes on with a child; None: with none."""
        if source is None:
            return 0
        outcome = self._state.outcomes[source]
        if outcome.status == "completed":  # nothing is left of it to train
            return most
        before = outcome.proposal.until or 0
        return self._state.num_epochs.get(source, before)
