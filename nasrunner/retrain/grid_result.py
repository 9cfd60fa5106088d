"""What the search of a grid found for one architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from nasrunner.core.decision import shown
from nasrunner.retrain.grid_search import GridPoint, best_of

_MOST_ROWS = 10
"""So many points are printed; all of them stand in the results."""


@dataclass(frozen=True)
class GridResult:
    """The points of one architecture's grid.

    Attributes:
        name: the child's, as in its folder's name.
        folder: where the grid's ledger is.
        varying: the keys that points differ in.
        num_points: how many there are in the grid.
        points: those that have an outcome, in the order of the grid.
    """

    name: str
    folder: Path
    varying: Sequence[str]
    num_points: int
    points: Sequence[GridPoint]

    @property
    def best(self) -> GridPoint | None:
        """The point whose settings its networks are trained with; None: none has a reward."""
        return best_of(self.points) if len(self.points) == self.num_points else None

    @property
    def is_hopeless(self) -> bool:
        """Whether all points have an outcome, and none of them a reward."""
        return len(self.points) == self.num_points and self.best is None

    def record(self) -> dict[str, Any]:
        """Returns all points, and which of them was best."""
        best = self.best
        return {
            "name": self.name,
            "num_points": self.num_points,
            "best": None if best is None else best.outcome.proposal.index,
            "settings": None if best is None else dict(best.settings),
            "points": [_record(point, self.folder.parent.parent) for point in self.points],
        }

    def table(self) -> Table:
        """Returns the best points as they are printed."""
        ranked = sorted(self.points, key=_rank)
        kept = ranked[:_MOST_ROWS]
        title = f"Grid of child {self.name}: {len(self.points)} of {self.num_points} points"
        left_out = f", the best {len(kept)}" if len(kept) < len(ranked) else ""
        table = Table(title=title + left_out, title_justify="left", title_style="bold", box=None)
        for name in ("point", "reward", "epochs"):
            table.add_column(name, justify="right", no_wrap=True)
        for key in self.varying:
            table.add_column(self._heading(key), justify="right", overflow="fold")
        for point in kept:
            outcome = point.outcome
            table.add_row(
                f"{outcome.proposal.index:04d}",
                outcome.status if outcome.reward is None else f"{outcome.reward:.5g}",
                f"{outcome.metrics.get('epochs', 0):.0f}",
                *(shown(point.settings[key]) for key in self.varying),
            )
        return table

    def _heading(self, key: str) -> str:
        """``weight decay`` of ``optimizer.weight_decay``, where no other key ends so."""
        last = [each.rpartition(".")[2] for each in self.varying]
        name = key.rpartition(".")[2]
        return name.replace("_", " ") if last.count(name) == 1 else key


def written(settings: Mapping[str, Any]) -> str:
    """Returns ``optimizer.lr=0.1 scheduler=StepLR(step_size=3)``."""
    return " ".join(f"{key}={shown(value)}" for key, value in settings.items())


def _rank(point: GridPoint) -> tuple[float, int]:
    reward = point.outcome.reward
    return (float("inf") if reward is None else -reward, point.outcome.proposal.index)


def _record(point: GridPoint, place: Path) -> dict[str, Any]:
    outcome = point.outcome
    return {
        "index": outcome.proposal.index,
        "settings": dict(point.settings),
        "status": outcome.status,
        "reward": outcome.reward,
        "epochs": outcome.metrics.get("epochs"),
        "cost_s": round(outcome.cost_s, 3),
        "folder": str(point.folder.relative_to(place)),
        "error": outcome.error,
    }
