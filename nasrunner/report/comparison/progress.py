"""How the best reward of one study grew: with evaluations, with time, and with training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nasrunner.core.ledger.ranking import Ranking
from nasrunner.core.records import MEASURED, Outcome
from nasrunner.recorded import RecordedChild, RecordedStudy
from nasrunner.report.comparison.statistics import Array
from nasrunner.report.study.evaluations import evaluations

TOP_COUNTS = (1, 5, 15)
"""How many of the best different children are averaged: those of Zoph & Le 2017, figure 6."""

# What study/proposals/budget.py and study/rules.py call an end after which more budget would not
# have helped, or not have been used.
_EXHAUSTED, _REACHED = "the space is exhausted", "target_reward="


@dataclass(frozen=True)
class Progress:
    """The evaluations of one study in the order they were recorded.

    E = evaluations, T = trainings: these are more where evaluations go on with one another.

    Attributes:
        rewards_E: of each evaluation when it was trained to its end; NaN where it has none.
        tops_T: of the best 1, 5 and 15 different children so far the mean reward, of a child that
            was trained several times its mean; NaN before them.
        ends_E: the last training that was recorded before the next evaluation.
        elapsed_s_T: seconds the study had run when each was recorded, pauses left out.
        trained_s_T: seconds its children had trained by then, all together; a child on several
            devices counts for each of them, and so does what is no child.
        elapsed_s: seconds it has run.
        trained_s: seconds its children have trained, likewise.
        is_final: its best reward stands for any larger budget: the space was exhausted, or the
            reward that was asked for was reached.
        is_exhausted: the former: it has no further children either.
    """

    rewards_E: Array
    tops_T: Mapping[int, Array]
    ends_E: NDArray[np.int64]
    elapsed_s_T: Array
    trained_s_T: Array
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
        """What ``tops_T`` was before the next evaluation was recorded."""
        return {count: top_T[self.ends_E] for count, top_T in self.tops_T.items()}

    @property
    def best_T(self) -> Array:
        """The best reward so far; NaN before the first."""
        return self.tops_T[1]

    @property
    def best_E(self) -> Array:
        """The best reward that was known before the next evaluation was recorded."""
        return self.tops_E[1]

    def has_top(self, count: int) -> bool:
        """Tells whether so many different children have a reward."""
        return bool(np.isfinite(self.tops_E[count]).any())

    def known_from(self, count: int) -> int:
        """Returns the number of evaluations after which so many different children have a
        reward.
        """
        return int(np.argmax(np.isfinite(self.tops_E[count]))) + 1

    def known_until(self, count: int) -> float:
        """Returns the largest budget at which it is known what the best ``count`` children are."""
        stands = self.is_final if count == 1 else self.is_exhausted
        return float("inf") if stands else self.num_evaluations

    def best_after(self, num_evaluations: int, count: int = 1) -> float | None:
        """Returns the mean reward of the best different children of the first so many evaluations.

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


def progress(study: RecordedStudy, *, is_full: bool = False) -> Progress:
    """Returns the progress of a study; of one that runs, so far.

    Args:
        study: the one.
        is_full: rewards are of trainings to the end alone, also where there is none.
    """
    compares = (lambda outcome: outcome.is_full) if is_full else study.compares
    devices = study.config["trainer"].get("devices")
    num_devices = devices if type(devices) is int and devices > 1 else 1
    spent: dict[int, float] = {}
    for outcome in study.state.history.outcomes:
        before_s = next(reversed(spent.values()), 0.0)
        spent[outcome.proposal.index] = before_s + num_devices * outcome.cost_s
    trainings = [child for child in study.trainings if _is_training(child)]
    numbers_T = np.cumsum([child.is_evaluation for child in trainings], dtype=np.int64)
    num_evaluations = int(numbers_T[-1]) if trainings else 0
    elapsed_s = [elapsed(study.sessions, child.ended_s or 0.0) for child in trainings]
    return Progress(
        rewards_E=np.array(_rewards(study, compares), dtype=np.float64),
        tops_T=_means_of_best(trainings, compares),
        ends_E=np.searchsorted(numbers_T, np.arange(1, num_evaluations + 1), side="right") - 1,
        elapsed_s_T=np.array(elapsed_s, dtype=np.float64),
        trained_s_T=np.array([spent[child.proposal.index] for child in trainings]),
        elapsed_s=elapsed(study.sessions, study.sessions[-1][1]),
        trained_s=next(reversed(spent.values()), 0.0),
        is_final=(study.reason or "").startswith((_EXHAUSTED, _REACHED)),
        is_exhausted=(study.reason or "").startswith(_EXHAUSTED),
    )


def elapsed(sessions: Sequence[tuple[float, float]], time_s: float) -> float:
    """Returns seconds a study had run at this Unix time, in all its sessions together."""
    return sum(max(0.0, min(time_s, last) - first) for first, last in sessions)


def _is_training(child: RecordedChild) -> bool:
    """Whether it is an evaluation, or goes on with one."""
    return child.outcome is not None and child.outcome.status in (*MEASURED, "failed")


def _rewards(study: RecordedStudy, compares: Callable[[Outcome], bool]) -> list[float]:
    spent = [each for each in evaluations(study) if not each.is_copy]
    known = [each.has_reward and compares(each.outcome) for each in spent]
    return [e.reward if is_ else float("nan") for e, is_ in zip(spent, known, strict=True)]


def _means_of_best(
    trainings: Sequence[RecordedChild], compares: Callable[[Outcome], bool]
) -> dict[int, Array]:
    """Of the best different children after each training the mean reward.

    Zoph & Le 2017 (arXiv:1611.01578), figure 6.
    """
    ranking = Ranking()
    found: dict[int, list[float]] = {count: [] for count in TOP_COUNTS}
    for child in trainings:
        if child.outcome is not None and compares(child.outcome):
            ranking.add(child.outcome)
        for count, means in found.items():
            mean = ranking.mean_of_best(count)
            means.append(float("nan") if mean is None else mean)
    return {count: np.array(means, dtype=np.float64) for count, means in found.items()}
