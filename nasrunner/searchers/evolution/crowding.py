"""How good members of a population are by several objectives: their fronts, and crowding.

Deb et al. 2002 (NSGA-II), doi:10.1109/4235.996017, sections III and VI.
"""

import math
from collections.abc import Sequence

import numpy as np

# P = members, M = objectives

Quality = tuple[float, float]
"""Minus the number of the front, and the crowding distance: higher is better."""


def qualities(scores: Sequence[Sequence[float]], excesses: Sequence[float]) -> list[Quality]:
    """Ranks members by constrained domination and crowding, as tuples to compare.

    Members within all limits come before others, front by front; the others by how far they are
    beyond.

    Args:
        scores: (P, M), higher is better in each objective.
        excesses: (P,), how far each is beyond limits; 0: it is within all.
    """
    scores_PM, excess_P = np.array(scores, float), np.array(excesses, float)
    ranks_P = np.zeros(len(scores_PM), int)
    within_P = excess_P == 0
    if within_P.any():
        ranks_P[within_P] = front_numbers(scores_PM[within_P])
    if not within_P.all():
        _, places = np.unique(excess_P[~within_P], return_inverse=True)
        ranks_P[~within_P] = places + (ranks_P[within_P].max() + 1 if within_P.any() else 0)
    distances_P = np.zeros(len(scores_PM))
    for rank in np.unique(ranks_P):
        of_rank_P = ranks_P == rank
        distances_P[of_rank_P] = crowding_distances(scores_PM[of_rank_P])
    return list(zip((-ranks_P).tolist(), distances_P.tolist(), strict=True))


def front_numbers(scores_PM: np.ndarray) -> np.ndarray:
    """Returns the front of each member, 0 for those that no other dominates (P,)."""
    one_PPM, other_PPM = scores_PM[:, None], scores_PM[None]
    dominates_PP = (one_PPM >= other_PPM).all(-1) & (one_PPM > other_PPM).any(-1)
    fronts_P = np.full(len(scores_PM), -1)
    number = 0
    while (fronts_P < 0).any():
        left_P = fronts_P < 0
        free_P = left_P & ~(dominates_PP & left_P[:, None]).any(0)
        fronts_P[free_P] = number
        number += 1
    return fronts_P


def crowding_distances(scores_PM: np.ndarray) -> np.ndarray:
    """Returns how far the neighbours of each member of one front are apart (P,).

    The sum over objectives of the difference between the next better and the next worse value, in
    units of the range; infinite for the best and the worst of an objective.
    """
    distances_P = np.zeros(len(scores_PM))
    for values_P in scores_PM.T:
        order = np.argsort(values_P, kind="stable")
        span = values_P[order[-1]] - values_P[order[0]]
        if not span:
            continue
        distances_P[order[[0, -1]]] = math.inf
        distances_P[order[1:-1]] += (values_P[order[2:]] - values_P[order[:-2]]) / span
    return distances_P
