"""What children are compared by: objectives with directions, and the front of the undominated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nasrunner.core.records import Outcome

REWARD = "reward"
"""The reward that the study's task or table makes, before a scalarization."""

LATENCY, LATENCY_SPREAD = "latency_ms", "latency_iqr_ms"
"""Metrics that a child is measured for after its training, if the first is an objective."""

ENERGY, ENERGY_SPREAD, IDLE_ENERGY = "energy_j", "energy_iqr_j", "energy_idle_j"
"""Likewise; the last is what the idle device would have taken in the same time."""

DEPLOYED = (LATENCY, ENERGY)
"""Objectives that are measured where a child was trained, which must be quiet then."""

SIZES = ("parameters", "flops")
"""Metrics that a study adds to those of a child, where they are known."""

COSTS = (*SIZES, *DEPLOYED)
"""Metrics of which less is better, whatever is learnt."""


@dataclass(frozen=True)
class Objective:
    """A reward or metric that children are compared by.

    Attributes:
        name: ``reward``, or the name of a metric.
        direction: ``max``: more is better; ``min``: less is.
        limit: the worst value that a child may have; None: any.
        reference: its coordinate in the reference point of hypervolumes; None: see
            ``reference_point``.
    """

    name: str
    direction: Literal["max", "min"]
    limit: float | None = None
    reference: float | None = None

    def value(self, outcome: Outcome) -> float | None:
        """Returns an outcome's value of this objective; None if it has none."""
        if self.name in outcome.objectives:
            return outcome.objectives[self.name]
        return outcome.reward if self.name == REWARD else outcome.metrics.get(self.name)

    def score(self, outcome: Outcome) -> float:
        """Returns an outcome's value, higher is better; -inf if it has no value or no reward."""
        value = self.value(outcome)
        if value is None or outcome.reward is None:
            return -math.inf
        return self.signed(value)

    def signed(self, value: float) -> float:
        """Returns a value with the sign that makes higher ones better."""
        return value if self.direction == "max" else -value

    def excess(self, value: float) -> float:
        """Returns by how much a value is beyond the limit, >= 0."""
        return 0.0 if self.limit is None else max(0.0, self.signed(self.limit) - self.signed(value))


class ObjectiveScores:
    """Turns outcomes into vectors for searchers that compare by several objectives.

    One that failed has the worst value seen of each objective, and is beyond all limits. One that
    was not trained, since its size is beyond one, has the worst seen of those that it lacks.

    Args:
        objectives: at least one.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self._worst: list[float] | None = None

    def of(self, outcome: Outcome) -> tuple[tuple[float, ...], float] | None:
        """Takes the next outcome.

        Returns:
            The value of each objective with the sign that makes higher ones better, and the sum
            over the limits of how far it is beyond each, in units of the limit (of 0: absolute).
            None: it failed before any other had values.
        """
        values = [each.value(outcome) for each in self.objectives]
        pairs = [(e, v) for e, v in zip(self.objectives, values, strict=True) if v is not None]
        is_told = bool(outcome.objectives) or outcome.status != "failed"
        is_whole = len(pairs) == len(values)
        if not is_told or (outcome.is_trained and not is_whole):
            if self._worst is None:
                return None
            is_limited = any(each.limit is not None for each in self.objectives)
            return tuple(self._worst), math.inf if is_limited else 0.0
        excess = sum(each.excess(value) / (abs(each.limit or 0) or 1) for each, value in pairs)
        if not is_whole:
            known = {each.name: each.signed(value) for each, value in pairs}
            worst = self._worst or [0.0] * len(values)  # of no consequence beyond limits
            names = (each.name for each in self.objectives)
            return tuple(known.get(n, w) for n, w in zip(names, worst, strict=True)), excess
        scores = [each.signed(value) for each, value in pairs]
        self._worst = list(map(min, scores, self._worst or scores))
        return tuple(scores), excess


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
