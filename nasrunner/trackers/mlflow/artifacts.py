"""Artifacts while they cannot be written: left alone for a while, tried again, told once."""

import logging
import time
from collections.abc import Callable

from nasrunner.trackers.mlflow.faults import ArtifactError

_log = logging.getLogger(__name__)


class Artifacts:
    """How the place of a study's artifacts does.

    Args:
        pause: seconds until the next try, after so many in a row have failed.
        ask: raises where MLflow does not answer: then it is not the artifacts that fail.

    Attributes:
        num_failures: tries that failed in a row.
        ready_s: until then nothing is tried, in seconds of the monotonic clock.
        error: what the latest failure was; None before the first.
    """

    def __init__(self, pause: Callable[[int], float], ask: Callable[[], object]) -> None:
        self.num_failures = 0
        self.ready_s = 0.0
        self.error: ArtifactError | None = None
        self._pause = pause
        self._ask = ask
        self._is_told = False

    def wrote(self, write: Callable[[], None]) -> bool:
        """Writes artifacts, if they can be."""
        if time.monotonic() < self.ready_s:
            return False
        try:
            write()
        except ArtifactError as error:
            self._ask()
            self.error = error
            self.num_failures += 1
            self.ready_s = time.monotonic() + self._pause(self.num_failures)
            if not self._is_told:
                _log.warning("MLflow artifacts cannot be written, and are added later: %s", error)
            self._is_told = True
            return False
        self.num_failures, self._is_told = 0, False
        return True

    def hope(self) -> None:
        """Tries again at once, and as often as if nothing had failed."""
        self.num_failures, self.ready_s = 0, 0.0
