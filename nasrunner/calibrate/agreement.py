"""Kendall's τ and Spearman's ρ of a cheap ranking with the full one, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasrunner.calibrate.arguments import FEWEST
from nasrunner.core.ledger.agreement import rank_correlation

# N = children, P = parts

NUM_RESAMPLED = 2_000


@dataclass(frozen=True)
class PartScores:
    """What a cheap ranking says of some of the children, which are compared among themselves.

    Attributes:
        children: their positions among all.
        values: the score of each, higher is better.
    """

    children: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Agreement:
    """How alike two rankings are.

    Attributes:
        tau: Kendall's τ_b; NaN where either ranking has all alike.
        low: of its 95 % interval; NaN of fewer than ``FEWEST`` children, of which a bootstrap has
            too few samples that differ.
        high: likewise.
        rho: Spearman's ρ, the mean over the parts that have one; NaN where none has.
    """

    tau: float
    low: float
    high: float
    rho: float


def agreement(
    parts: Sequence[PartScores], rewards_N: np.ndarray, rng: np.random.Generator
) -> Agreement:
    """Compares scores with rewards.

    Pairs of one part are compared, for scores of several parts are of several predictors, which
    each were fitted to other children; a predictor that says the mean of what it was fitted to
    would else be found to rank children the wrong way round. In the interval's bootstrap children
    are drawn, and no child is compared with itself.

    Args:
        parts: the scores; a child may be in several.
        rewards_N: the full ranking.
        rng: draws the bootstrap's samples.
    """
    num_children = len(rewards_N)
    agreeing_NN, differing_NN, rewarded_NN = np.zeros((3, num_children, num_children))
    correlations = []
    for part in parts:
        values = np.asarray(part.values, dtype=float)
        places = np.ix_(part.children, part.children)
        by_score = np.sign(values[:, None] - values)
        own = rewards_N[list(part.children)]
        by_reward = np.sign(own[:, None] - own)
        agreeing_NN[places] += by_score * by_reward
        differing_NN[places] += np.abs(by_score)
        rewarded_NN[places] += np.abs(by_reward)
        if (rho := rank_correlation(values.tolist(), own.tolist())) is not None:
            correlations.append(rho)
    drawn = rng.integers(num_children, size=(NUM_RESAMPLED, num_children))
    weights = np.array([np.bincount(each, minlength=num_children) for each in drawn], dtype=float)
    weights = np.concatenate([np.ones((1, num_children)), weights])
    sums = [
        np.einsum("bi,bi->b", weights @ each_NN, weights)
        for each_NN in (agreeing_NN, differing_NN, rewarded_NN)
    ]
    scale = np.sqrt(sums[1] * sums[2])
    taus = np.divide(sums[0], scale, out=np.full(len(scale), np.nan), where=scale > 0)
    resampled = taus[1:][np.isfinite(taus[1:])]
    low = high = np.nan
    if len(resampled) and len({child for part in parts for child in part.children}) >= FEWEST:
        low, high = np.quantile(resampled, [0.025, 0.975])
    rho = float(np.mean(correlations)) if correlations else float("nan")
    return Agreement(float(taus[0]), float(low), float(high), rho)
