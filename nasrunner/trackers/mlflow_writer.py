"""The thread that writes a study to MLflow, so that the study never waits for a server."""

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nasrunner.core.errors import SpaceError
from nasrunner.core.ports import Blueprint, Inspect, Summary
from nasrunner.core.records import Outcome, Proposal, child_folder
from nasrunner.trackers.mlflow_children import ChildRun
from nasrunner.trackers.mlflow_connection import ArtifactError
from nasrunner.trackers.mlflow_curves import BestSoFar, ledger_times
from nasrunner.trackers.mlflow_runs import StudyRuns

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_CLOSING_PAUSE_S = 1.0  # the study waits for the server, no longer than close_timeout_s
_MAX_ATTEMPTS = 5
_PATIENCE_S = 1.0


@dataclass(slots=True)
class _Running:
    """A child that was started; it has no blueprint any more once it is recorded."""

    proposal: Proposal
    blueprint: Blueprint | None
    start_s: float
    run: ChildRun | None = None


@dataclass(slots=True)
class _Ended:
    """A child that was recorded and is not written."""

    outcome: Outcome
    blueprint: Blueprint | None
    has_blueprint: bool
    end_s: float | None
    running: _Running | None = None
    run: ChildRun | None = None
    attempts: int = 0


class Writer(threading.Thread):
    """Writes what it is told, in order, and tries again for as long as the server is away.

    Blueprints, with their drawings, are kept for ``max_waiting`` children; those of the others
    are made again when their turn comes. The outcomes themselves a study keeps anyway.

    Args:
        runs: where to write.
        recorded: what the ledger held when the study was opened; what of it is missing is written.
        inspect: makes a child's blueprint again; called in this thread.
        poll_s: seconds between two looks at the curves of running children.
        max_waiting: so many children may wait before ``ended`` waits, while the server takes any.
    """

    def __init__(
        self,
        runs: StudyRuns,
        recorded: Sequence[Outcome],
        inspect: Inspect,
        *,
        poll_s: float,
        max_waiting: int,
    ) -> None:
        super().__init__(name="mlflow", daemon=True)
        self.runs = runs
        self.is_done = False
        self.last_error = ""
        self.num_skipped = 0
        self._inspect = inspect
        self._poll_s = poll_s
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._waiting: deque[_Ended] = deque(_Ended(o, None, False, None) for o in recorded)
        self._running: dict[int, _Running] = {}
        self._best = BestSoFar()
        self._summary: Summary | None = None
        self._is_abandoned = False
        self._times: Mapping[int, float] | None = None
        self._leftover: dict[int, str] = {}
        self._is_described = False
        self._is_listed = False
        self._best_written: int | None = None
        self._unsure: set[int] = set()
        self._failures = 0
        self._artifact_failures = 0
        self._last_progress = time.monotonic()
        self._next_poll = time.monotonic() + poll_s
        times = ledger_times(runs.info.folder) if recorded else {}
        for outcome in recorded:
            self._best.add(outcome, times.get(outcome.proposal.index, time.time()))

    # Called by the study's thread.

    def started(self, proposal: Proposal, blueprint: Blueprint) -> None:
        with self._changed:
            self._running[proposal.index] = _Running(proposal, blueprint, time.time())

    def ended(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """Takes an outcome; waits a moment where the server is slower than the study."""
        with self._changed:
            while len(self._waiting) >= self._max_waiting and self._is_moving():
                self._changed.wait(0.1)
            has_blueprint = len(self._waiting) < self._max_waiting
            kept = blueprint if has_blueprint else None
            if running := self._running.pop(outcome.proposal.index, None):
                running.blueprint = None
            self._waiting.append(_Ended(outcome, kept, has_blueprint, time.time(), running))
            self._best.add(outcome, time.time())
            self._changed.notify_all()

    def finish(self, summary: Summary, timeout_s: float) -> int:
        """Waits until all is written, or nothing was for ``timeout_s``; returns what is missing."""
        with self._changed:
            self._summary = summary
            self._last_progress = time.monotonic()
            self._changed.notify_all()
            while not self.is_done and time.monotonic() - self._last_progress < timeout_s:
                self._changed.wait(0.1)
            self._is_abandoned = True
            return len(self._waiting) + self.num_skipped

    def _is_moving(self) -> bool:
        recent = time.monotonic() - self._last_progress < _PATIENCE_S
        return self.is_alive() and self._failures == 0 and recent

    # The thread's own.

    def run(self) -> None:
        while not self._is_abandoned and not self.is_done:
            try:
                self._step()
                self._succeeded()
            except Exception as error:  # whatever MLflow and its libraries raise: a study goes on
                self._failed(error)

    def _step(self) -> None:
        """Writes one thing."""
        if not self.runs.is_connected:
            self.runs.connect()
        elif not self._is_described:
            self._write_artifacts(self.runs.write_config)
            self._is_described = True
        elif not self._is_listed:
            self._list()
        elif time.monotonic() >= self._next_poll:
            self._poll()
        elif self._waiting:
            self._write(self._waiting[0])
        elif self._summary is not None:
            self._write_best()
            self.runs.write_summary(self._summary)
            self._write_artifacts(self.runs.write_ledger)
            self.runs.end(self._summary)
            self.is_done = True
        else:
            with self._changed:
                if not self._waiting and self._summary is None:
                    self._changed.wait(max(0.0, self._next_poll - time.monotonic()))

    def _list(self) -> None:
        """Finds out what an earlier session wrote, and drops that from what is waiting."""
        there = {} if self.runs.is_new else self.runs.children.all()
        finished = {index for index, (_, status) in there.items() if status != "RUNNING"}
        self._leftover = {i: run_id for i, (run_id, _) in there.items() if i not in finished}
        with self._changed:
            missing = [e for e in self._waiting if e.outcome.proposal.index not in finished]
            self._waiting = deque(missing)
        self._is_listed = True

    def _poll(self) -> None:
        """Writes the curves of children that run longer than a look, and the best so far."""
        self._next_poll = time.monotonic() + self._poll_s  # first: a failure must not block
        with self._changed:
            running = list(self._running.values())
        for child in running:
            index, blueprint = child.proposal.index, child.blueprint
            if blueprint is None or time.time() - child.start_s < self._poll_s:
                continue
            child.run = child.run or self._find(index)
            if child.run is None:
                self._unsure.add(index)
                child.run = self.runs.children.start(child.proposal, blueprint, child.start_s)
                self._unsure.discard(index)
            self.runs.children.write_curves(child.run)
        self._write_best()

    def _write(self, ended: _Ended) -> None:
        """Writes a recorded child, in an order that can be continued wherever it breaks off."""
        outcome = ended.outcome
        index = outcome.proposal.index
        children = self.runs.children
        try:
            if ended.run is None:
                made = ended.running.run if ended.running else None
                ended.run = made or self._find(index)
            blueprint = self._blueprint(ended)
            ended.end_s = ended.end_s or self._end_time(index)
            self._unsure.add(index)
            ended.run = children.write_outcome(ended.run, outcome, blueprint, ended.end_s)
            self._unsure.discard(index)
            self._write_artifacts(
                functools.partial(children.write_artifacts, ended.run, outcome, blueprint)
            )
            children.end(ended.run, outcome, ended.end_s)
        except Exception as error:
            self._give_up_if_hopeless(ended, error)
            raise
        self._drop(index)

    def _drop(self, index: int) -> None:
        with self._changed:
            self._waiting.popleft()
            self._leftover.pop(index, None)

    def _find(self, index: int) -> ChildRun | None:
        """The run that an earlier session has made, or a request that seemed to fail."""
        if index in self._leftover:
            return self.runs.children.adopt(index, self._leftover[index])
        return self.runs.children.find(index) if index in self._unsure else None

    def _blueprint(self, ended: _Ended) -> Blueprint | None:
        if not ended.has_blueprint:
            try:
                ended.blueprint = self._inspect(ended.outcome.proposal.genotype)
            except SpaceError:  # an invalid child has none
                ended.blueprint = None
            ended.has_blueprint = True
        return ended.blueprint

    def _end_time(self, index: int) -> float:
        """When a child of an earlier session ended."""
        if self._times is None:
            self._times = ledger_times(self.runs.info.folder)
        try:
            return (child_folder(self.runs.info.folder, index) / "outcome.json").stat().st_mtime
        except OSError:
            return self._times.get(index, time.time())

    def _write_best(self) -> None:
        if self._best_written is None:
            self._best_written = self.runs.last_best()
        with self._changed:
            points = self._best.after(self._best_written)
        if points:
            self.runs.write_best(points)
            self._best_written = points[-1][0]

    def _succeeded(self) -> None:
        with self._changed:
            self._failures = 0
            self._last_progress = time.monotonic()
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        reason = " ".join(str(error).split())
        with self._changed:
            self._failures += 1
            is_news = reason != self.last_error
            self.last_error = reason
        if is_news:
            _log.info("MLflow cannot be written, and is tried again: %s", reason)
        with self._changed:
            had_summary = self._summary is not None
            longest = _CLOSING_PAUSE_S if had_summary else _LONGEST_PAUSE_S
            pause = min(longest, _FIRST_PAUSE_S * 2 ** (self._failures - 1))
            until = time.monotonic() + pause
            while time.monotonic() < until and not self._is_abandoned:
                self._changed.wait(until - time.monotonic())
                if self._summary is not None and not had_summary:
                    break

    def _write_artifacts(self, write: Callable[[], None]) -> None:
        """Writes artifacts, unless they have failed again and again while the server answers."""
        if self._artifact_failures >= _MAX_ATTEMPTS:
            return
        try:
            write()
            self._artifact_failures = 0
        except ArtifactError as error:
            self.runs.last_best()  # raises where the server is away: no reason to give up
            self._artifact_failures += 1
            if self._artifact_failures < _MAX_ATTEMPTS:
                raise
            _log.warning("MLflow artifacts cannot be written, and are left out: %s", error)

    def _give_up_if_hopeless(self, ended: _Ended, error: Exception) -> None:
        """Skips what the server refuses although it answers, so that the rest gets through."""
        self.runs.last_best()  # as above
        ended.attempts += 1
        if ended.attempts < _MAX_ATTEMPTS:
            return
        index, reason = ended.outcome.proposal.index, " ".join(str(error).split())
        _log.warning("MLflow refuses child %d, which stands in the ledger: %s", index, reason)
        self.num_skipped += 1
        self._drop(index)
