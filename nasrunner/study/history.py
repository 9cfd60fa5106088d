"""What a study has seen so far: outcomes, duplicates, counts, and the best children."""

import math
import re
from collections import Counter

from nasrunner.core.ranking import Ranking
from nasrunner.core.records import Outcome, last_line

_NUMBER = re.compile(r"\d[\d.,]*")
"""Reasons that differ in numbers only are one reason."""


class History:
    """The outcomes of a study in the order they were recorded, ready to be asked about."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.counts: Counter[str] = Counter()
        self.cost_s = 0.0
        self.worst_reward = math.inf
        self.ranking = Ranking()
        self._evaluated: dict[str, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """Takes an outcome that stands in the ledger."""
        self.outcomes.append(outcome)
        self.cost_s += outcome.cost_s
        self.counts[_counted_as(outcome)] += 1
        if outcome.status != "duplicate":
            self._evaluated.setdefault(outcome.proposal.hash, outcome)
        if outcome.reward is not None:
            self.worst_reward = min(self.worst_reward, outcome.reward)
        self.ranking.add(outcome)

    def evaluated(self, genotype_hash: str) -> Outcome | None:
        """The first outcome of this genotype, if it has one."""
        return self._evaluated.get(genotype_hash)

    @property
    def num_distinct(self) -> int:
        """How many different genotypes have an outcome."""
        return len(self._evaluated)

    @property
    def num_spent(self) -> int:
        """How many outcomes count against ``max_children``: all but invalid and replaced ones."""
        return len(self.outcomes) - sum(self.counts[name] for name in _FREE)

    def failure(self) -> str | None:
        """What kept every child from being completed, in words; None where one was."""
        if any(outcome.status == "completed" for outcome in self.outcomes):
            return None
        tried = [outcome for outcome in self.outcomes if outcome.error is not None]
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


_FREE = ("invalid", "repeated", "duplicate")
"""What spends no budget."""


def _counted_as(outcome: Outcome) -> str:
    """``reused``: an evaluation that was not made again; ``repeated``: invalid once more."""
    if outcome.reused_from is None or outcome.status == "duplicate":
        return outcome.status
    return "reused" if outcome.is_evaluation else "repeated"
