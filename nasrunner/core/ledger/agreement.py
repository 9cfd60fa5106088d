"""How alike two rankings of the same children are."""

from collections.abc import Sequence

import numpy as np

from nasrunner.core.records import Outcome


class Predictions:
    """Children that were trained after their rewards were predicted.

    Attributes:
        pairs: the prediction and the reward of each, in the order they were recorded.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[float, float]] = []

    def add(self, outcome: Outcome) -> None:
        """Takes the next outcome; others than those of whole trainings say nothing of rewards."""
        predicted, reward = outcome.proposal.predicted, outcome.reward
        if predicted is None or reward is None or outcome.reused_from is not None:
            return
        if outcome.is_full:
            self.pairs.append((predicted, reward))

    @property
    def correlation(self) -> float | None:
        """Spearman's ρ of predictions and rewards; None where it is not defined."""
        return rank_correlation(*zip(*self.pairs, strict=True)) if self.pairs else None


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's ρ, equal values sharing their mean rank; None where either is the same for all."""
    ranks = [mean_ranks(np.asarray(values, dtype=float)) for values in (one, other)]
    centred = [each - each.mean() for each in ranks]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(centred[0] @ centred[1]) / scale if scale > 0 else None


def mean_ranks(values_N: np.ndarray) -> np.ndarray:
    """Ranks (N,) from 0 on, equal values sharing the mean of theirs."""
    ordered_N = np.sort(values_N)
    num_below, num_up_to = (ordered_N.searchsorted(values_N, side) for side in ("left", "right"))
    ranks_N: np.ndarray = (num_below + num_up_to - 1) / 2
    return ranks_N
