"""How much of the space of objectives a front dominates."""

from collections.abc import Sequence

from nasrunner.core.ledger.goals import Goals
from nasrunner.core.records import Outcome

MOST_OBJECTIVES = 3
"""With how many objectives at most hypervolumes are computed."""


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Computes the exact volume that points dominate above a reference point.

    Zitzler & Thiele 1998; in two dimensions by a sweep, in three by one sweep for each slab.

    Args:
        points: any number of them, higher is better in each of up to three dimensions.
        reference: of the same dimension; points that do not beat it in all add nothing.

    Raises:
        ValueError: there are more than three dimensions.
    """
    if len(reference) > MOST_OBJECTIVES:
        raise ValueError(f"hypervolumes are of 1 to {MOST_OBJECTIVES} dimensions")
    inside = [p for p in points if all(x > low for x, low in zip(p, reference, strict=True))]
    if len(reference) == 1:
        return max((p[0] - reference[0] for p in inside), default=0.0)
    if len(reference) == 2:
        return _area(inside, reference)
    ordered = sorted(inside, key=lambda p: -p[2])
    below = [*(p[2] for p in ordered), reference[2]][1:]
    return sum(
        (p[2] - low) * _area(ordered[: place + 1], reference)
        for place, (p, low) in enumerate(zip(ordered, below, strict=True))
        if p[2] > low
    )


def _area(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    area, height = 0.0, reference[1]
    for x, y, *_ in sorted(points, key=lambda p: -p[0]):
        if y > height:
            area += (x - reference[0]) * (y - height)
            height = y
    return area


def dominated(
    goals: Goals, outcomes: Sequence[Outcome], reference: dict[str, float]
) -> float | None:
    """Computes the hypervolume of outcomes that are within the limits; None: of too many goals.

    Args:
        goals: the objectives.
        outcomes: any; those that lack an objective, or are beyond a limit, add nothing.
        reference: as of ``reference_point``.
    """
    if len(goals.objectives) > MOST_OBJECTIVES or not reference:
        return None
    front = [outcomes[place].objectives for place in goals.front(outcomes)]
    points = [[e.signed(values[e.name]) for e in goals.objectives] for values in front]
    return hypervolume(points, [e.signed(reference[e.name]) for e in goals.objectives])
