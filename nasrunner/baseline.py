"""A second search beside a study, with the same budget in the same workers, to compare it with."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasrunner.core.ports import BaselineComparison, Executor, Summary
from nasrunner.core.records import Outcome
from nasrunner.study import Study

_NUM_RESAMPLES = 2000


class SideBySide:
    """Runs a study and its baseline, which never gets ahead by more than the child it is owed.

    Args:
        study: what the user asked for.
        baseline: the same space, children and rules with another searcher and ledger.
        executor: the workers of both.
    """

    def __init__(self, study: Study, baseline: Study, executor: Executor) -> None:
        self.study = study
        self.baseline = baseline
        self.executor = executor

    def stop(self, reason: str) -> None:
        """Proposes nothing more; ``run`` returns when the running children have ended."""
        self.study.stop(reason)
        self.baseline.stop(reason)

    def run(self) -> Summary:
        """Runs both to the end of the study's budget; returns the study's summary.

        Raises:
            LedgerError: as of ``Study.run``, of either.
            ConfigError: the rehearsal found what would make every child fail.
        """
        self.study.replay()
        self.baseline.replay()
        self.study.rehearse()
        self.study.open()
        self.baseline.open()
        while True:
            while self._propose():
                pass
            if not (self.study.is_waiting or self.baseline.is_waiting):
                break
            for outcome in self.executor.wait():
                owner = self.study if self.study.owns(outcome) else self.baseline
                owner.take(outcome)
        self.baseline.stop("it has as many children as the study")
        self.baseline.close()
        return self.study.close(self._comparison())

    def _propose(self) -> bool:
        """One child of the search that is behind; of the study where they are even."""
        if self.baseline.num_committed < self.study.num_committed and self.baseline.propose():
            return True
        return self.study.propose()

    def _comparison(self) -> BaselineComparison:
        name = type(self.baseline.searcher).__name__
        return compare(name, self.study.history.outcomes, self.baseline.history.outcomes)


def compare(name: str, mine: Sequence[Outcome], theirs: Sequence[Outcome]) -> BaselineComparison:
    """A study's outcomes against those of its baseline.

    Args:
        name: the baseline's searcher.
        mine: of the study, in any order.
        theirs: of the baseline.
    """
    first, second = _rewards(mine), _rewards(theirs)
    return BaselineComparison(
        name=name,
        num_children=(_num_evaluations(mine), _num_evaluations(theirs)),
        best=difference_of_top(first, second, 1),
        top_5=difference_of_top(first, second, 5),
    )


def difference_of_top(
    first: NDArray[np.float64], second: NDArray[np.float64], count: int
) -> tuple[float, float, float] | None:
    """How much better the mean of the first search's best is, with its 95 % interval.

    Zoph & Le 2017 compare with random search like this, with the best 1, 5 and 15 different
    children. The interval is that of the percentile bootstrap over children (Efron & Tibshirani
    1993, chapter 13).

    Args:
        first: rewards of one search's different children; -inf for those without one.
        second: those of the other.
        count: how many of the best of each to average.

    Returns:
        (difference, low, high); None where a search has fewer than ``count`` rewards.
    """
    if min(np.isfinite(first).sum(), np.isfinite(second).sum()) < count:
        return None
    rng = np.random.default_rng(0)  # the same summary for the same children

    def resampled(rewards: NDArray[np.float64]) -> float:
        return _top(rewards[rng.integers(len(rewards), size=len(rewards))], count)

    pairs = [(resampled(first), resampled(second)) for _ in range(_NUM_RESAMPLES)]
    differences = [mine - theirs for mine, theirs in pairs if np.isfinite([mine, theirs]).all()]
    low, high = np.quantile(differences, [0.025, 0.975])
    return _top(first, count) - _top(second, count), float(low), float(high)


def _top(rewards: NDArray[np.float64], count: int) -> float:
    return float(np.partition(rewards, -count)[-count:].mean())


def _rewards(outcomes: Sequence[Outcome]) -> NDArray[np.float64]:
    """The best reward of every different child; -inf for one that failed."""
    best: dict[str, float] = {}
    for outcome in outcomes:
        if outcome.is_evaluation:
            reward = -np.inf if outcome.reward is None else outcome.reward
            child = outcome.proposal.hash
            best[child] = max(reward, best.get(child, -np.inf))
    return np.array(list(best.values()))


def _num_evaluations(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.is_evaluation for outcome in outcomes)
