"""How the best reward of one study grew: with evaluations, with time, and with training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.comparison.statistics import Array, top_so_far

TOP_COUNTS = (1, 5, 15)
"""How many of the best different children are averaged: those of Zoph & Le 2017, figure 6."""

# What study/loop.py and study/rules.py call an end after which more budget would not have helped,
# or not have been used.
_EXHAUSTED, _REACHED = "the space is exhausted", "target_reward="


@dataclass(frozen=True)
class Progress:
    """The evaluations of one study in the order they were recorded. E = evaluations.

    Attributes:
        rewards_E: NaN where an evaluation has none.
        trained_rewards_E: NaN also where it is that of an earlier evaluation, used again.
        children_E: the hash of the genotype of each.
        best_E: the best reward so far, of a child that was trained several times the mean; NaN
            before the first.
        elapsed_s_E: seconds the study had run when each was recorded, pauses left out.
        trained_s_E: seconds its children had trained by then, all together; a child on several
            devices counts for each of them.
        elapsed_s: seconds it has run.
        trained_s: seconds its children have trained, likewise.
        is_final: its best reward stands for any larger budget: the space was exhausted, or the
            reward that was asked for was reached.
        is_exhausted: the former: it has no further children either.
    """

    rewards_E: Array
    trained_rewards_E: Array
    children_E: tuple[str, ...]
    best_E: Array
    elapsed_s_E: Array
    trained_s_E: Array
    elapsed_s: float
    trained_s: float
    is_final: bool
    is_exhausted: bool

    @property
    def num_evaluations(self) -> int:
        """E."""
        return len(self.rewards_E)

    @property
    def has_reward(self) -> bool:
        """Whether any evaluation has a reward."""
        return bool(np.isfinite(self.rewards_E).any())

    @cached_property
    def tops_E(self) -> Mapping[int, Array]:
        """Of the best 1, 5 and 15 different children so far the mean reward; NaN before them."""
        return {n: top_so_far(self.trained_rewards_E, self.children_E, n) for n in TOP_COUNTS}

    def has_top(self, count: int) -> bool:
        """Whether so many different children have a reward."""
        return bool(np.isfinite(self.tops_E[count]).any())

    def known_from(self, count: int) -> int:
        """The number of evaluations after which so many different children have a reward."""
        return int(np.argmax(np.isfinite(self.tops_E[count]))) + 1

    def known_until(self, count: int) -> float:
        """The largest budget at which it is known what the best ``count`` children are."""
        stands = self.is_final if count == 1 else self.is_exhausted
        return float("inf") if stands else self.num_evaluations

    def best_after(self, num_evaluations: int, count: int = 1) -> float | None:
        """The mean reward of the best different children of the first so many evaluations.

        None where there were fewer evaluations, and more could have followed; NaN where fewer
        than ``count`` different children have a reward.

        Args:
            num_evaluations: the budget.
            count: one of ``TOP_COUNTS``.
        """
        if num_evaluations > self.known_until(count):
            return None
        top_E = self.tops_E[count][:num_evaluations]
        return float(top_E[-1]) if len(top_E) else float("nan")


def progress(study: RecordedStudy) -> Progress:
    """The progress of a study; of one that runs, so far."""
    recorded = study.recorded
    devices = study.config["trainer"].get("devices")
    num_devices = devices if type(devices) is int and devices > 1 else 1
    trained_s = num_devices * np.cumsum([_cost_s(child) for child in recorded])
    chosen = [place for place, child in enumerate(recorded) if child.is_evaluation]
    rewards_E = np.array([_reward(recorded[place]) for place in chosen], dtype=np.float64)
    children_E = tuple(recorded[place].proposal.hash for place in chosen)
    is_reused_E = np.array([_is_reused(recorded[place]) for place in chosen], dtype=bool)
    trained_rewards_E = np.where(is_reused_E, np.nan, rewards_E)
    elapsed_s = [elapsed(study.sessions, recorded[place].ended_s or 0.0) for place in chosen]
    return Progress(
        rewards_E=rewards_E,
        trained_rewards_E=trained_rewards_E,
        children_E=children_E,
        best_E=top_so_far(trained_rewards_E, children_E, 1),
        elapsed_s_E=np.array(elapsed_s, dtype=np.float64),
        trained_s_E=trained_s[chosen] if chosen else np.zeros(0),
        elapsed_s=elapsed(study.sessions, study.sessions[-1][1]),
        trained_s=float(trained_s[-1]) if len(trained_s) else 0.0,
        is_final=(study.reason or "").startswith((_EXHAUSTED, _REACHED)),
        is_exhausted=(study.reason or "").startswith(_EXHAUSTED),
    )


def elapsed(sessions: Sequence[tuple[float, float]], time_s: float) -> float:
    """Seconds a study had run at this Unix time, in all its sessions together."""
    return sum(max(0.0, min(time_s, last) - first) for first, last in sessions)


def _reward(child: RecordedChild) -> float:
    assert child.outcome is not None
    return float("nan") if child.outcome.reward is None else child.outcome.reward


def _is_reused(child: RecordedChild) -> bool:
    assert child.outcome is not None
    return child.outcome.reused_from is not None


def _cost_s(child: RecordedChild) -> float:
    assert child.outcome is not None
    return child.outcome.cost_s
