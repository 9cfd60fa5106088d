"""When a study begins no further child, and when it proposes nothing at all any more."""

from nasrunner.core.ledger.state import StudyState
from nasrunner.core.records import Extent, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.study.proposals.epochs import Epochs
from nasrunner.study.rules import Rules

MAX_KNOWN = 10
"""After so many known proposals in a row, with ``duplicates=resample``, an unseen one is drawn."""


class Budget:
    """What a study may still propose.

    Args:
        rules: the study's.
        state: likewise.
        size: the number of architectures in its space.
        epochs: how many it has trained.
    """

    def __init__(self, rules: Rules, state: StudyState, size: int, epochs: Epochs) -> None:
        self._rules = rules
        self._state = state
        self._size = size
        self._epochs = epochs

    @property
    def num_committed(self) -> int:
        """Children that have spent budget, or will unless they turn out to be invalid."""
        return self._state.history.num_spent + self._state.num_roots_in_flight

    def why_over(self, searcher: Searcher, elapsed_s: float, *, may_begin: bool) -> str | None:
        """Returns why nothing at all is proposed any more, in words.

        Args:
            searcher: the study's.
            elapsed_s: how long all its sessions have run.
            may_begin: whether further children are begun.
        """
        if reason := self._rules.spent(self._state.history, elapsed_s):
            return reason
        most = self._rules.max_epochs_total
        if most is not None and self._epochs.committed >= most:
            return f"max_epochs_total={most} is spent"
        limit = self._rules.max_fruitless
        if limit is None or not may_begin:
            return None
        if self._state.repeats.num_fruitless >= limit and searcher.repeats:
            return f"max_fruitless={limit} proposals in a row were invalid, known or too large"
        return None

    def check(self, proposal: Proposal) -> None:
        """Refuses a proposal of which nobody knows what it takes of a budget.

        Raises:
            ConfigError: epochs are counted, and those of its training are not known.
        """
        if self._rules.max_epochs_total is not None:
            self._epochs.check(proposal)

    def why_none_begins(self) -> str | None:
        """Returns why no further child is begun, in words, once those in flight are recorded."""
        limit = self._rules.max_children
        if limit is not None and self.num_committed >= limit:
            return f"max_children={limit} is spent"
        if self._rules.duplicates == "retrain":
            return None
        if self._state.num_plain >= self._size:
            invalid = self._state.history.counts["invalid"]
            what = f"proposed, {invalid:,} of them invalid" if invalid else "evaluated"
            return f"the space is exhausted: all {self._size} architectures were {what}"
        if self.keeps_to_known and self.unseen_extent is None:
            return f"the space is exhausted: all {self._size} architectures were begun"
        return None

    @property
    def keeps_to_known(self) -> bool:
        """Whether the searcher proposes again and again what it has proposed before."""
        return self._state.repeats.num_known >= MAX_KNOWN

    @property
    def unseen_extent(self) -> Extent | None:
        """How much of a training to ask for where the searcher keeps to what is known.

        It is as much as it has asked for itself: the last that some architecture is left for.
        """
        begun, extents = self._state.begun, self._state.repeats.known_extents
        return next((e for e in reversed(extents) if len(begun[e]) < self._size), None)

    @property
    def is_idle(self) -> bool:
        """Whether the searcher goes on again and again with what was gone on with."""
        return self._state.repeats.num_idle >= MAX_KNOWN
