"""A tracker of your own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from nasrunner.core import Blueprint, Inspect, Outcome, Proposal, StudyInfo, Summary
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.tracking import Records, RetrainedNetwork


class JsonLines:
    """Appends a line to a file of the study for each outcome.

    Args:
        name: of the file.
    """

    files: ClassVar[Sequence[str]] = ()
    records: ClassVar[Records | None] = None
    ui_command: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self._path: Path | None = None

    def prepare(self) -> None:
        """Has nothing to prepare."""

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        """Writes again what a resumed study has recorded."""
        self._path = info.folder / self.name
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
        line = {"child": outcome.proposal.index, "reward": outcome.reward, **outcome.metrics}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")
