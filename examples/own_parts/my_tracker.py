"""A tracker of your own."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from nasrunner.core import Blueprint, Inspect, Outcome, Proposal, StudyInfo, Summary
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.tracking import Records, RetrainedNetwork


class JsonLines:
    """Appends a line to ``outcomes.jsonl`` in the study's folder for each outcome."""

    files: ClassVar[Sequence[str]] = ("outcomes.jsonl",)
    records: ClassVar[Records | None] = None
    ui_command: str | None = None

    def __init__(self) -> None:
        self._path: Path | None = None

    def prepare(self) -> None:
        """Has nothing to prepare."""

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        """Writes again what a resumed study has recorded."""
        self._path = info.folder / self.files[0]
        self._path.write_text("", encoding="utf-8")
        for outcome in state.history.outcomes:
            self._append(outcome)

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        """Waits for the outcome."""

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self._append(outcome)

    def close(self, summary: Summary) -> None:
        """Has nothing to close."""

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        """Leaves these to retrain.csv."""

    def _append(self, outcome: Outcome) -> None:
        assert self._path is not None
        numbers = {"reward": outcome.reward, **outcome.metrics}
        known = {name: value if _is_finite(value) else None for name, value in numbers.items()}
        line = {"child": outcome.proposal.index, **known}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line, allow_nan=False)}\n")


def _is_finite(value: float | None) -> bool:
    """Tells whether JSON has the number: it has no NaN."""
    return value is not None and math.isfinite(value)
