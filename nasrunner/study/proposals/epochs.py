"""How many epochs a study has trained."""

from dataclasses import replace

from nasrunner.core.errors import ConfigError
from nasrunner.core.records import MEASURED, Outcome, Proposal
from nasrunner.study.proposals.effort import Spending


class Epochs(Spending):
    """Counts the epochs that children were trained for, each by itself, without its sources'.

    What was reused or only estimated has trained none. A child that failed counts as if it had come
    as far as it was to, as do those in flight. ``committed`` and ``check`` raise ConfigError where
    the trainer does not say how many epochs a training has.
    """

    def check(self, proposal: Proposal) -> None:
        """Refuses a proposal whose epochs nobody knows.

        Raises:
            ConfigError: says whose.
        """
        self._planned(proposal)

    def _of_outcome(self, outcome: Outcome) -> float:
        proposal = outcome.proposal
        if outcome.status not in (*MEASURED, "failed") or outcome.reused_from is not None:
            return 0
        if proposal.kind == "estimate":
            return 0
        measured = outcome.metrics.get("epochs", self._state.num_epochs.get(proposal.index))
        if outcome.status == "failed" or measured is None:
            return self._planned(proposal)
        return max(0, int(measured) - self._before(proposal))

    def _planned(self, proposal: Proposal) -> float:
        if proposal.kind == "estimate":
            return 0
        most = self._trainer.most_epochs(replace(proposal, kind="train"))
        if most is None:
            raise ConfigError(
                f"max_epochs_total counts epochs, and {type(self._trainer).__name__} does not say "
                "how many a training has, as configured; legal with trainer.max_epochs, or "
                "max_children and max_hours instead"
            )
        end = most if proposal.until is None else min(proposal.until, most)
        return max(0, end - self._before(proposal))

    def _before(self, proposal: Proposal) -> int:
        """The epochs of the training that a proposal goes on with."""
        if (source := proposal.continues) is None:
            return 0
        outcome = self._state.outcomes[source]
        known = outcome.metrics.get("epochs", self._state.num_epochs.get(source))
        return int(outcome.proposal.until or 0) if known is None else int(known)
