"""Moves rewards that lie far from all others, which would hide how the others differ."""

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
    """Returns rewards (N,) in their order, with outliers moved to one width beyond the bulk of the
    others.

    The bulk is the narrowest half of the rewards, and grows to either side until the next reward
    lies more than so many of its widths away. What is told of a reward thus depends on those that
    came after it, too, but on nothing else. Where there are no outliers, as in nearly all
    searches, the rewards are unchanged to the bit.
    """
    rewards_N: np.ndarray = np.clip(np.asarray(rewards, float), -_LARGEST, _LARGEST)
    clipped_N: np.ndarray = np.clip(rewards_N, *_bounds(np.sort(rewards_N)))
    return clipped_N


class ToldRewards:
    """Rewards that arrive one by one, at any time as ``without_outliers`` has them.

    Nearly all arrive where the others lie, and change nothing of what is told of these. That this
    is so is mostly seen from few numbers, in a time that does not grow with the rewards.

    Attributes:
        told: the rewards without outliers, in order of arrival.
    """

    def __init__(self) -> None:
        self.told: list[float] = []
        self._rewards: list[float] = []
        self._sorted = np.zeros(64)  # of the rewards; more room than they need
        self._bounds = -_LARGEST, _LARGEST
        self._lowest = self._highest = 0.0  # of the bulk
        self._widest_gap = np.inf  # in the bulk
        self._least_width = 0.0  # of half of the rewards, at least until there are so many:
        self._num_at_most = 0

    @property
    def ordered(self) -> np.ndarray:
        """The rewards without outliers, ascending."""
        values = self._sorted[: len(self._rewards)]
        return values if self._bounds == (-_LARGEST, _LARGEST) else np.clip(values, *self._bounds)

    def add(self, reward: float) -> bool:
        """Takes the next reward; False: what is told of earlier ones has changed."""
        reward = min(max(reward, -_LARGEST), _LARGEST)
        self._insert(reward)
        before = self._bounds
        if not self._is_ordinary(reward):
            self._look_at_the_bulk()
        if self._bounds == before:
            self.told.append(min(max(reward, before[0]), before[1]))
            return True
        earlier, self.told = self.told, np.clip(self._rewards, *self._bounds).tolist()
        return self.told[:-1] == earlier

    def _insert(self, reward: float) -> None:
        num_before = len(self._rewards)
        if num_before == len(self._sorted):
            self._sorted = np.concatenate([self._sorted, np.zeros(num_before)])
        place = int(np.searchsorted(self._sorted[:num_before], reward))
        self._sorted[place + 1 : num_before + 1] = self._sorted[place:num_before]
        self._sorted[place] = reward
        self._rewards.append(reward)

    def _is_ordinary(self, reward: float) -> bool:
        """Whether it surely belongs to the bulk, and those before to it as before."""
        limit = _FAR_BELOW * self._least_width
        if len(self._rewards) > self._num_at_most or self._widest_gap > limit:
            return False
        if self._lowest <= reward <= self._highest:
            return True
        gap = max(self._lowest - reward, reward - self._highest)
        if self._bounds != (-_LARGEST, _LARGEST) or gap > limit:
            return False
        self._lowest, self._highest = min(self._lowest, reward), max(self._highest, reward)
        self._widest_gap = max(self._widest_gap, gap)
        return True

    def _look_at_the_bulk(self) -> None:
        """Finds the bulk, and what holds of it while the rewards grow by no more than an eighth.

        Half of them, and one more, are then at least half of those here, and one more, without an
        eighth: no half is narrower than the narrowest so many of these.
        """
        values = self._sorted[: len(self._rewards)]
        self._bounds = _bounds(values)
        if len(values) < _FEW or values[0] == values[-1]:
            return
        bulk = values[(values >= self._bounds[0]) & (values <= self._bounds[1])]
        num_growth = len(values) // 8
        num_of_these = len(values) // 2 + 1 - num_growth
        self._least_width = float((values[num_of_these - 1 :] - values[: 1 - num_of_these]).min())
        self._num_at_most = len(values) + num_growth
        self._lowest, self._highest = float(bulk[0]), float(bulk[-1])
        self._widest_gap = float(np.diff(bulk).max(initial=0.0))


def _bounds(values: np.ndarray) -> tuple[float, float]:
    """What sorted rewards are moved to that are less, and that are more."""
    if len(values) < 3 or values[0] == values[-1]:
        return -_LARGEST, _LARGEST
    first, last = _bulk(values)
    width = values[last] - values[first]
    lowest = float(values[first] - width) if first > 0 else -_LARGEST
    highest = float(values[last] + width) if last + 1 < len(values) else _LARGEST
    return lowest, highest


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
