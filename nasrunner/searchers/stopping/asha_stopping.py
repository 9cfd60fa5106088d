"""Asynchronous successive halving without pauses: a child that is not among the best is stopped."""

import bisect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

from nasrunner.core.annotations import AtLeast, Count, Seed
from nasrunner.core.records import Report
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.stopping.stopping import EarlyStopping, Mode
from nasrunner.searchers.wrappers.rungs import Rungs


class AshaStopping(EarlyStopping):
    """Stops a child that is not among the best 1/eta of those that came to its rung before it.

    The stopping variant of Li et al. 2020, arXiv:1810.05934, as Optuna and Ray have it: nothing is
    paused, and whoever is not good enough at a rung when it comes there never goes on. As long as
    fewer than eta children have come to a rung, only the best of them does.

    Args:
        searcher, metric, mode, reward: see ``EarlyStopping``.
        eta: of so many children at a rung one goes on; >= 2.
        rungs: the epochs after which children are compared; None: ``min_epochs`` · eta^k below
            ``max_epochs``.
        min_epochs: of the first rung, if ``rungs`` are not given.
        max_epochs: of a whole training.

    Raises:
        ValueError: the rungs do not increase, or there are none.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        metric: str | None,
        mode: Mode | None,
        reward: Mapping[str, str | None],
        eta: Annotated[int, AtLeast(2)],
        rungs: Sequence[int] | None,
        min_epochs: Count,
        max_epochs: Count | None,
        space: Space,
        seed: Seed,
    ) -> None:
        read = Rungs.read(rungs, None, min_epochs, max_epochs, eta)
        super().__init__(
            searcher=searcher,
            metric=metric,
            mode=mode,
            reward=reward,
            min_epochs=int(read.amounts[0]),
            space=space,
            seed=seed,
        )
        self.eta = eta
        self.rungs = read
        self._values: dict[int, list[float]] = {int(epochs): [] for epochs in read.amounts}
        self._fails: dict[int, bool] = {}  # whether each child was too bad for its last rung

    @property
    def compares_after(self) -> Collection[int]:
        return self._values.keys()

    @property
    def whole_epochs(self) -> Collection[int]:
        return (*self.rungs.whole_epochs, *super().whole_epochs)

    @property
    def ignored(self) -> str | None:
        return self.rungs.ignored or super().ignored

    def report(self, report: Report) -> None:
        super().report(report)
        values = self._values.get(report.epoch)
        value = self.curves[report.index].get(report.epoch)
        if values is None or value is None:
            return
        bisect.insort(values, value)
        num_best = max(1, len(values) // self.eta)
        self._fails[report.index] = value < values[-num_best]

    def is_hopeless(self, index: int) -> bool:
        return self._fails.get(index, False)
