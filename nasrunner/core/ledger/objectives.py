"""What children are compared by: objectives with a direction, and the front of the undominated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nasrunner.core.records import Outcome

REWARD = "reward"
"""The one number that a searcher maximises, as the study's task makes it."""


@dataclass(frozen=True)
class Objective:
    """A reward or metric that children are compared by.

    Attributes:
        name: ``reward``, or the name of a metric.
        direction: ``max``: more is better; ``min``: less is.
    """

    name: str
    direction: Literal["max", "min"]

    def score(self, outcome: Outcome) -> float:
        """Returns an outcome's value, higher is better; -inf if it has no value or no reward."""
        named = {**outcome.metrics, **outcome.objectives}
        value = outcome.reward if self.name == REWARD else named.get(self.name)
        if value is None or outcome.reward is None:
            return float("-inf")
        return value if self.direction == "max" else -value


def pareto_front(outcomes: Sequence[Outcome], objectives: Sequence[Objective]) -> list[int]:
    """Returns the outcomes that no other one matches in all objectives and beats in one.

    Args:
        outcomes: those to compare.
        objectives: at least one.

    Returns:
        Their positions, best at the first objective first; of equal ones the earliest alone.
    """
    scores = [tuple(each.score(outcome) for each in objectives) for outcome in outcomes]
    order = sorted(range(len(scores)), key=lambda i: (*(-score for score in scores[i]), i))
    front: list[int] = []
    for i in order:
        # Whoever comes later is not better at the first objective; with two of them the last one
        # on the front is the best at the second so far.
        rivals = front[-1:] if len(objectives) <= 2 else front
        if not any(_covers(scores[rival], scores[i]) for rival in rivals):
            front.append(i)
    return front


def _covers(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True))
