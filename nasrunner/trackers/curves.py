"""Reads what a study leaves in its folder: learning curves, while they are written, and times."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nasrunner.core.ledger.ranking import Ranking
from nasrunner.core.machine.child_folder import (
    NO_METRICS,
    PROBABILITIES,
    ChildFolder,
    GrowingCurves,
)
from nasrunner.core.records import Outcome, Proposal

MOST_DECISIONS = 24
"""So many of a supernet's decisions have metrics; its artifact has all."""


@dataclass(frozen=True)
class CurvePoint:
    """One point of a curve: Unix time in seconds, and metric values by name.

    Attributes:
        epoch: the point's; several validations in one epoch have the same.
        step: of the optimizer; grows from point to point of a training.
        learnt: of a supernet, how likely its options were: ``probability/decision/option``.
    """

    epoch: int
    step: int
    time_s: float
    values: Mapping[str, float]
    learnt: Mapping[str, float] = field(default_factory=dict)


@dataclass
class CurveReader:
    """Gives each point of ``curves.jsonl`` once, also where the file is begun anew.

    The last point of a supernet's epoch has what ``probabilities.jsonl`` tells of it, too, of the
    first ``MOST_DECISIONS`` decisions of the first epoch.

    Attributes:
        folder: the child's; the file may not exist yet.
        last: epoch and step of the latest point that was taken; (-1, -1) for none.
        latest: the latest value of each metric that was taken.
    """

    folder: ChildFolder
    last: tuple[int, int] = (-1, -1)
    latest: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._curves = GrowingCurves(self.folder)
        self._probabilities = GrowingCurves(self.folder, PROBABILITIES)
        self._learnt: dict[int, Mapping[str, float]] = {}  # by epoch, until they are written
        self._shown: Sequence[str] | None = None  # decisions

    def read(self) -> list[CurvePoint]:
        """Returns the points that were added since the last ``take``; a line being written
        waits.
        """
        points, last = [], self.last
        for line in self._curves.read():
            point = _point(line)
            if point is not None and (place := (point.epoch, point.step)) > last:
                points.append(point)
                last = place
        return self._with_probabilities(points) if points else points

    def take(self, points: list[CurvePoint]) -> None:
        """Marks what ``read`` gave as safely written."""
        self._curves.take()
        for point in points:
            self.last = (point.epoch, point.step)
            self.latest.update(point.values)
            if point.learnt:
                self._learnt.pop(point.epoch, None)

    def _with_probabilities(self, points: Sequence[CurvePoint]) -> list[CurvePoint]:
        """The points, the last of an epoch with what was learnt in it, which is there before."""
        for line in self._probabilities.read():
            if isinstance(decisions := line.get("decisions"), dict):
                self._shown = self._shown or list(decisions)[:MOST_DECISIONS]
                self._learnt[line["epoch"]] = _named(decisions, self._shown)
        self._probabilities.take()
        last = {point.epoch: place for place, point in enumerate(points)}
        return [
            replace(point, learnt=self._learnt.get(point.epoch, {}))
            if last[point.epoch] == place
            else point
            for place, point in enumerate(points)
        ]


def _named(decisions: Mapping[str, Mapping[str, float]], shown: Sequence[str]) -> dict[str, float]:
    return {
        f"probability/{path}/{option}": float(value)
        for path in shown
        for option, value in decisions.get(path, {}).items()
    }


def _point(record: Mapping[str, Any]) -> CurvePoint | None:
    try:
        values = {
            name: float(value)
            for name, value in record.items()
            if name not in NO_METRICS and isinstance(value, int | float)
        }
        step = int(record.get("step", 0))
        return CurvePoint(int(record["epoch"]), step, float(record["time"]), values)
    except (ValueError, KeyError, TypeError):  # of a user's own, without a time
        return None


@dataclass
class BestSoFar:
    """The best reward over the number of recorded trainings; nothing before the first reward."""

    _num_recorded: int = 0
    _points: list[tuple[int, float, float]] = field(default_factory=list)

    def add(self, proposal: Proposal, ranking: Ranking, time_s: float) -> None:
        """Takes the next proposal that has an outcome, and the ranking with it."""
        self._num_recorded += proposal.kind == "train"
        if proposal.kind == "train" and (best := ranking.top()) is not None:
            self._points.append((self._num_recorded, time_s, best.reward))

    def after(self, step: int) -> list[tuple[int, float, float]]:
        """Returns (number of recorded children, Unix seconds, best) beyond a step; forgets the
        others.
        """
        self._points = [point for point in self._points if point[0] > step]
        return list(self._points)


@dataclass
class Estimates:
    """What architectures were estimated at, by the number of the estimate, until it is written."""

    _points: dict[int, tuple[float, float]] = field(default_factory=dict)

    def add(self, outcome: Outcome, time_s: float) -> None:
        """Takes the next estimate that was recorded; one that failed has no value."""
        if outcome.reward is not None:
            self._points[outcome.proposal.index] = (time_s, outcome.reward)

    def points(self) -> list[tuple[int, float, float]]:
        """Lists (number, Unix seconds, value) of those that are not known to be written."""
        return [(index, *point) for index, point in self._points.items()]

    def take(self, written: Iterable[int]) -> None:
        """Forgets those that are written."""
        for index in written:
            self._points.pop(index, None)


def ledger_times(folder: Path) -> dict[int, float]:
    """Returns when each outcome was recorded, in Unix seconds, by child index."""
    times: dict[int, float] = {}
    try:
        lines = (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return times
    for line in lines:
        if '"outcome"' in line:
            try:
                event = json.loads(line)
                times[int(event["index"])] = float(event["time"])
            except (ValueError, KeyError):  # cut off, or not an outcome
                continue
    return times
