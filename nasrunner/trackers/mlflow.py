"""Tracks a study in MLflow: a run for the study, and one for each child under it."""

import logging
import threading
from collections.abc import Sequence

from nasrunner.core.commands import resume_command
from nasrunner.core.errors import ConfigError
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.trackers.mlflow_address import Address
from nasrunner.trackers.mlflow_connection import import_early
from nasrunner.trackers.mlflow_file import study_id
from nasrunner.trackers.mlflow_runs import StudyRuns
from nasrunner.trackers.mlflow_writer import Writer

_log = logging.getLogger(__name__)


class MlflowTracker:
    """Writes every child to MLflow exactly once, whenever the server is there.

    A thread of its own does the writing. A server that goes away stops nothing: what it misses
    is written when it is back, or when the study is resumed. ``mlflow.json`` in the study's
    folder names the study for that purpose.

    Args:
        tracking_uri: ``sqlite:///file``, another database, or a server's http(s) address.
        artifact_uri: where artifacts of a new experiment go; None: beside the SQLite file, or
            where the server keeps them.
        experiment: the experiment's name; None: the study's name.
        poll_s: seconds between two looks at the curves of running children, > 0.
        max_waiting: children that may wait for a slow server before the study waits too, >= 1.
        close_timeout_s: how long ``close`` waits for a server that takes nothing, seconds.

    Raises:
        ConfigError: the URI does not answer or cannot be written, or a number is out of range.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_uri: str | None,
        experiment: str | None,
        poll_s: float,
        max_waiting: int,
        close_timeout_s: float,
    ) -> None:
        for name, value, low in (("poll_s", poll_s, 0.01), ("max_waiting", max_waiting, 1)):
            if value < low:
                raise ConfigError(f"tracker.{name} must be >= {low}, got {value}")
        if close_timeout_s < 0:
            raise ConfigError(f"tracker.close_timeout_s must be >= 0, got {close_timeout_s}")
        self.address = Address(tracking_uri, artifact_uri)
        self.experiment = experiment
        self.poll_s = poll_s
        self.max_waiting = max_waiting
        self.close_timeout_s = close_timeout_s
        self._writer: Writer | None = None

    def prepare(self) -> None:
        """Begins to import MLflow, which takes seconds of its own."""
        is_database = self.address.scheme not in ("http", "https")
        threading.Thread(
            target=import_early, args=(is_database,), name="import mlflow", daemon=True
        ).start()

    @property
    def ui_command(self) -> str:
        """How a person opens the MLflow UI, and there, once it is known, this study's children."""
        page = self._writer.runs.page if self._writer is not None else ""
        return self.address.ui_command(page)

    def open(self, info: StudyInfo, recorded: Sequence[Outcome], inspect: Inspect) -> None:
        self.address.prepare()
        runs = StudyRuns(self.address, self.experiment or info.name, info, study_id(info.folder))
        self._writer = Writer(
            runs, recorded, inspect, poll_s=self.poll_s, max_waiting=self.max_waiting
        )
        self._writer.start()

    def started(self, proposal: Proposal, blueprint: Blueprint) -> None:
        assert self._writer is not None, "open first"
        self._writer.started(proposal, blueprint)

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        assert self._writer is not None, "open first"
        self._writer.ended(outcome, blueprint)

    def close(self, summary: Summary) -> None:
        assert self._writer is not None, "open first"
        missing = self._writer.finish(summary, self.close_timeout_s)
        if not self._writer.is_done or missing:
            _log.warning(
                "MLflow at %s lacks %s: the study is complete in its ledger, and "
                "%s writes the rest (%s)",
                self.address.shown,
                f"up to {missing} children" if missing else "the end of the study",
                resume_command(self._writer.runs.info.folder),
                self._writer.last_error or f"it took more than {self.close_timeout_s} s",
            )
