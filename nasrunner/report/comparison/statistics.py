"""What a comparison of searchers computes: best-so-far curves, intervals and differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

# E = evaluations, S = studies, X = places where a curve is looked at, T = thresholds
Array = NDArray[np.float64]

Seed = TypeVar("Seed", int, tuple[int, int])
"""What names a repetition of a search: its seed, or its study's and its searcher's."""

CONFIDENCE = 0.95
MIN_SEEDS = 5
"""For a verdict: fewer do not show whether rewards are anything like normally distributed."""

_ROUNDING = 1e-12
"""By how much of themselves numbers may differ that are equal but for rounding."""


def stepped(places_E: Array, values_E: Array, at_X: Array) -> Array:
    """Returns a curve that keeps each value until the next; NaN before its first place.

    Args:
        places_E: where it takes each value, in ascending order.
        values_E: the values.
        at_X: where it is looked at.
    """
    before_X = np.searchsorted(places_E, at_X, side="right")
    return np.concatenate(([np.nan], values_E))[before_X]


def share_above(rewards_E: Array, thresholds_T: Array) -> Array:
    """Returns the share of the evaluations with a reward of at least each threshold.

    DeepArchitect (arXiv:1704.08792), figure 6. One without a reward is below every threshold.
    """
    if not len(rewards_E):
        return np.full(len(thresholds_T), np.nan)
    ranked = np.sort(rewards_E[~np.isnan(rewards_E)])
    below_T = np.searchsorted(ranked, thresholds_T, side="left")
    return (len(ranked) - below_T) / len(rewards_E)


def mean_and_error(values_SX: Array) -> tuple[Array, Array]:
    """Returns the mean over studies and its standard error, with n − 1 in the standard deviation.

    Where one study has no value the mean is NaN: the mean of the others would be another
    quantity. The error of one study is NaN.
    """
    mean_X = values_SX.mean(axis=0)
    if len(values_SX) < 2:
        return mean_X, np.full_like(mean_X, np.nan)
    return mean_X, values_SX.std(axis=0, ddof=1) / math.sqrt(len(values_SX))


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: NaN where there is nothing to average.
        low: lower end; None where there is no interval: of fewer than two values, or of equal
            ones, which do not show how much others would vary.
        high: upper end, likewise.
    """

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """How much one searcher is ahead of another, alone: not corrected for other comparisons.

    Attributes:
        estimate: mean reward of the one minus that of the other.
        p: of the test whose interval this is: its level at which the interval just holds 0; where
            nothing varies, of Fisher's randomization test; None of fewer than two values.
        is_paired: it is the mean of the differences at seeds that both have.
        counts: seeds compared: (pairs, pairs), or the seeds of the one and of the other.
        num_ahead: pairs in which the one is ahead; None where there are no pairs.
        correlation: of the two at the seeds that both have; None where there are no three pairs,
            or one side is the same at all seeds.
    """

    estimate: Estimate
    p: float | None
    is_paired: bool
    counts: tuple[int, int]
    num_ahead: int | None
    correlation: float | None


@dataclass(frozen=True)
class Verdict:
    """What a difference comes to among all that are made with it.

    Attributes:
        text: what stands on the page.
        p: corrected for the number of verdicts; None where none is given.
    """

    text: Literal["ahead", "behind", "undecided", "too few seeds"]
    p: float | None


def estimate(values_S: Sequence[float] | Array) -> Estimate:
    """Returns the mean of independent values with its 95 % interval: Student's t.

    Equal values have none: it would have no width, as if other seeds could give nothing else.
    Of values that are about normal 95 % of the intervals hold the true mean, however few there
    are. Skewed ones make it fewer: of five values from an exponential distribution 88 %.
    Differences of two searchers at the same seeds are hardly skewed where the searchers are
    alike (``benchmarks/null_experiment.py``).
    """
    values = _levelled(np.asarray(values_S, dtype=np.float64))
    mean = float(values.mean()) if len(values) else math.nan
    if len(values) < 2:
        return Estimate(mean, None, None)
    return _estimate(mean, _squared_error(values), len(values) - 1)


def difference(one: Mapping[Seed, float], other: Mapping[Seed, float]) -> Difference:
    """Compares the values of two searchers, by seed where half of the seeds or more are in both.

    The mean of the differences at a seed has Student's interval, which is right whether or not
    values at the same seed are alike. Where searchers begin with the same proposals they are, at
    first: of random search and evolution (P=10) on NAS-Bench-Macro the correlation is 1.00 after
    10 evaluations, 0.33 after 25, 0.13 after 50 and 0.10 after 100. Pairs make the interval
    narrower where it is above 0.31 with 5 seeds, or above 0.14 with 10, and wider below, since
    half of the degrees of freedom are lost. Without pairs the interval is Welch's.

    Args:
        one: seed -> value.
        other: seed -> value of what it is compared with.
    """
    seeds = sorted(one.keys() & other.keys())
    if seeds and 2 * len(seeds) >= min(len(one), len(other)):
        return _paired(*(np.array([each[seed] for seed in seeds]) for each in (one, other)))
    left, right = (_levelled(np.array(list(values.values()))) for values in (one, other))
    counts = (len(left), len(right))
    mean = float(_gaps(left.mean(), right.mean())) if all(counts) else math.nan
    if min(counts) < 2:
        return Difference(Estimate(mean, None, None), None, False, counts, None, None)
    errors = [_squared_error(each) for each in (left, right)]
    degrees = _welch_degrees(errors, counts)
    found = _estimate(mean, sum(errors), degrees)
    num_splits = math.comb(sum(counts), counts[0])
    p = _p(mean, sum(errors), degrees, num_splits)
    return Difference(found, p, False, counts, None, None)


def verdicts(found: Sequence[Difference]) -> list[Verdict]:
    """Returns one for each difference, such that all of them together are wrong in 5 % of cases at
    most.

    Holm 1979, "A simple sequentially rejective multiple test procedure": where no searcher differs
    from its baseline, at least one is called ahead or behind in at most 5 % of cases. Differences
    without enough seeds have no verdict and are not counted.

    Args:
        found: all whose verdicts are read together.
    """
    tested = [place for place, each in enumerate(found) if has_verdict(each)]
    tested.sort(key=lambda place: found[place].p or 0.0)
    corrected: dict[int, float] = {}
    largest = 0.0
    for rank, place in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * (found[place].p or 0.0)))
        corrected[place] = largest
    return [_verdict(each, corrected.get(place)) for place, each in enumerate(found)]


def has_verdict(found: Difference) -> bool:
    """Tells whether there are enough seeds for one."""
    return found.p is not None and min(found.counts) >= MIN_SEEDS


def _verdict(found: Difference, p: float | None) -> Verdict:
    if p is None:
        return Verdict("too few seeds", None)
    if p > 1 - CONFIDENCE:
        return Verdict("undecided", p)
    return Verdict("ahead" if found.estimate.mean > 0 else "behind", p)


def _paired(one_S: Array, other_S: Array) -> Difference:
    # Of accuracies such as 330/360 − 327/360 and 297/360 − 294/360 rounding makes two gaps.
    largest = max(float(np.abs(one_S).max()), float(np.abs(other_S).max()))
    gaps_S = _levelled(_gaps(one_S, other_S), largest)
    found, size = estimate(gaps_S), len(gaps_S)
    p = _p(found.mean, _squared_error(gaps_S), size - 1, 2**size) if size > 1 else None
    is_varying = size > 2 and all(np.ptp(_levelled(each)) > 0 for each in (one_S, other_S))
    correlation = float(np.corrcoef(one_S, other_S)[0, 1]) if is_varying else None
    return Difference(found, p, True, (size, size), int((gaps_S > 0).sum()), correlation)


def _gaps(one_S: Array, other_S: Array) -> Array:
    """The differences; 0 where rounding made one: by adding up the same in another order."""
    gaps_S = one_S - other_S
    return np.where(np.isclose(one_S, other_S, rtol=_ROUNDING, atol=0), 0.0, gaps_S)


def _levelled(values_S: Array, largest: float | None = None) -> Array:
    """Makes values equal that differ by rounding alone.

    Args:
        values_S: what may differ so.
        largest: of the numbers that they were computed from; None: they are such themselves.
    """
    if not len(values_S):
        return values_S
    largest = float(np.abs(values_S).max()) if largest is None else largest
    is_level = np.ptp(values_S) <= _ROUNDING * largest
    return np.full_like(values_S, values_S.mean()) if is_level else values_S


def _squared_error(values_S: Array) -> float:
    """The square of the mean's standard error; 0 where all are equal, which its sum may hide."""
    return 0.0 if np.ptp(values_S) == 0 else float(values_S.var(ddof=1)) / len(values_S)


def _welch_degrees(errors: Sequence[float], counts: Sequence[int]) -> float:
    """Degrees of freedom of the difference of two means. Welch 1947, with Satterthwaite's sum."""
    if not any(errors):
        return min(counts) - 1.0
    shares = [error / sum(errors) for error in errors]
    return 1 / sum(share**2 / (n - 1) for share, n in zip(shares, counts, strict=True))


def _estimate(mean: float, squared_error: float, degrees: float) -> Estimate:
    if squared_error == 0:
        return Estimate(mean, None, None)
    # Imported here: a quarter of a second that --help saves. It ships no types.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * math.sqrt(squared_error)
    return Estimate(mean, mean - half, mean + half)


def _p(mean: float, squared_error: float, degrees: float, num_equals: int) -> float:
    """The two-sided p of a difference.

    Args:
        mean: of the differences, or the difference of the means.
        squared_error: of it; 0 where nothing varies, so that there is no t.
        degrees: of freedom.
        num_equals: in how many ways chance could have dealt the values if the searches were alike:
            the signs of the pairs, or who has which values. Where nothing varies, one of these is
            as far apart as what was seen in its direction, and p is twice its share: the smaller
            tail doubled (Fisher's randomization test). Of pairs, and of as many seeds on both
            sides, it is the share of the two that are as far apart in either direction.
    """
    from scipy.special import stdtr  # as above

    if squared_error == 0:
        return 1.0 if mean == 0 else 2 / num_equals
    return 2 * float(stdtr(degrees, -abs(mean) / math.sqrt(squared_error)))
