"""A cheap ranking of children, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from nasrunner.calibrate.agreement import PartScores


@dataclass(frozen=True)
class CheapRanking:
    """A cheap ranking.

    Attributes:
        parts: its scores, see ``agreement``.
        cost_s: processor seconds for each child; of trainings the seconds that they took.
        lacking: how many children it has no score of.
        asked: of cheaper trainings ``until`` or the fidelity's name, and its number; None: it needs
            none.
        inherits: whether these trainings begin with weights of others.
    """

    parts: Sequence[PartScores]
    cost_s: float
    lacking: int = 0
    asked: tuple[str, float] | None = None
    inherits: bool = False
