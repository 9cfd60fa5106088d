"""Acquisitions: how much each candidate is worth evaluating, from what a surrogate predicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np

from nasrunner.core.annotations import Within

# C = candidates


class Acquisition(Protocol):
    """Scores candidates; the one with the highest score is proposed."""

    def __call__(
        self, mean_C: np.ndarray, std_C: np.ndarray, best: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Scores (C,), in any unit.

        Args:
            mean_C: predicted reward of each candidate.
            std_C: standard deviation of that prediction; zeros where the surrogate has none.
            best: the highest reward recorded, in the unit of the predictions.
            rng: the stream of this proposal.
        """


@dataclass(frozen=True)
class ExploreGreedy:
    """The highest prediction, or now and then a candidate at random.

    The rule of DeepArchitect's SMBO. Negrinho & Gordon 2017, arXiv:1704.08792, section 5.4.

    Args:
        exploration: probability of the random candidate, in [0, 1]; 0.25 in the authors' code, the
            paper names none.
    """

    exploration: Annotated[float, Within("[0, 1]")]

    def __call__(
        self, mean_C: np.ndarray, std_C: np.ndarray, best: float, rng: np.random.Generator
    ) -> np.ndarray:
        explores = rng.random() < self.exploration
        return rng.random(len(mean_C)) if explores else mean_C


@dataclass(frozen=True)
class ExpectedImprovement:
    """How far a candidate is expected to exceed the best reward, counting shortfalls as zero.

    E[max(0, y - best)] for y ~ N(mean, std²). Jones, Schonlau & Welch 1998, eq. 15.
    """

    def __call__(
        self, mean_C: np.ndarray, std_C: np.ndarray, best: float, rng: np.random.Generator
    ) -> np.ndarray:
        std_C = np.maximum(std_C, 1e-12)
        z_C = (mean_C - best) / std_C
        density_C = np.exp(-0.5 * z_C**2) / math.sqrt(2 * math.pi)
        # erfc keeps its digits far below the best, where 1 + erf would be zero for all alike.
        probability_C = 0.5 * np.array([math.erfc(-z / math.sqrt(2)) for z in z_C])
        improvement_C: np.ndarray = std_C * (z_C * probability_C + density_C)
        return improvement_C


@dataclass(frozen=True)
class ThompsonSampling:
    """A draw from the prediction of each candidate, independently of the others.

    Independent Thompson sampling as BANANAS has it. White et al. 2019, arXiv:1910.11858, sec. 3.
    """

    def __call__(
        self, mean_C: np.ndarray, std_C: np.ndarray, best: float, rng: np.random.Generator
    ) -> np.ndarray:
        return rng.normal(mean_C, std_C)


@dataclass(frozen=True)
class Portfolio:
    """One of several acquisitions for each proposal, drawn with equal probability.

    Expected improvement finds good children early and is then slow to leave them; Thompson
    sampling is the other way round. Hoffman, Brochu & de Freitas 2011, arXiv:1009.5419, draw from
    a portfolio too.

    Args:
        acquisitions: what is drawn from, at least one.

    Raises:
        ValueError: there is no acquisition.

    Differs from the paper: the probabilities stay equal instead of following past gains, which
    would make a proposal depend on what the others of the portfolio would have proposed.
    """

    acquisitions: Sequence[Acquisition]

    def __post_init__(self) -> None:
        if not self.acquisitions:
            raise ValueError("acquisition.acquisitions must hold at least one, got []")

    def __call__(
        self, mean_C: np.ndarray, std_C: np.ndarray, best: float, rng: np.random.Generator
    ) -> np.ndarray:
        acquisition = self.acquisitions[int(rng.integers(len(self.acquisitions)))]
        return acquisition(mean_C, std_C, best, rng)
