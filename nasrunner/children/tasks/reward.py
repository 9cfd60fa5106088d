"""How one number, higher is better, comes from a child's learning curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from nasrunner.core import ConfigError
from nasrunner.core.annotations import Above, Count
from nasrunner.core.errors import suggest

Reduce = Literal["last", "best", "mean_last", "max_last"]

Mode = Literal["max", "min"]
"""Which values of a metric are better."""

Diverged = Literal["failed", "keep", "chance"]
"""What becomes of a child whose loss is no number any more."""

Curves = Sequence[Mapping[str, float]]
"""Metrics of a child: one mapping an epoch, and one for each validation at another time.

An epoch without validation lacks those of it.
"""


@dataclass(frozen=True)
class Reward:
    """Reduces the curve of one metric to the reward a searcher maximises.

    Zoph & Le 2017 (arXiv:1611.01578): ``val_accuracy``, ``max_last`` of 5 epochs, power 3; for
    language models 80 / perplexity²: ``val_perplexity``, ``min``, power -2, scale 80.

    Args:
        metric: name of the metric: ``val_loss``, ``val_accuracy``, ….
        mode: ``max``: the metric is better when higher; ``min``: when lower, and counts negative.
        reduce: ``last`` or ``best`` value; ``mean_last``, ``max_last``: the mean or the best of
            those of the last ``last_epochs`` epochs.
        last_epochs: how many epochs ``mean_last`` and ``max_last`` look at, >= 1: those in which
            the metric was measured, once or several times.
        power: what the metric, which must not be negative then, is raised to; not 0. Below 0,
            for ``min`` only: lower is better without a sign, and the reward is positive.
        scale: what all this is multiplied by, > 0.
        diverged: the reward of a child whose training or validation loss was NaN or infinite,
            which ends its training. ``failed``: none, the child has failed; ``keep``: that of
            what was measured before, whatever comes after; ``chance``: that of a network that
            guesses, as in the experiments of DeepArchitect (arXiv:1704.08792), which count a
            diverged network with the accuracy of chance.

    Raises:
        ConfigError: ``power`` is not legal.
    """

    metric: str
    mode: Mode
    reduce: Reduce
    last_epochs: Count
    power: float
    scale: Annotated[float, Above(0)] = 1.0
    diverged: Diverged = "failed"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.power) and (self.power > 0 or self._is_inverse)):
            legal = "> 0" if self.mode == "max" else "other than 0"
            raise ConfigError(f"task.reward.power must be a number {legal}, got {self.power!r}")

    @property
    def _is_inverse(self) -> bool:
        """Whether the power makes a lower metric a higher reward, which then needs no sign."""
        return self.mode == "min" and self.power < 0

    @property
    def is_of_validation(self) -> bool:
        """Whether the metric is measured on validation examples."""
        return self.metric.startswith("val_")

    def check_logged(self, names: Sequence[str]) -> None:
        """Refuses a metric that is not among those a child logs.

        Raises:
            ConfigError: it is not; the message lists ``names``.
        """
        if self.metric not in names:
            legal = suggest(self.metric, names)
            raise ConfigError(f"task.reward.metric: {self.metric!r} is never logged, {legal}")

    def __call__(self, curves: Curves) -> float:
        """The reward of a child that has ended.

        Raises:
            ValueError: as of ``chosen`` and ``of_value``.
        """
        values = [curves[place][self.metric] for place in self.chosen(curves)]
        return self.of_value(sum(values) / len(values))

    def chosen(self, curves: Curves) -> list[int]:
        """Returns the places of the lines whose mean the reward is of: one, but for ``mean_last``.

        Raises:
            ValueError: the metric was never logged, or is nowhere finite; with
                ``diverged=failed`` also if it is not finite in one of the lines.
        """
        measured = [
            (place, line.get("epoch", place), line[self.metric])
            for place, line in enumerate(curves)
            if self.metric in line
        ]
        if not measured:
            seen = sorted({name for line in curves for name in line})
            is_validated = any(name.startswith("val_") for name in seen)
            why = (
                f"logged metrics are {seen}"
                if is_validated or not self.is_of_validation
                else "training ended before its first validation"
            )
            raise ValueError(f"metric {self.metric!r} was never logged; {why}")
        finite = [each for each in measured if math.isfinite(each[2])]
        if not finite or (self.diverged == "failed" and finite != measured):
            wrong = next(value for _, _, value in measured if not math.isfinite(value))
            raise ValueError(f"the reward's metric {self.metric!r} is {wrong}")
        if self.reduce == "last":
            return [finite[-1][0]]
        if self.reduce in ("mean_last", "max_last"):
            last = list(dict.fromkeys(epoch for _, epoch, _ in finite))[-self.last_epochs :]
            finite = [each for each in finite if each[1] in last]
        if self.reduce == "mean_last":
            return [place for place, _, _ in finite]
        best = max if self.mode == "max" else min
        return [best(finite, key=lambda each: each[2])[0]]  # of equal ones the first

    def of_value(self, value: float) -> float:
        """Returns the reward of one value of the metric.

        Raises:
            ValueError: the reward is not finite, or the value is negative while ``power`` is not
                1, or 0 while it is below 0.
        """
        sign = 1 if self.mode == "max" else -1
        if (self.power != 1 and value < 0) or (self.power < 0 and value == 0):
            raise ValueError(
                f"task.reward.power={self.power} needs a metric {'>' if self.power < 0 else '>='} "
                f"0, but {self.metric!r} is {value}"
            )
        try:
            raised = value if self.power == 1 else value**self.power
        except OverflowError:
            raised = math.inf
        reward = float(self.scale * (raised if self._is_inverse else sign * raised))
        if not math.isfinite(reward):
            raise ValueError(f"the reward is {reward}: the metric {self.metric!r} is {value}")
        return reward

    def is_better(self, value: float, than: float | None) -> bool:
        """Tells whether one value of the metric is better than another, or than none."""
        return than is None or (value > than if self.mode == "max" else value < than)


def diverged_loss(line: Mapping[str, float]) -> str | None:
    """Returns the loss of a line of curves that is no finite number, whatever its metrics say."""
    losses = ("train_loss", "val_loss")
    return next((name for name in losses if not math.isfinite(line.get(name, 0.0))), None)
