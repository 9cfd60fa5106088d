"""What a study has seen so far: outcomes, duplicates, counts, and the best children."""

import math
import re
from collections import Counter

from nasrunner.core.ledger.agreement import Predictions
from nasrunner.core.ledger.ranking import Ranking
from nasrunner.core.records import MEASURED, Outcome, last_line

_NUMBER = re.compile(r"\d[\d.,]*")
"""Reasons that differ in numbers only are one reason."""


class History:
    """The outcomes of a study in the order they were recorded, ready to be asked about.

    Attributes:
        outcomes: all of them.
        counts: how many by what became of them, in a word; what goes on with a child, estimates
            and supernets are counted for themselves.
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
        self._rungs: dict[int, Ranking] = {}
        self._evaluated: dict[str, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome that stands in the ledger."""
        self.outcomes.append(outcome)
        self.cost_s += outcome.cost_s
        self.predictions.add(outcome)
        self.counts[_counted_as(outcome)] += 1
        self.statuses[outcome.status] += 1
        proposal = outcome.proposal
        is_failed = outcome.status == "failed" and outcome.reused_from is None
        self.num_failed += is_failed and proposal.kind == "train"
        if outcome.status != "duplicate" and proposal.key not in self._evaluated:
            self._evaluated[proposal.key] = outcome
        if outcome.reward is not None and proposal.kind == "train":
            self.worst_of_any = min(self.worst_of_any, outcome.reward)
        if not outcome.is_full:
            if outcome.status == "paused" and proposal.until is not None:
                self._rungs.setdefault(proposal.until, Ranking()).add(outcome)
            return
        self.num_full += outcome.reused_from is None and outcome.is_trained
        if outcome.reward is not None:
            self.worst_reward = min(self.worst_reward, outcome.reward)
        self.ranking.add(outcome)

    def shown(self) -> tuple[Ranking, int | None]:
        """Returns the ranking of full trainings, or that of the longest rung if none has ended.

        Returns:
            The ranking, and after how many epochs its trainings were paused; None: they were not.
        """
        if self.ranking.top() is not None or not self._rungs:
            return self.ranking, None
        longest = max(self._rungs)
        return self._rungs[longest], longest

    @property
    def has_steps(self) -> bool:
        """Whether children were trained in steps: paused, and continued."""
        return self.statuses["paused"] > 0 or self.counts["continued"] > 0

    def compares(self, outcome: Outcome) -> bool:
        """Whether an outcome is one of those that ``shown`` ranks."""
        _, until = self.shown()
        if until is None:
            return outcome.is_full
        return outcome.status == "paused" and outcome.proposal.until == until

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


_SPENT = ("completed", "paused", "stopped", "failed", "reused")
"""What spends budget."""


def _counted_as(outcome: Outcome) -> str:
    """``reused``: an evaluation that was not made again; ``repeated``: invalid once more."""
    if outcome.proposal.kind != "train":
        return f"{outcome.proposal.kind}s"
    if outcome.proposal.continues is not None:
        return "continued"
    if outcome.reused_from is None or outcome.status == "duplicate":
        return outcome.status
    return "reused" if outcome.is_evaluation else "repeated"
