"""Tracks a study in MLflow: a run for the study, and one for each training under it."""

import contextlib
import logging
import threading
from collections.abc import Sequence
from typing import ClassVar

from nasrunner.core.errors import ConfigError, TrackingError
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.ports import Blueprint, Inspect, StudyInfo, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.screen.commands import resume_command
from nasrunner.core.screen.passwords import without_password
from nasrunner.core.tracking import Records, RetrainedNetwork
from nasrunner.trackers.mlflow.address import TrackingAddress
from nasrunner.trackers.mlflow.connection import import_early
from nasrunner.trackers.mlflow.faults import ArtifactError, is_refusal
from nasrunner.trackers.mlflow.records import MlflowRecords
from nasrunner.trackers.mlflow.retrained import write_retrained
from nasrunner.trackers.mlflow.runs import StudyRuns
from nasrunner.trackers.mlflow.stores.file import FILE, study_id
from nasrunner.trackers.mlflow.text import MAX_EXPERIMENT
from nasrunner.trackers.mlflow.writer import Writer
from nasrunner.trackers.wording import clipped

_log = logging.getLogger(__name__)

_FIRST_TRY_S = 60.0  # so long the first child waits for MLflow's imports and tables


class MlflowTracker:
    """Writes every child to MLflow exactly once, whenever the server is there.

    A child that goes on with the training of another is written to the run of that one. Estimates
    are the metric ``estimate`` of the study's run, with their numbers as steps.

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
        close_timeout_s: how long ``close`` waits while nothing can be written, seconds.

    Raises:
        ConfigError: the URI cannot be written, or a value is out of range; also of ``open``, where
            MLflow cannot be imported or refuses the study.
    """

    files: ClassVar[Sequence[str]] = (FILE,)
    records: ClassVar[Records | None] = MlflowRecords()
    places: ClassVar[Sequence[str]] = MlflowRecords.places

    def __init__(
        self,
        tracking_uri: str,
        artifact_uri: str | None,
        experiment: str | int | None,
        poll_s: float,
        max_waiting: int,
        close_timeout_s: float,
    ) -> None:
        for name, value, low in (("poll_s", poll_s, 0.01), ("max_waiting", max_waiting, 1)):
            if value < low:
                raise ConfigError(f"tracker.{name} must be >= {low}, got {value}")
        if close_timeout_s < 0:
            raise ConfigError(f"tracker.close_timeout_s must be >= 0, got {close_timeout_s}")
        self.experiment = _checked_name(experiment)
        self.address = TrackingAddress(tracking_uri, artifact_uri)
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

    def open(self, info: StudyInfo, state: StudyState, inspect: Inspect) -> None:
        self.address.prepare()
        runs = StudyRuns(self.address, self.experiment or info.name, info, study_id(info.folder))
        self._writer = Writer(
            runs, state, inspect, poll_s=self.poll_s, max_waiting=self.max_waiting
        )
        self._writer.start()
        if outage := self.address.outage or self._outage():
            _log.warning(
                "MLflow at %s does not answer: %s. The study runs without it, and is written when "
                "it does",
                self.address.shown,
                outage,
            )

    def retrained(self, info: StudyInfo, networks: Sequence[RetrainedNetwork]) -> None:
        if not (info.folder / FILE).is_file():
            return  # the study was not recorded here
        if self.address.outage:
            raise TrackingError(f"{self.address.shown} does not answer: {self.address.outage}")
        write_retrained(self.address, self.experiment or info.name, info.folder, networks)

    def _outage(self) -> str:
        """Why MLflow is away for now, as far as can be told before the first child.

        Raises:
            ConfigError: it will never take the study as it is.
        """
        assert self._writer is not None, "open first"
        error = self._writer.first_error(_FIRST_TRY_S)
        if error is not None and is_refusal(error):
            self._writer.abandon()
            with contextlib.suppress(Exception):  # then it stays, as one that runs
                self._writer.runs.discard()
            raise self._refused(error) from error
        is_artifacts = isinstance(error, ArtifactError)  # told already
        return "" if error is None or is_artifacts else _in_one_line(error)

    def _refused(self, error: Exception) -> ConfigError:
        reason = _in_one_line(error)
        if isinstance(error, ConfigError):
            return error
        if isinstance(error, ArtifactError):
            return ConfigError(
                f"tracker.artifact_uri: artifacts cannot be written to {reason}. An experiment "
                "keeps the place it was made with: choose another tracker.experiment with another "
                "place"
            )
        if isinstance(error, ImportError):
            return ConfigError(
                f"tracker=mlflow: MLflow cannot be imported: {reason}. Legal: an MLflow that can "
                "be, or tracker=none"
            )
        return ConfigError(
            f"tracker.tracking_uri: MLflow at {self.address.shown} takes no study: {reason}. "
            "Legal: another address, or tracker=none"
        )

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        assert self._writer is not None, "open first"
        self._writer.started(proposal, blueprint)

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        assert self._writer is not None, "open first"
        self._writer.ended(outcome, blueprint)

    def close(self, summary: Summary) -> None:
        assert self._writer is not None, "open first"
        writer = self._writer
        writer.finish(summary, self.close_timeout_s)
        missing = [f"up to {writer.num_missing} children"] if writer.num_missing else []
        if writer.num_bare:
            missing.append(f"the artifacts of {writer.num_bare} children")
        if writer.is_bare:
            missing.append("those of the study" if writer.num_bare else "the study's artifacts")
        if not writer.is_done or missing:
            _log.warning(
                "MLflow at %s lacks %s: the study is complete in its ledger, and "
                "%s writes the rest (%s)",
                self.address.shown,
                " and ".join(missing) or "the end of the study",
                resume_command(writer.runs.info.folder),
                writer.reason or f"it took more than {self.close_timeout_s} s",
            )


def _checked_name(experiment: object) -> str | None:
    """An experiment's name: digits are one, too, though YAML takes them for a number."""
    name = str(experiment) if type(experiment) is int else experiment
    if name is None or (isinstance(name, str) and 0 < len(name) <= MAX_EXPERIMENT):
        return name
    length = f" of {len(name)} characters" if isinstance(name, str) else ""
    raise ConfigError(
        f"tracker.experiment must be a name of 1 to {MAX_EXPERIMENT} characters or null, got "
        f"{clipped(repr(name), 60)}{length}"
    )


def _in_one_line(error: Exception) -> str:
    return " ".join(without_password(str(error)).split()) or type(error).__name__
