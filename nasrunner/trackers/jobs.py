"""Does what a tracker writes to a server, in a thread of its own, so that a study never waits."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from nasrunner.core.machine.stopping import ToldToStop

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0  # between two tries of what failed
_CLOSING_PAUSE_S = 1.0  # the study waits, no longer than it is told to
_MAX_REFUSALS = 3  # a run that is begun again may be ending for a moment
_QUIET_S = 5.0  # so long the end waits before it tells what for


@dataclass(frozen=True)
class _Job:
    what: str
    do: Callable[[], None]


class JobThread(threading.Thread):
    """Does one job after the other, each until it succeeds or is refused for good.

    Args:
        server: what people call it.
        is_refusal: tells whether a job fails with this error however often it is tried.

    Attributes:
        last_error: why the latest try failed; empty where it did not.
        is_abandoned: nothing more is done.
        num_refused: jobs that were left out.
    """

    def __init__(self, server: str, is_refusal: Callable[[Exception], bool]) -> None:
        super().__init__(name=server, daemon=True)
        self.last_error = ""
        self.is_abandoned = False
        self.num_refused = 0
        self._server = server
        self._is_refusal = is_refusal
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_last = False
        self._succeeded_s = time.monotonic()
        self._failures = 0

    @property
    def num_waiting(self) -> int:
        """Jobs that are not done."""
        return len(self._jobs)

    def add(self, what: str, job: Callable[[], None]) -> None:
        """Does a job after those before it.

        Args:
            what: says in a warning what is lacking without it.
            job: may be done again after it has failed.
        """
        with self._changed:
            self._jobs.append(_Job(what, job))
            self._changed.notify_all()

    def finish(self, timeout_s: float, rest: str) -> None:
        """Waits until all is done, nothing was for ``timeout_s``, or the user stops it.

        Args:
            timeout_s: seconds without a job that succeeds.
            rest: the command that does what is left, told where the wait is long.
        """
        try:
            self._wait(timeout_s, rest)
        except ToldToStop:
            raise
        except KeyboardInterrupt:
            self.last_error = self.last_error or "interrupted"
        finally:
            self.abandon()

    def _wait(self, timeout_s: float, rest: str) -> None:
        with self._changed:
            self._is_last, asked, is_told = True, time.monotonic(), False
            self._changed.notify_all()
            while self._jobs and self.is_alive():
                now = time.monotonic()
                if (left := timeout_s - (now - max(asked, self._succeeded_s))) <= 0:
                    break
                if not is_told and now - asked > _QUIET_S and not self.last_error:
                    is_told = True
                    _log.warning(
                        "%s still takes %s runs and points; Ctrl-C twice leaves them to %s",
                        self._server,
                        f"{len(self._jobs):,}",
                        rest,
                    )
                self._changed.wait(min(left, 1.0))

    def abandon(self) -> None:
        """Does nothing more."""
        with self._changed:
            self.is_abandoned = True
            self._changed.notify_all()

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self.is_abandoned:
                    self._changed.wait()
                if self.is_abandoned:
                    return
                job = self._jobs[0]
            try:
                job.do()
            except Exception as error:  # whatever the server and its library raise: a study goes on
                self._failed(job, error)
            else:
                self._succeeded()

    def _succeeded(self) -> None:
        self._succeeded_s = time.monotonic()
        self._next()

    def _next(self) -> None:
        with self._changed:
            self._jobs.popleft()
            self.last_error, self._failures = "", 0
            self._changed.notify_all()

    def _failed(self, job: _Job, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        self._failures += 1
        if self._is_refusal(error):
            if self._failures >= _MAX_REFUSALS:
                self._leave_out(job, reason)
                return
        elif self._failures == 2:  # a run that is begun again may be ending for a moment
            _log.warning("%s cannot be written, and is tried again: %s", self._server, reason)
        self.last_error = reason
        begun, pause_s = time.monotonic(), _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 20)
        with self._changed:
            while not self.is_abandoned:
                longest = _CLOSING_PAUSE_S if self._is_last else _LONGEST_PAUSE_S
                if (left := begun + min(pause_s, longest) - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)

    def _leave_out(self, job: _Job, reason: str) -> None:
        """Lets the jobs after it through."""
        if not self.num_refused:
            _log.warning(
                "%s refuses %s, which stands in the ledger; others are counted: %s",
                self._server,
                job.what,
                reason,
            )
        self.num_refused += 1
        self._next()
