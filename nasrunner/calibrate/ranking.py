"""A cheap ranking of children, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from nasrunner.calibrate.agreement import PartScores


@dataclass(frozen=True)
class CheapRanking:
    """A cheap ranking.

    Attributes:
        parts: its scores, see ``agreement``.
        cost_s: processor seconds for each child.
        lacking: how many children it has no score of.
    """

    parts: Sequence[PartScores]
    cost_s: float
    lacking: int = 0
