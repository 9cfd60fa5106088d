"""A cheap ranking of children, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from nasrunner.calibrate.agreement import Scores


@dataclass(frozen=True)
class Ranking:
    """A cheap ranking.

    Attributes:
        parts: its scores, see ``agreement``.
        cost_s: processor seconds for each child.
        lacking: how many children it has no score of.
    """

    parts: Sequence[Scores]
    cost_s: float
    lacking: int = 0
