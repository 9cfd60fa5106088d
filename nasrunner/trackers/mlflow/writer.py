"""The thread that writes a study to MLflow, so that the study never waits for a server."""

import contextlib
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nasrunner.core.decision import Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.ledger.history import History
from nasrunner.core.ledger.state import StudyState
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.ports import Blueprint, Inspect, Summary
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.screen.leaderboard import best_children, leaders
from nasrunner.trackers.curves import BestSoFar, Estimates, ledger_times
from nasrunner.trackers.lines import Line, Lines
from nasrunner.trackers.mlflow.artifacts import Artifacts
from nasrunner.trackers.mlflow.children import ChildRun
from nasrunner.trackers.mlflow.faults import is_refusal
from nasrunner.trackers.mlflow.runs import StudyRuns
from nasrunner.trackers.notes import running_note

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_CLOSING_PAUSE_S = 1.0  # the study waits for the server, no longer than close_timeout_s
_LONGEST_STEP_S = 600.0  # importing MLflow where many do, waiting for who makes its tables
_FIRST_TRIES_S = 3.0  # so long what fails at the start is tried again before it is told
_MAX_ATTEMPTS = 5
_PATIENCE_S = 1.0


@dataclass(slots=True)
class _Running:
    """A child that was started; it has no blueprint any more once it is recorded."""

    proposal: Proposal
    blueprint: Blueprint | None
    start_s: float
    line: Line
    is_ended: bool = False
    run: ChildRun | None = None


@dataclass(slots=True)
class _Ended:
    """A child that was recorded and is not written."""

    outcome: Outcome
    blueprint: Blueprint | None
    has_blueprint: bool
    end_s: float | None
    line: Line
    running: _Running | None = None
    run: ChildRun | None = None
    run_id: str | None = None
    attempts: int = 0


class Writer(threading.Thread):
    """Writes what it is told, and tries again for as long as the server is away.

    Children are written in order, but for one that fails while others do not: it goes to the end of
    the queue, and those that go on with it wait for it. One that MLflow refuses is skipped.
    Artifacts that cannot be written hold up nothing: they are written when they can be, in this
    session or one that resumes the study.

    Blueprints, with their drawings, are kept for ``max_waiting`` children; those of the others
    are made again when their turn comes. The outcomes themselves a study keeps anyway.

    Args:
        runs: where to write.
        state: what the ledger holds; what of it is missing is written. Only methods that the
            study's thread calls look at it.
        inspect: makes a child's blueprint again; called in this thread.
        poll_s: seconds between two looks at the curves of running children.
        max_waiting: so many children may wait before ``ended`` waits, while the server takes any.
    """

    def __init__(
        self,
        runs: StudyRuns,
        state: StudyState,
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
        self.is_bare = False
        self._inspect = inspect
        self._poll_s = poll_s
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._waiting: deque[_Ended] = deque()
        self._bare: deque[_Ended] = deque()
        self._running: dict[int, _Running] = {}
        self._best = BestSoFar()
        self._estimates = Estimates()
        self._estimates_there: set[int] | None = None
        self._summary: Summary | None = None
        self._is_abandoned = False
        self._times: Mapping[int, float] | None = None
        self._leftover: dict[int, str] = {}
        self._first_error: Exception | None = None
        self._is_described = False
        self._is_listed = False
        self._best_written: int | None = None
        self._note: str | None = None
        self._leaders = leaders(state)
        self._best_known: dict[str, Blueprint] = {}
        self._lacks_note = False
        self._unsure: set[int] = set()
        self._failures = 0
        self._failing_since: float | None = None
        self._artifacts = Artifacts(self._pause, runs.last_best)
        self._last_progress = time.monotonic()
        self._next_poll = time.monotonic() + poll_s
        self._state = state
        self._lines = Lines(state.lineages)
        recorded = state.history.outcomes
        times = ledger_times(runs.info.folder) if recorded else {}
        before = History()
        for outcome in recorded:
            before.add(outcome)
            time_s = times.get(outcome.proposal.index, time.time())
            self._best.add(outcome.proposal, before.ranking, time_s)
            if outcome.proposal.kind == "estimate":
                self._estimates.add(outcome, time_s)
            else:
                line = self._lines.ended(outcome)
                self._waiting.append(_Ended(outcome, None, False, None, line))

    # Called by the study's thread.

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        """Takes what is being trained; a supernet has no blueprint, and an estimate no run."""
        if proposal.kind == "estimate":
            return
        line = self._lines.of(proposal)
        with self._changed:
            self._running[proposal.index] = _Running(proposal, blueprint, time.time(), line)

    def ended(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        """Takes an outcome; waits a moment where the server is slower than the study."""
        ranking = self._state.history.ranking
        if outcome.proposal.kind == "estimate":
            with self._changed:
                self._estimates.add(outcome, time.time())
            return
        line = self._lines.ended(outcome)
        note = self._better(outcome.proposal, blueprint)
        with self._changed:
            while len(self._waiting) >= self._max_waiting and self._is_moving():
                self._changed.wait(0.1)
            has_blueprint = len(self._waiting) < self._max_waiting
            kept = blueprint if has_blueprint else None
            if running := self._running.pop(outcome.proposal.index, None):
                running.blueprint, running.is_ended = None, True
            ended = _Ended(outcome, kept, has_blueprint, time.time(), line, running)
            self._waiting.append(ended)
            self._best.add(outcome.proposal, ranking, time.time())
            self._note = note or self._note
            self._changed.notify_all()

    def _better(self, proposal: Proposal, blueprint: Blueprint | None) -> str | None:
        """Describes the study where its best children are others than before.

        Args:
            proposal: the child that has just ended.
            blueprint: its architecture; None: it has none.
        """
        if (now := leaders(self._state)) == self._leaders:
            return None
        self._leaders = now
        known, self._best_known = self._best_known, {}
        if blueprint is not None:
            known[repr(proposal.genotype)] = replace(blueprint, draw=str)  # pictures are large

        def inspect(genotype: Genotype) -> Blueprint:
            key = repr(genotype)
            found = known.get(key) or replace(self._inspect(genotype), draw=str)
            self._best_known[key] = found
            return found

        try:
            best, history = best_children(self._state, inspect), self._state.history
        except Exception as error:  # a user's module may raise anything: the study goes on
            if not self._lacks_note:
                _log.warning("MLflow's note lacks the best children: %s", error)
            self._lacks_note = True
            self._best_known |= known
            return None
        return running_note(self.runs.info, history.num_spent, best, history.shown()[1])

    def first_error(self, timeout_s: float) -> Exception | None:
        """Returns why the first tries have failed; waits for them, but no longer than
        ``timeout_s``.
        """
        until = time.monotonic() + timeout_s
        with self._changed:
            while not self._is_tried() and time.monotonic() < until:
                self._changed.wait(0.1)
            return self._first_error or self._artifacts.error

    def _is_tried(self) -> bool:
        """Whether all that the first child waits for is known."""
        if self._is_described or self._failing_since is None:
            return self._is_described
        is_refused = self._first_error is not None and is_refusal(self._first_error)
        return is_refused or time.monotonic() - self._failing_since >= _FIRST_TRIES_S

    def abandon(self) -> None:
        """Writes nothing more."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def finish(self, summary: Summary, timeout_s: float) -> None:
        """Waits until all is written, or nothing could be for ``timeout_s``."""
        with self._changed:
            self._summary = summary
            self._artifacts.hope()
            asked = time.monotonic()
            self._changed.notify_all()
            while not self.is_done and self._is_hopeful(asked, timeout_s):
                self._changed.wait(0.1)
        self.abandon()

    @property
    def num_missing(self) -> int:
        """Children that MLflow lacks, or has not all of."""
        return len(self._waiting) + self.num_skipped

    @property
    def num_bare(self) -> int:
        """Children of which MLflow has all but their artifacts."""
        return len(self._bare)

    @property
    def reason(self) -> str:
        """Why something is missing; empty where nothing has failed."""
        error = str(self._artifacts.error or "") if self._bare or self.is_bare else ""
        return " ".join(error.split()) or self.last_error

    def _is_hopeful(self, asked: float, timeout_s: float) -> bool:
        """Whether what fails may still succeed; what is being done is waited for much longer."""
        now = time.monotonic()
        if self._failing_since is not None:
            return now - max(self._failing_since, asked) < timeout_s
        return now - max(self._last_progress, asked) < _LONGEST_STEP_S

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
            self._artifacts.wrote(self.runs.write_config)  # or at the end, with the ledger
            self._is_described = True
        elif not self._is_listed:
            self._list()
        elif time.monotonic() >= self._next_poll:
            self._poll()
        elif self._waiting and not self._is_hopeless():
            self._write(self._next())
        elif self._summary is not None and (not self._bare or self._leaves_bare()):
            self._end(self._summary)
        elif self._bare and time.monotonic() >= self._artifacts.ready_s:
            self._complete(self._bare[0])
        else:
            self._rest()

    def _rest(self) -> None:
        """Waits for a child, the next look at curves, or until artifacts may be tried again."""
        until = min(self._next_poll, self._artifacts.ready_s) if self._bare else self._next_poll
        with self._changed:
            if not self._waiting and (self._summary is None or self._bare):
                self._changed.wait(max(0.0, until - time.monotonic()))

    def _end(self, summary: Summary) -> None:
        """Writes how the study ended."""
        self._write_best()
        self._write_estimates()
        self.runs.write_summary(summary)
        while not (has_ledger := self._artifacts.wrote(self.runs.write_ledger)):
            if self._leaves_bare():
                break
            with self._changed:
                self._changed.wait(max(0.0, self._artifacts.ready_s - time.monotonic()))
        self.is_bare = not has_ledger
        self.runs.end(summary)
        self.runs.close()
        self.is_done = True

    def _list(self) -> None:
        """Finds out what an earlier session wrote, and drops that from what is waiting."""
        there = {} if self.runs.is_new else self.runs.children.all()
        ended = frozenset[int]().union(*(known.written for known in there.values()))
        self._leftover = {i: known.run_id for i, known in there.items() if i not in ended}
        with self._changed:
            recorded, self._waiting = self._waiting, deque()
            for each in recorded:
                known = there.get(each.line.first)
                if known is None or each.line.index not in known.written:
                    self._waiting.append(each)
                elif known.is_bare and each.line.index == max(known.written):
                    each.run_id = known.run_id
                    self._bare.append(each)
        self._is_listed = True

    def _poll(self) -> None:
        """Writes the curves of children that run longer than a look, and the best so far."""
        self._next_poll = time.monotonic() + self._poll_s  # first: a failure must not block
        children = self.runs.children
        with self._changed:
            running = list(self._running.values())
            waiting = {each.line.first for each in self._waiting}
        for child in running:
            line, blueprint = child.line, child.blueprint
            if child.is_ended or time.time() - child.start_s < self._poll_s:
                continue
            if line.place and line.first in waiting:  # the one before is written first
                continue
            if child.run is None and (found := self._find(line)) is not None:
                if line.place:
                    children.reopen(found)
                child.run = found
            if child.run is None:
                self._unsure.add(line.first)
                child.run = children.start(child.proposal, blueprint, child.start_s, line)
                self._unsure.discard(line.first)
            children.write_curves(child.run)
        self._write_best()
        self._write_estimates()

    def _next(self) -> _Ended:
        """The child to be written: of a line one before those that go on with it."""
        with self._changed:
            for _ in range(len(self._waiting)):
                first = self._waiting[0]
                line = first.line
                if not line.place or not any(
                    each.line.first == line.first and each.line.place < line.place
                    for each in self._waiting
                ):
                    return first
                self._waiting.rotate(-1)
            raise AssertionError("the first of a line waits for nobody")

    def _write(self, ended: _Ended) -> None:
        """Writes a recorded child, in an order that can be continued wherever it breaks off."""
        outcome, line = ended.outcome, ended.line
        children = self.runs.children
        try:
            if ended.run is None:
                made = ended.running.run if ended.running else None
                ended.run = made or self._find(line)
            blueprint = self._blueprint(ended)
            ended.end_s = ended.end_s or self._end_time(line.index)
            self._unsure.add(line.first)
            ended.run = children.write_outcome(ended.run, outcome, blueprint, ended.end_s, line)
            self._unsure.discard(line.first)
            write = functools.partial(children.write_artifacts, ended.run, outcome, blueprint)
            if is_bare := not self._artifacts.wrote(write):
                children.mark_bare(ended.run)
            children.end(ended.run, outcome, ended.end_s, line)
        except Exception as error:
            self._put_off(ended, error)
            raise
        self._drop(line.index)
        if line.place:  # its artifacts are the run's from now on
            self._bare = deque(each for each in self._bare if each.line.first != line.first)
        if is_bare:
            ended.blueprint, ended.has_blueprint = None, False  # drawings are large
            self._bare.append(ended)

    def _complete(self, ended: _Ended) -> None:
        """Writes the artifacts of a child that has all but them."""
        children = self.runs.children
        if ended.run is None:
            assert ended.run_id is not None, "a session before this one has made it"
            ended.run = children.adopt(ended.line, ended.run_id)
        blueprint = self._blueprint(ended)
        if self._artifacts.wrote(
            functools.partial(children.write_artifacts, ended.run, ended.outcome, blueprint)
        ):
            children.unmark_bare(ended.run)
            self._bare.popleft()
        ended.blueprint, ended.has_blueprint = None, False

    def _drop(self, index: int) -> None:
        with self._changed:
            self._waiting.popleft()
            self._leftover.pop(index, None)

    def _find(self, line: Line) -> ChildRun | None:
        """The run of an earlier child or session, or of a request that seemed to fail."""
        if line.first in self._leftover:
            return self.runs.children.adopt(line, self._leftover[line.first])
        is_asked = line.place or line.first in self._unsure
        return self.runs.children.find(line) if is_asked else None

    def _blueprint(self, ended: _Ended) -> Blueprint | None:
        if ended.outcome.proposal.kind == "supernet":
            return None
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
            return ChildFolder.of(self.runs.info.folder, index).outcome_written_s()
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
        with self._changed:
            note = self._note
        if note is not None and self._summary is None:  # which tells more
            self.runs.write_note(note)
        with self._changed:
            self._note = None if self._note is note else self._note

    def _write_estimates(self) -> None:
        with self._changed:
            points = self._estimates.points()
        if not points:
            return
        if self._estimates_there is None:
            self._estimates_there = set() if self.runs.is_new else self.runs.estimates()
        self.runs.write_estimates([p for p in points if p[0] not in self._estimates_there])
        with self._changed:
            self._estimates.take(point[0] for point in points)

    def _succeeded(self) -> None:
        with self._changed:
            if not self._is_described:
                self._first_error = None
            self._failures = 0
            self._failing_since = None
            self._last_progress = time.monotonic()
            self._changed.notify_all()

    def _failed(self, error: Exception) -> None:
        reason = " ".join(str(error).split())
        with self._changed:
            self._failures += 1
            self._failing_since = self._failing_since or time.monotonic()
            if not self._is_described:
                self._first_error = error
            is_news = reason != self.last_error
            self.last_error = reason
            if is_news:  # before whoever waits for it goes on
                _log.info("MLflow cannot be written, and is tried again: %s", reason)
            self._changed.notify_all()
        if is_refusal(error) and self.runs.is_connected:
            with contextlib.suppress(Exception):  # the same, or it is away by now
                self._restore()
        with self._changed:
            had_summary = self._summary is not None
            until = time.monotonic() + self._pause(self._failures)
            while time.monotonic() < until and not self._is_abandoned:
                self._changed.wait(until - time.monotonic())
                if self._summary is not None and not had_summary:
                    break

    def _pause(self, failures: int) -> float:
        """Seconds until the next try, after so many in a row have failed."""
        longest = _LONGEST_PAUSE_S if self._summary is None else _CLOSING_PAUSE_S
        return min(longest, _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30))

    def _restore(self) -> None:
        """Takes what is being written out of MLflow's trash, where somebody has put it."""
        with self._changed:
            holders: list[_Running | _Ended] = [*self._running.values(), *self._waiting]
        made = [each for each in holders if each.run is not None]
        gone = self.runs.restore(each.run for each in made if each.run is not None)
        for each in made:
            if each.run is not None and each.run.run_id in gone:
                each.run = None

    def _leaves_bare(self) -> bool:
        """Whether artifacts have failed often enough at the end of a study."""
        return self._artifacts.num_failures >= _MAX_ATTEMPTS

    def _is_hopeless(self) -> bool:
        """Whether nothing keeps a study from its end but children that fail again and again."""
        often = 2 * _MAX_ATTEMPTS
        failing = {each.line.first for each in self._waiting if each.attempts >= often}
        is_all = all(each.line.first in failing for each in self._waiting)
        return self._summary is not None and is_all

    def _put_off(self, ended: _Ended, error: Exception) -> None:
        """Lets others through where MLflow takes them; skips a child that it refuses."""
        self.runs.last_best()  # raises where the server is away: it is not the child
        ended.attempts += 1
        if ended.attempts % _MAX_ATTEMPTS:
            return
        if not is_refusal(error):
            with self._changed:
                self._waiting.rotate(-1)
            return
        index, reason = ended.outcome.proposal.index, " ".join(str(error).split())
        _log.warning("MLflow refuses child %d, which stands in the ledger: %s", index, reason)
        self.num_skipped += 1
        self._drop(index)
