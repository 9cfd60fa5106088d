"""What a child's reward is the mean of: trainings with other seeds, or of other folds."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from nasrunner.children.settings.searched import Config
from nasrunner.core import Outcome
from nasrunner.core.annotations import AtLeast, Count
from nasrunner.core.randomness.seeds import derived_seed

ONE_CLASS = "val_one_class"
"""The metric of a child whose answers were all one class: the share of the targets of it."""

DIVERGED = "diverged"
"""The metric that a child with a reward has if it diverged: 1, or the share of its trainings."""


@dataclass(frozen=True)
class Evaluation:
    """How a child is evaluated: by one training, or by the mean of several.

    Attributes:
        repeats: trainings with other first weights and another order of the examples.
        folds: trainings, each of which holds another part of so many out for validation, as of
            cross-validation; None: the split that the data are configured with. With ``repeats``
            there are repeats times folds.
    """

    repeats: Count = 1
    folds: Annotated[int, AtLeast(2)] | None = None

    @property
    def is_single(self) -> bool:
        """Whether a child is trained once, as the data are configured."""
        return self.repeats == 1 and self.folds is None

    def trainings(self, config: Config, seed: int) -> Iterator[tuple[Config, int]]:
        """Yields the configuration and the seed of each training.

        The first has the child's own seed, so that it is what a child of one training is.

        Args:
            config: the child's.
            seed: the child's.
        """
        for repeat in range(self.repeats):
            own = seed if repeat == 0 else derived_seed(seed, repeat, kind=3)
            if self.folds is None:
                yield config, own
            for fold in range(self.folds or 0):
                yield {**config, "data": {**config["data"], "fold": fold, "folds": self.folds}}, own


ONE_TRAINING = Evaluation()


def mean_outcome(outcomes: Sequence[Outcome]) -> tuple[float, dict[str, float]]:
    """Returns the reward and metrics of a child of several completed trainings.

    Returns:
        The mean reward; the mean of each metric, and beside them ``trainings``, how many there
        were, ``reward_std``, the standard deviation of their rewards, with n - 1, and where some
        diverged, their share. There is a ``reward_epoch`` only where it is the same of all, and
        ``val_one_class`` only where all have one.
    """
    rewards = [outcome.reward for outcome in outcomes if outcome.reward is not None]
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.metrics)
    metrics = {
        name: statistics.fmean(o.metrics[name] for o in outcomes if name in o.metrics)
        for name in names
    }
    if DIVERGED in metrics:
        metrics[DIVERGED] *= sum(DIVERGED in o.metrics for o in outcomes) / len(outcomes)
    if len({outcome.metrics.get("reward_epoch") for outcome in outcomes}) > 1:
        metrics.pop("reward_epoch")
    if any(ONE_CLASS not in outcome.metrics for outcome in outcomes):
        metrics.pop(ONE_CLASS, None)
    metrics |= {"trainings": float(len(rewards)), "reward_std": statistics.stdev(rewards)}
    return statistics.fmean(rewards), metrics


def mean_curves(curves: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Returns the curves of several trainings as one: each point is the mean of those that have it.

    The first, second, … points of an epoch belong together, whatever their steps are: a fold with
    more examples has more of them. The mean has the largest.
    """
    points: dict[tuple[float, int], list[Mapping[str, float]]] = {}
    for lines in curves:
        of_epoch: Counter[float] = Counter()
        for line in lines:
            points.setdefault((line["epoch"], of_epoch[line["epoch"]]), []).append(line)
            of_epoch[line["epoch"]] += 1
    return [_mean_line(points[place]) for place in sorted(points)]


def _mean_line(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for line in lines for name in line)
    mean = {n: statistics.fmean(line[n] for line in lines if n in line) for n in names}
    latest = {name: max(line[name] for line in lines) for name in ("epoch", "step", "time")}
    return {**mean, **latest}
