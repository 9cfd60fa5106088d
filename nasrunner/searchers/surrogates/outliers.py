"""Keeps rewards far from all others from hiding how those others differ."""

from collections.abc import Sequence

import numpy as np

# N = rewards

_FAR_BELOW = 30.0
_FAR_ABOVE = 1000.0
"""Widths of the bulk that a gap must exceed for what lies beyond to be outliers.

A child that diverges is far below; one that learns where most do not may well be far above.
"""

_FEW = 8
"""Fewer rewards than these tell little of the bulk's width: a gap below must be as large, too."""

_LARGEST = 1e150
"""What larger rewards are taken for: their squares and sums stay finite."""


def without_outliers(rewards: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rewards (N,) in their order, with outliers moved to one width beyond the bulk of the others.

    The bulk is the narrowest half of the rewards, and grows to either side until the next reward
    lies more than so many of its widths away. What is told of a reward thus depends on those that
    came after it, too, but on nothing else. Where there are no outliers, as in nearly all
    searches, the rewards are unchanged to the bit.
    """
    rewards_N: np.ndarray = np.clip(np.asarray(rewards, float), -_LARGEST, _LARGEST)
    values = np.sort(rewards_N)
    if len(values) < 3 or values[0] == values[-1]:
        return rewards_N
    first, last = _bulk(values)
    width = values[last] - values[first]
    lowest = values[first] - width if first > 0 else -_LARGEST
    highest = values[last] + width if last + 1 < len(values) else _LARGEST
    clipped_N: np.ndarray = np.clip(rewards_N, lowest, highest)
    return clipped_N


def _bulk(values: np.ndarray) -> tuple[int, int]:
    """Positions of the first and last of the sorted rewards that are no outliers."""
    gaps = np.diff(values)
    num_half = len(values) // 2 + 1
    first = int((values[num_half - 1 :] - values[: len(values) - num_half + 1]).argmin())
    last = first + num_half - 1
    far_below = _FAR_BELOW if len(values) >= _FEW else _FAR_ABOVE
    while True:
        before = first, last
        if values[first] == values[last]:  # the nearest reward that differs gives it a width
            first, last = _with_nearest(gaps, first, last)
        width = values[last] - values[first]
        below = np.flatnonzero(gaps[:first] > far_below * width)
        above = np.flatnonzero(gaps[last:] > _FAR_ABOVE * width)
        first = int(below[-1]) + 1 if below.size else 0
        last = last + int(above[0]) if above.size else len(gaps)
        if (first, last) == before:
            return before


def _with_nearest(gaps: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """Positions of equal rewards, with the nearest that differs."""
    below, above = np.flatnonzero(gaps[:first]), np.flatnonzero(gaps[last:])
    below_gap = gaps[below[-1]] if below.size else np.inf
    above_gap = gaps[last + above[0]] if above.size else np.inf
    if below_gap < above_gap:
        return int(below[-1]), last
    return first, last + int(above[0]) + 1
