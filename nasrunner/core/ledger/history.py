"""What a study has seen so far: outcomes, duplicates, counts, and the best children."""

import math
import re
from collections import Counter

from nasrunner.core.ledger.agreement import Predictions
from nasrunner.core.ledger.ranking import Ranking
from nasrunner.core.ledger.steps import Reach
from nasrunner.core.records import MEASURED, Outcome, last_line

_NUMBER = re.compile(r"\d[\d.,]*")
"""Reasons that differ in numbers only are one reason."""


class History:
    """The outcomes of a study in the order they were recorded, ready to be asked about.

    Attributes:
        outcomes: all of them.
        counts: how many children by what became of them at last, in a word: one that was paused
            and has gone on to its end is ``completed``, and no longer ``paused``. One that is
            beyond a limit by its size is ``too_large``, and nothing went on with it. The trainings
            that went on (``continued``), estimates and supernets are counted for themselves. So are
            copies, which go on with another child's training: ``copies_completed`` and so on.
        statuses: how many by status, whatever they are of.
        cost_s: seconds spent training.
        worst_reward: of the children that were trained to their ends; infinite without one.
        worst_of_any: of all children, those trained in part among them; infinite without one.
        ranking: the architectures by the rewards of full trainings.
        num_full: children that were trained to their ends, be it in several steps.
        predictions: of rewards that were measured later.
    """

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.cost_s = 0.0
        self.worst_reward = math.inf
        self.worst_of_any = math.inf
        self.ranking = Ranking()
        self.num_failed = 0
        self.num_full = 0
        self.predictions = Predictions()
        self._rungs: dict[Reach, Ranking] = {}
        self._stands: dict[int, str] = {}  # each child's last training -> what it is counted as
        self._evaluated: dict[str, Outcome] = {}

    def add(self, outcome: Outcome, *, is_same_child: bool = False) -> None:
        """Takes an outcome that stands in the ledger.

        Args:
            outcome: the next.
            is_same_child: it goes on with its source as the same child, and is no copy of it.
        """
        self.outcomes.append(outcome)
        self.cost_s += outcome.cost_s
        self.predictions.add(outcome)
        self._count(outcome, is_same_child=is_same_child)
        self.statuses[outcome.status] += 1
        proposal = outcome.proposal
        is_failed = outcome.status == "failed" and outcome.reused_from is None
        self.num_failed += is_failed and proposal.kind == "train"
        if outcome.status != "duplicate" and proposal.key not in self._evaluated:
            self._evaluated[proposal.key] = outcome
        if outcome.reward is not None and proposal.kind == "train":
            self.worst_of_any = min(self.worst_of_any, outcome.reward)
        if not outcome.is_full:
            if (reach := Reach.of(outcome)) is not None:
                self._rungs.setdefault(reach, Ranking()).add(outcome)
            return
        self.num_full += outcome.reused_from is None and outcome.is_trained
        if outcome.reward is not None:
            self.worst_reward = min(self.worst_reward, outcome.reward)
        self.ranking.add(outcome)

    def _count(self, outcome: Outcome, *, is_same_child: bool) -> None:
        """Counts an outcome, and its child by it in the place of what that was before."""
        index, source = outcome.proposal.index, outcome.proposal.continues
        counted_as = _counted_as(outcome)
        if source is not None and not outcome.is_trained:
            if is_same_child and source in self._stands:
                self._stands[index] = self._stands.pop(source)
            return
        self.counts[counted_as] += 1
        if counted_as in _SPENT:
            self._stands[index] = counted_as
        elif counted_as == "continued" and outcome.status in (*MEASURED, "failed"):
            assert source is not None, "it has gone on with a training"
            before = self._stands.pop(source, None) if is_same_child else COPIES
            if before is None:
                return
            if is_same_child:
                self.counts[before] -= 1
            self._stands[index] = f"{COPIES * before.startswith(COPIES)}{outcome.status}"
            self.counts[self._stands[index]] += 1

    def shown(self) -> tuple[Ranking, Reach | None]:
        """Returns the ranking of full trainings, or that of those that came furthest without one.

        Returns:
            The ranking, and how far its trainings came; None: to their ends.
        """
        reached = [reach for reach, ranking in self._rungs.items() if ranking.top() is not None]
        if self.ranking.top() is not None or not reached:
            return self.ranking, None
        furthest = max(reached, key=lambda reach: reach.order)
        return self._rungs[furthest], furthest

    @property
    def has_steps(self) -> bool:
        """Whether children were trained in steps: paused and continued, or at fidelities."""
        return bool(self._rungs) or self.statuses["paused"] > 0 or self.counts["continued"] > 0

    def compares(self, outcome: Outcome) -> bool:
        """Tells whether an outcome is one of those that ``shown`` ranks."""
        _, reach = self.shown()
        return outcome.is_full if reach is None else Reach.of(outcome) == reach

    def compared(self) -> list[Outcome]:
        """Returns the outcomes that ``shown`` ranks, without those that repeat another's."""
        return [o for o in self.outcomes if o.reused_from is None and self.compares(o)]

    def evaluated(self, key: str) -> Outcome | None:
        """Returns the first outcome of a proposal with this identity, if there is one."""
        return self._evaluated.get(key)

    @property
    def num_spent(self) -> int:
        """How many outcomes count against ``max_children``: those of children that were begun."""
        return sum(self.counts[name] for name in _SPENT)

    def failure(self) -> str | None:
        """Says what kept every child from being completed; None if one was completed."""
        trained = [each for each in self.outcomes if each.proposal.kind == "train"]
        if any(outcome.status in MEASURED for outcome in trained):
            return None
        tried = [outcome for outcome in trained if outcome.error is not None]
        if not tried:
            return "no child was completed: none was begun"
        counts = Counter(outcome.status for outcome in tried)
        named = " and ".join(f"{count:,} {status}" for status, count in counts.most_common())
        reasons: dict[str, list[str]] = {}
        for reason in (last_line(outcome.error) for outcome in tried):
            reasons.setdefault(_NUMBER.sub("…", reason), []).append(reason)
        most = max(reasons.values(), key=len)
        why = "because" if len(reasons) == 1 else f"most often ({len(most):,}) because"
        return f"no child was completed: {named}, {why}: {most[0]}"


COPIES = "copies_"
"""What counts of copies begin with."""

_SPENT = ("completed", "paused", "stopped", "failed", "reused", "too_large")
"""What spends budget."""


def _counted_as(outcome: Outcome) -> str:
    """``reused``: an evaluation that was not made again; ``repeated``: invalid once more.

    ``too_large``: a size that is beyond a limit of an objective was not trained.
    """
    if outcome.proposal.kind != "train":
        return f"{outcome.proposal.kind}s"
    if outcome.proposal.continues is not None:
        return "continued"
    if outcome.reused_from is None or outcome.status == "duplicate":
        return outcome.told_status
    return "reused" if outcome.is_evaluation else "repeated"
