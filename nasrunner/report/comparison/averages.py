"""Best-so-far curves of several studies, averaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nasrunner.report.comparison.groups import Group
from nasrunner.report.comparison.progress import Progress
from nasrunner.report.comparison.statistics import Array, mean_and_error, share_above, stepped

Axis = Literal["evaluations", "elapsed_s", "trained_s"]
"""What the best reward is drawn against."""


@dataclass(frozen=True)
class Average:
    """The mean of best-so-far curves; each value holds until the next place. X = places.

    P are the places of one study.

    Attributes:
        places_X: where the mean changes, ascending; the last is the end of the longest study.
        mean_X: NaN while one of the studies has no reward yet.
        error_X: standard error of the mean; NaN for one study.
        whole_until: the end of the shortest study. Beyond it the last best of those that ended
            counts on, so that the mean is a lower bound; infinite where none of them had more
            to find.
    """

    places_X: Array
    mean_X: Array
    error_X: Array
    whole_until: float


def average(group: Group, axis: Axis) -> Average:
    """Returns the mean over the studies of a group that have a reward; at least one has."""
    studies = group.rewarded
    steps = [_steps(study, axis) for study in studies]
    ends = [_end(study, axis) for study in studies]
    changes = [places_P[_is_other(best_P)] for places_P, best_P in steps]
    places_X = np.unique(np.concatenate([*changes, ends]))
    values_SX = np.stack([stepped(*each, places_X) for each in steps])
    mean_X, error_X = mean_and_error(values_SX)
    open_ends = [end for end, s in zip(ends, studies, strict=True) if not s.is_final]
    return Average(places_X, mean_X, error_X, min(open_ends, default=np.inf))


def shares(group: Group, thresholds_T: Array) -> tuple[Array, Array]:
    """Returns the share of evaluations above thresholds: mean over a group's studies, and its
    error.
    """
    spent = [study for study in group.progress if study.num_evaluations]
    return mean_and_error(np.stack([share_above(s.rewards_E, thresholds_T) for s in spent]))


def thresholds(groups: Sequence[Group], count: int) -> Array:
    """Returns rewards from the worst but a few to the best; equal ones where there is only one."""
    rewards = np.concatenate([study.rewards_E for g in groups for study in g.progress])
    rewards = rewards[np.isfinite(rewards)]
    low, tenth, high = np.quantile(rewards, [0.0, 0.1, 1.0])
    # A tail of a few bad children would press all the others together.
    start = low if tenth - low <= high - tenth else tenth - 0.25 * (high - tenth)
    return np.linspace(start, high, count)


def _is_other(best_P: Array) -> NDArray[np.bool_]:
    """Where the best reward so far changes: it grows, or the best child is trained again."""
    known_P = np.where(np.isnan(best_P), -np.inf, best_P)
    return np.not_equal(known_P, np.concatenate(([-np.inf], known_P[:-1])))


def _steps(study: Progress, axis: Axis) -> tuple[Array, Array]:
    """Places on an axis, and the best reward from each of them on."""
    match axis:
        case "evaluations":
            return np.arange(1.0, study.num_evaluations + 1), study.best_E
        case "elapsed_s":
            return study.elapsed_s_T, study.best_T
        case "trained_s":
            return study.trained_s_T, study.best_T


def _end(study: Progress, axis: Axis) -> float:
    match axis:
        case "evaluations":
            return float(study.num_evaluations)
        case "elapsed_s":
            return study.elapsed_s
        case "trained_s":
            return study.trained_s
