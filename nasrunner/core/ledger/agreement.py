"""How alike two rankings of the same children are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasrunner.core.records import Outcome, Proposal

LEVEL = "level"
"""The note of a proposal that says which level of a search it is of: 1, 2, …"""

ROUND = "round"
"""The note that says which time such a level is searched; only at the first, which is 1, was the
reward predicted by what levels before have told alone."""


@dataclass(frozen=True)
class PredictedLevel:
    """Children of one level, whose rewards were predicted from those of earlier levels.

    Attributes:
        level: 2, 3, …
        num_children: how many of it have both.
        rank_correlation: Spearman's ρ of the two; None where it is not defined.
        kendalls_tau: Kendall's τ-b of the two; None likewise.
    """

    level: int
    num_children: int
    rank_correlation: float | None
    kendalls_tau: float | None


class Predictions:
    """Children that were trained after their rewards were predicted.

    Attributes:
        pairs: the prediction and the reward of each, in the order they were recorded.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[float, float]] = []
        self._of_level: dict[int, list[tuple[float, float]]] = {}

    def add(self, outcome: Outcome) -> None:
        """Takes the next outcome; others than those of whole trainings say nothing of rewards."""
        predicted, reward = outcome.proposal.predicted, outcome.reward
        if predicted is None or reward is None or outcome.reused_from is not None:
            return
        if outcome.is_full:
            self.pairs.append((predicted, reward))
            if (level := _first_seen(outcome.proposal)) is not None:
                self._of_level.setdefault(level, []).append((predicted, reward))

    @property
    def correlation(self) -> float | None:
        """Spearman's ρ of predictions and rewards; None where it is not defined."""
        return rank_correlation(*zip(*self.pairs, strict=True)) if self.pairs else None

    @property
    def levels(self) -> list[PredictedLevel]:
        """How well each level of a progressive search was predicted by those before it."""
        return [
            PredictedLevel(
                level,
                len(pairs),
                rank_correlation(*zip(*pairs, strict=True)),
                kendalls_tau(*zip(*pairs, strict=True)),
            )
            for level, pairs in sorted(self._of_level.items())
        ]


def _first_seen(proposal: Proposal) -> int | None:
    """The level of a proposal that was predicted from levels before; None: it is of none."""
    level = proposal.notes.get(LEVEL)
    return int(level) if level is not None and proposal.notes.get(ROUND, 1) == 1 else None


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Returns Spearman's ρ, equal values sharing their mean rank; None where either is the same for
    all.
    """
    ranks = [mean_ranks(np.asarray(values, dtype=float)) for values in (one, other)]
    centred = [each - each.mean() for each in ranks]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(centred[0] @ centred[1]) / scale if scale > 0 else None


def kendalls_tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Returns Kendall's τ-b; None where either is the same for all. Kendall 1945,
    doi:10.2307/2332303.
    """
    ranks = [mean_ranks(np.asarray(values, dtype=float)) for values in (one, other)]
    signs = [np.sign(each[:, None] - each[None, :]) for each in ranks]
    scale = float(np.sqrt(np.square(signs[0]).sum() * np.square(signs[1]).sum()))
    return float((signs[0] * signs[1]).sum()) / scale if scale > 0 else None


def mean_ranks(values_N: np.ndarray) -> np.ndarray:
    """Returns ranks (N,) from 0 on, equal values sharing the mean of theirs."""
    ordered_N = np.sort(values_N)
    num_below, num_up_to = (ordered_N.searchsorted(values_N, side) for side in ("left", "right"))
    ranks_N: np.ndarray = (num_below + num_up_to - 1) / 2
    return ranks_N
