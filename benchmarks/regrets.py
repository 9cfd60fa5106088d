"""Prints what two searchers have found, seed by seed, against the best that is known."""

from collections.abc import Sequence

import numpy as np

# S = seeds, B = budgets, K = networks that were trained again, R = repetitions

NUM_RESAMPLES = 10_000


def report(
    title: str, budgets: Sequence[int], best: float, before_SB: np.ndarray, after_SB: np.ndarray
) -> None:
    """Prints the mean regrets of both, their ratio and difference, and who was ahead.

    Args:
        title: the table's.
        budgets: after so many children.
        best: the reward without regret.
        before_SB: rewards of the searches by genotypes alone.
        after_SB: those of the searches that see networks, of the same seeds.
    """
    print(f"| {title} | {' | '.join(map(str, budgets))} |\n|{'---|' * (len(budgets) + 1)}")
    regrets = [best - each_SB for each_SB in (before_SB, after_SB)]
    for name, regrets_SB in zip(("genotypes", "networks, too"), regrets, strict=True):
        errors_B = regrets_SB.std(axis=0, ddof=1) / np.sqrt(len(regrets_SB))
        cells = [
            f"{m:.3f} ± {e:.3f}" for m, e in zip(regrets_SB.mean(axis=0), errors_B, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    columns = list(zip(*(each_SB.T for each_SB in regrets), strict=True))
    print(f"| ratio | {' | '.join(_ratio(*column) for column in columns)} |")
    print(f"| difference | {' | '.join(_difference(*column) for column in columns)} |")
    signs_SB = np.sign(after_SB - before_SB)
    cells = [" / ".join(str((each == sign).sum()) for sign in (1, 0, -1)) for each in signs_SB.T]
    print(f"| ahead / level / behind | {' | '.join(cells)} |\n")


def best_mean(rewards_KR: np.ndarray) -> float:
    """The mean reward of the best network, without the luck of being taken for the best.

    Each repetition measures the network that has the highest mean of the others.
    """
    return float(np.mean([rewards_KR[np.argmax(known_K), r] for r, known_K in _others(rewards_KR)]))


def spread(rewards_KR: np.ndarray) -> float:
    """Standard deviation of a training among those of one network, pooled over networks."""
    return float(np.sqrt(rewards_KR.var(axis=1, ddof=1).mean()))


def informed(rewards_KR: np.ndarray, budget: int) -> np.ndarray:
    """The best reward (R,) of a searcher that knows all means, and trains the best of them once.

    What it knows of a network is the mean of the other repetitions.
    """
    chosen = ((r, np.argsort(-known_K)[:budget]) for r, known_K in _others(rewards_KR))
    return np.array([rewards_KR[places, r].max() for r, places in chosen])


def _others(rewards_KR: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each repetition, and the mean of all others."""
    num_repetitions = rewards_KR.shape[1]
    total_K = rewards_KR.sum(axis=1)
    return [
        (r, (total_K - rewards_KR[:, r]) / (num_repetitions - 1)) for r in range(num_repetitions)
    ]


def _resamples(num_seeds: int) -> np.ndarray:
    return np.random.default_rng(0).integers(num_seeds, size=(NUM_RESAMPLES, num_seeds))


def _ratio(before_S: np.ndarray, after_S: np.ndarray) -> str:
    """The ratio of two means and its interval, which is open where the first may be 0."""
    if not before_S.any():
        return "–"
    drawn = _resamples(len(before_S))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num(after_S[drawn].mean(axis=1) / before_S[drawn].mean(axis=1), nan=1.0)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return f"{after_S.mean() / before_S.mean():.2f} [{low:.2f}, {high:.2f}]"


def _difference(before_S: np.ndarray, after_S: np.ndarray) -> str:
    """How much less regret there is, and its interval."""
    less_S = before_S - after_S
    low, high = np.percentile(less_S[_resamples(len(less_S))].mean(axis=1), [2.5, 97.5])
    return f"{less_S.mean():.3f} [{low:.3f}, {high:.3f}]"
