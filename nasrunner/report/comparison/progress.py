"""How the best reward of one study grew: with evaluations, with time, and with training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.comparison.statistics import Array, best_so_far

# What study.py and rules.py call an end after which more budget would not have helped, or not
# have been used.
_FINAL_REASONS = ("the space is exhausted", "target_reward=")


@dataclass(frozen=True)
class Progress:
    """The evaluations of one study in the order they were recorded. E = evaluations.

    Attributes:
        rewards_E: NaN where an evaluation has none.
        best_E: the best reward so far; NaN before the first.
        elapsed_s_E: seconds the study had run when each was recorded, pauses left out.
        trained_s_E: seconds its children had trained by then, all together; a child on several
            devices counts for each of them.
        elapsed_s: seconds it has run.
        trained_s: seconds its children have trained, likewise.
        is_final: its best reward stands for any larger budget: the space was exhausted, or the
            reward that was asked for was reached.
    """

    rewards_E: Array
    best_E: Array
    elapsed_s_E: Array
    trained_s_E: Array
    elapsed_s: float
    trained_s: float
    is_final: bool

    @property
    def num_evaluations(self) -> int:
        """E."""
        return len(self.rewards_E)

    @property
    def has_reward(self) -> bool:
        """Whether any evaluation has a reward."""
        return bool(np.isfinite(self.rewards_E).any())

    def best_after(self, num_evaluations: int) -> float | None:
        """The best reward of the first so many evaluations; NaN: none of them has one.

        None where there were fewer, and more could have followed.
        """
        if num_evaluations > self.num_evaluations and not self.is_final:
            return None
        best_E = self.best_E[:num_evaluations]
        return float(best_E[-1]) if len(best_E) else float("nan")


def progress(study: RecordedStudy) -> Progress:
    """The progress of a study; of one that runs, so far."""
    recorded = study.recorded
    devices = study.config["trainer"].get("devices")
    num_devices = devices if type(devices) is int and devices > 1 else 1
    trained_s = num_devices * np.cumsum([_cost_s(child) for child in recorded])
    chosen = [place for place, child in enumerate(recorded) if child.is_evaluation]
    rewards_E = np.array([_reward(recorded[place]) for place in chosen], dtype=np.float64)
    elapsed_s = [elapsed(study.sessions, recorded[place].ended_s or 0.0) for place in chosen]
    return Progress(
        rewards_E=rewards_E,
        best_E=best_so_far(rewards_E),
        elapsed_s_E=np.array(elapsed_s, dtype=np.float64),
        trained_s_E=trained_s[chosen] if chosen else np.zeros(0),
        elapsed_s=elapsed(study.sessions, study.sessions[-1][1]),
        trained_s=float(trained_s[-1]) if len(trained_s) else 0.0,
        is_final=(study.reason or "").startswith(_FINAL_REASONS),
    )


def elapsed(sessions: Sequence[tuple[float, float]], time_s: float) -> float:
    """Seconds a study had run at this Unix time, in all its sessions together."""
    return sum(max(0.0, min(time_s, last) - first) for first, last in sessions)


def _reward(child: RecordedChild) -> float:
    assert child.outcome is not None
    return float("nan") if child.outcome.reward is None else child.outcome.reward


def _cost_s(child: RecordedChild) -> float:
    assert child.outcome is not None
    return child.outcome.cost_s
