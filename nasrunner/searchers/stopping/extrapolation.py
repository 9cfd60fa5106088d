"""Extrapolation of learning curves: a child that will hardly become the best is stopped."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

from nasrunner.core.annotations import AtLeast, Count, Seed, Within
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.stopping.curve_families import MIN_EPOCHS, probability_above
from nasrunner.searchers.stopping.stopping import EarlyStopping, Mode


class Extrapolation(EarlyStopping):
    """Stops a child whose curve will hardly rise above the best of those that were trained through.

    Domhan et al. 2015, IJCAI, section 3.4: after every ``every_epochs`` epochs, a child is stopped
    if the probability that its value at ``max_epochs`` is above the best value so far is below
    ``probability``, by the curve families of ``curve_families.py``.

    Args:
        searcher, metric, mode, reward, min_epochs: see ``EarlyStopping``; ``min_epochs`` at least
            ``MIN_EPOCHS``, below which no family is determined.
        max_epochs: of a whole training.
        every_epochs: how often a child is looked at.
        probability: delta in the paper, in (0, 1).

    Raises:
        ValueError: no child would be stopped.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        metric: str | None,
        mode: Mode | None,
        reward: Mapping[str, str | None],
        min_epochs: Annotated[int, AtLeast(MIN_EPOCHS)],
        max_epochs: Count | None,
        every_epochs: Count,
        probability: Annotated[float, Within("(0, 1)")],
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
        if max_epochs is None or max_epochs <= min_epochs:
            raise ValueError(
                f"max_epochs must be more than min_epochs={min_epochs}, or no child is stopped, "
                f"got {max_epochs}; it is trainer.max_epochs by default"
            )
        self.max_epochs = max_epochs
        self.every_epochs = every_epochs
        self.probability = probability
        self.best: float | None = None  # of the children that were trained to their ends

    @property
    def whole_epochs(self) -> Collection[int]:
        return (self.max_epochs, *super().whole_epochs)

    def trained_through(self, curve: Mapping[int, float]) -> None:
        best = max(curve.values())
        self.best = best if self.best is None else max(self.best, best)

    def is_hopeless(self, index: int) -> bool:
        curve = self.curves[index]
        epochs = sorted(curve)
        last = epochs[-1]
        if self.best is None or len(curve) < self.min_epochs or last >= self.max_epochs:
            return False
        if not self._is_due(epochs):
            return False
        if max(curve.values()) > self.best:
            return False
        if math.isinf(curve[last]):
            return True  # no number any more: it has diverged
        epochs = [epoch for epoch in epochs if math.isfinite(curve[epoch])]
        if len(epochs) < self.min_epochs:
            return False
        values = [curve[epoch] for epoch in epochs]
        return probability_above(epochs, values, self.max_epochs, self.best) < self.probability

    def _is_due(self, epochs: Sequence[int]) -> bool:
        """Whether a look has come due since the measurement before: not all epochs have one."""
        before, last = ((each - self.min_epochs) // self.every_epochs for each in epochs[-2:])
        return last > before
