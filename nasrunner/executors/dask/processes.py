"""Scheduler, worker and nanny as this project runs them: no HTTP port, no graceful end.

A module of its own, imported late and in the fork server, because importing distributed takes a
third of a second.
"""

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from distributed import Nanny, Scheduler, SpecCluster, Status, Worker
from distributed.security import Security

from nasrunner.core import NasRunnerError
from nasrunner.executors.running import last_lines

SETTINGS: Mapping[str, Any] = {
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.worker.daemon": False,  # a daemon may not start processes; data loaders do
    "distributed.worker.use-file-locking": False,
    "distributed.worker.profile.enabled": False,  # samples the child's thread every 10 ms
    "distributed.worker.memory.target": False,  # workers hold no data that could be spilled
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # a paused worker would never start its child
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.http.routes": [],
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.worker-ttl": None,  # the nannies watch the processes themselves
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.nanny.pre-spawn-environ": {},  # would be set in the calling process
}
"""Dask's settings for workers on this machine."""

Died = Callable[[str, str], None]
"""Told of a worker process that ended by itself: its address, and how it ended, in words."""

Broken = Callable[[NasRunnerError], None]
"""Told that a worker process which died cannot be replaced."""

_MOST_FAILED_STARTS = 5


class QuietScheduler(Scheduler):
    """Serves no dashboard and no health page."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


class QuietWorker(Worker):
    """Serves no dashboard and no health page."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        pass


class LocalNanny(Nanny):
    """Restarts its worker process when it dies, says why it died, and kills it at the end.

    Args:
        died: told of every death but the ordered one.
        broken: told when no new process can be started, or none stays alive.
        limit_gb: ``memory_limit`` in 10^9 bytes, for messages.
    """

    def __init__(
        self, *args: Any, died: Died, broken: Broken, limit_gb: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.pre_spawn_env = {}  # holds a PYTHONHASHSEED for the calling process
        self._died = died
        self._broken = broken
        self._limit_gb = limit_gb
        self._memory_gb: float | None = None
        self._num_failed_starts = 0

    async def instantiate(self) -> Status:
        try:
            status = await super().instantiate()
        except Exception as error:
            self._broken(NasRunnerError(f"a worker cannot be started: {last_lines(error)}"))
            raise
        self._num_failed_starts = 0 if status == Status.running else self._num_failed_starts + 1
        if self._num_failed_starts == _MOST_FAILED_STARTS:
            self._broken(
                NasRunnerError(f"workers die as they start, {_MOST_FAILED_STARTS} times in a row")
            )
        return status

    def log_event(self, topic: str, msg: Any) -> None:
        # Called just before Dask's memory monitor terminates the process.
        if topic == "worker-restart-memory":
            self._memory_gb = msg["rss"] / 1e9
        super().log_event(topic, msg)  # type: ignore[no-untyped-call]  # Dask's

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        if exitcode < 0:
            how = f"it was killed by {signal.Signals(-exitcode).name}"
        else:
            how = f"it ended with exit code {exitcode}"
        if self._memory_gb is not None:
            how = (
                f"it used {self._memory_gb:.2f} GB and was stopped; the limit is 95 % of "
                f"executor.memory_limit_gb={self._limit_gb:.2f}"
            )
        elif exitcode == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
        self._memory_gb = None
        if self.worker_address is not None:
            self._died(self.worker_address, how)
        super()._on_worker_exit_sync(exitcode)  # type: ignore[no-untyped-call]  # Dask's

    async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:
        # Nothing in a worker needs saving: what counts is in its child's folder.
        process: Any = self.process and self.process.process
        if process is not None and process.is_alive():
            await process.kill()
        with suppress(AssertionError):  # Dask's, where the process was just being started again
            await super().kill(timeout=timeout, reason=reason)


def start_cluster(
    environs: Sequence[Mapping[str, str]],
    limit_gb: float,
    folder: str,
    died: Died,
    broken: Broken,
) -> SpecCluster:
    """Starts a scheduler in this process and a worker process for each of ``environs``.

    Blocks until all workers have registered. Everything listens on the loopback device only, and
    speaks TLS with a key that is made for it and is in no file: whoever else reaches an open port
    of Dask's, any user of the machine, runs code as this one.

    Args:
        environs: the environment variables of each worker's own.
        limit_gb: memory limit of one worker, in 10^9 bytes.
        folder: where workers may keep temporary files.
        died: told of worker processes that end by themselves.
        broken: told when a worker cannot be replaced.
    """
    security = Security.temporary()  # type: ignore[no-untyped-call]  # Dask's
    options = {
        "nthreads": 1,  # children a worker runs at a time
        "host": "127.0.0.1",
        "died": died,
        "broken": broken,
        "limit_gb": limit_gb,
        "memory_limit": int(limit_gb * 1e9),
        "local_directory": folder,
        "silence_logs": logging.CRITICAL + 1,
        "worker_class": QuietWorker,
        "security": security,
        "protocol": "tls://",
    }
    workers = {
        name: {"cls": LocalNanny, "options": {**options, "env": dict(environ)}}
        for name, environ in enumerate(environs)
    }
    address = {"host": "127.0.0.1", "port": 0, "protocol": "tls://", "security": security}
    return SpecCluster(  # type: ignore[no-untyped-call]
        workers=workers,
        scheduler={"cls": QuietScheduler, "options": address},
        security=security,
    )
