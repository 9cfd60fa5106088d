"""The architectures of a search by reward; one that was trained several times has the mean."""

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from nasrunner.core.records import Outcome


def mean_of(num_trainings: int, spread: float | None = None) -> str:
    """Returns what stands behind a reward that is a mean: " ± 0.012 (mean of 3)"."""
    if num_trainings < 2:
        return ""
    return f"{'' if spread is None else f' ± {spread:.2g}'} (mean of {num_trainings})"


@dataclass(frozen=True)
class Ranked:
    """An architecture that has a reward.

    Attributes:
        outcome: of its first training that has one.
        rewards: of all its evaluations that have one, in the order they were recorded.
        deviations: the standard deviation within each evaluation, of one training 0.
    """

    outcome: Outcome
    rewards: tuple[float, ...]
    deviations: tuple[float, ...]

    @property
    def reward(self) -> float:
        """The mean of its rewards."""
        return fmean(self.rewards)

    @property
    def num_trainings(self) -> int:
        """How many trainings that is the mean of; a reward may be a mean itself."""
        return len(self.rewards) * self._trainings_each

    @property
    def _trainings_each(self) -> int:
        return round(self.outcome.metrics.get("trainings", 1))

    @property
    def spread(self) -> float | None:
        """The standard deviation of its trainings' rewards; None: of one there is none."""
        if self.num_trainings < 2:
            return None
        each = self._trainings_each
        within = sum((each - 1) * deviation**2 for deviation in self.deviations)
        between = sum(each * (reward - self.reward) ** 2 for reward in self.rewards)
        return math.sqrt((within + between) / (self.num_trainings - 1))

    @property
    def index(self) -> int:
        """The number of the child it was first."""
        return self.outcome.proposal.index


class Ranking:
    """Every architecture with a reward, each once: what is called best anywhere is best here.

    The mean of n trainings favours nobody who repeats himself, as the best of n would.

    Args:
        outcomes: recorded ones, in their order.
    """

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._found: dict[str, Ranked] = {}
        self._places: list[tuple[float, int, str]] = []  # best first
        self._top: Ranked | None = None
        for outcome in outcomes:
            self.add(outcome)

    def add(self, outcome: Outcome) -> bool:
        """Takes the next outcome; returns whether it makes its architecture the best, or keeps it.

        One that repeats another's outcome without a training changes nothing.
        """
        reward, name = outcome.reward, outcome.proposal.architecture
        if reward is None or math.isnan(reward) or outcome.reused_from is not None:
            return False
        before = self._found.get(name, Ranked(outcome, (), ()))
        rewards = (*before.rewards, reward)
        deviations = (*before.deviations, outcome.metrics.get("reward_std", 0.0))
        now = Ranked(before.outcome, rewards, deviations)
        if before.rewards:
            del self._places[bisect.bisect_left(self._places, _place(before))]
        bisect.insort(self._places, _place(now))
        self._found[name] = now
        was_top = self._top is not None and self._top.outcome.proposal.architecture == name
        if self._top is None or (now.reward > self._top.reward and not was_top):
            self._top = now
        elif was_top:
            self._top = now if now.reward >= self._top.reward else self.best(1)[0]
        return self._top is now

    def top(self) -> Ranked | None:
        """Returns the best architecture; None while none has a reward."""
        return self._top

    def best(self, count: int) -> list[Ranked]:
        """Returns the best architectures, best first; of equal ones the first proposed."""
        return [self._found[name] for _, _, name in self._places[:count]]

    def mean_of_best(self, count: int) -> float | None:
        """Returns the mean reward of the best ``count`` architectures; None where there are
        fewer.
        """
        best = self.best(count)
        return fmean(each.reward for each in best) if len(best) == count else None


def _place(ranked: Ranked) -> tuple[float, int, str]:
    return -ranked.reward, ranked.index, ranked.outcome.proposal.architecture
