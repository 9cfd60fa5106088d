"""The median rule: a child that was never as good as the median child on average is stopped."""

import statistics
from collections.abc import Callable, Mapping

from nasrunner.core.annotations import Count, Seed
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.stopping.stopping import EarlyStopping, Mode


class MedianStopping(EarlyStopping):
    """Stops a child whose best value so far is below the median of other children's averages.

    Golovin et al. 2017, "Google Vizier", section 3.2.2: after epoch t, the best value up to t is
    compared with the median, over the children that were trained to their ends, of the mean of
    their values up to t.

    Args:
        searcher, metric, mode, reward, min_epochs: see ``EarlyStopping``.
        min_children: children that were trained to their ends, before any is stopped.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        metric: str | None,
        mode: Mode | None,
        reward: Mapping[str, str | None],
        min_epochs: Count,
        min_children: Count,
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(
            searcher=searcher,
            metric=metric,
            mode=mode,
            reward=reward,
            min_epochs=min_epochs,
            space=space,
            seed=seed,
        )
        self.min_children = min_children
        self._means: dict[int, list[float]] = {}  # epoch -> whole trainings' means up to it

    def trained_through(self, curve: Mapping[int, float]) -> None:
        total = 0.0
        for count, epoch in enumerate(sorted(curve), 1):
            total += curve[epoch]
            self._means.setdefault(epoch, []).append(total / count)

    def is_hopeless(self, index: int) -> bool:
        curve = self.curves[index]
        means = self._means.get(max(curve), ())
        return len(means) >= self.min_children and max(curve.values()) < statistics.median(means)
