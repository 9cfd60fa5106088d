"""Children on the workers of a Dask cluster, one on each at a time, whatever cluster it is."""

import atexit
import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from nasrunner.core import NasRunnerError, Outcome, Proposal, Train
from nasrunner.core.imports import quick_imports
from nasrunner.executors.running import OUTCOMES, failed, last_lines, work
from nasrunner.executors.warm import sigint_blocked

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # this executor retries, and knows whom to blame
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.admin.log-length": 100,  # published outcomes the scheduler remembers
    "distributed.admin.low-level-log-length": 100,
}
_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application")
_SEND_INTERVAL_S = 0.001
_ROLL_CALL_S = 5.0
_ABORT_INTERVAL_S = 0.1


class Cluster(Protocol):
    """Where workers come from; everything about one kind of cluster is behind this."""

    def settings(self) -> dict[str, Any]:
        """Dask settings that hold while the cluster is in use."""

    def start(self, broken: Callable[[NasRunnerError], None]) -> Any:
        """Starts it, in a thread of its own, and returns a ``distributed.deploy.Cluster``.

        Args:
            broken: to be called, from any thread, when later no worker can start any more.

        Raises:
            NasRunnerError: no worker can start, or ``abort`` was called.
        """

    def abort(self) -> None:
        """Makes a ``start`` in another thread return or raise soon; repeated until it has."""

    def why_died(self, address: str) -> str:
        """How the worker that was at this address ended, in words, as far as is known."""

    def close(self) -> None:
        """Removes what ``start`` left behind, after Dask's cluster was closed."""


@dataclass
class _Job:
    """A child from its submission to its outcome; ``deaths`` counts workers that died of it."""

    payload: bytes
    proposal: Proposal
    ticket: str
    submitted_s: float
    deaths: int = 0
    future: Any = None


class DaskExecutor:
    """Runs children on a Dask cluster's workers, in the order they were submitted.

    Every child is bound to one idle worker, so that a worker that dies takes exactly one child
    with it. The cluster starts in the background; children wait for its workers.

    One thread, the dispatcher, owns what is known of workers and children; the study's thread and
    Dask's threads talk to it through a queue, and it answers through another.

    Args:
        cluster: where the workers come from.
        slots: how many workers there are, or will be.
        threads_per_worker: CPU threads torch may use in a worker.
        retries: how often a child is started again whose worker died.
    """

    is_remote = True

    def __init__(self, cluster: Cluster, slots: int, threads_per_worker: int, retries: int) -> None:
        self._cluster = cluster
        self._slots = slots
        self._threads_per_worker = threads_per_worker
        self._retries = retries
        self._num_submitted = 0
        self._num_running = 0
        self._pickled: tuple[Train, bytes] | None = None
        self._broken: Exception | None = None
        self._events: queue.SimpleQueue[tuple[Callable[[Any], None], Any]] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Outcome | Exception] = queue.SimpleQueue()
        # From here on the dispatcher's own.
        self._queue: deque[_Job] = deque()
        self._jobs: dict[str, _Job] = {}  # by ticket: not ended yet
        self._workers: dict[str, _Job | None] = {}  # by address: what it is busy with
        self._client: Any = None
        self._open = ExitStack()
        self._is_closing = False
        self._dispatcher = threading.Thread(target=self._dispatch_all, name="dispatcher")
        self._dispatcher.daemon = True  # a driver that forgets to close can still end
        with sigint_blocked():
            self._dispatcher.start()
        atexit.register(self.close)

    def free_slots(self) -> int:
        return max(0, self._slots - self._num_running)

    def submit(self, train: Train, proposal: Proposal, folder: Path) -> None:
        """Starts a child, or queues it until a worker is idle.

        Raises:
            NasRunnerError: ``train`` cannot be pickled.
        """
        payload = self._pickle(train)
        job = _Job(payload, proposal, str(self._num_submitted), time.perf_counter())
        self._num_submitted += 1
        self._num_running += 1
        self._events.put((self._on_submit, job))

    def wait(self) -> list[Outcome]:
        """Blocks until at least one child has ended; returns all that have.

        Raises:
            NasRunnerError: workers cannot start, at first or any more.
        """
        assert self._num_running, "wait() before submit(): nothing could ever end"
        outcomes: list[Outcome] = []
        while not outcomes or not self._ended.empty():
            if self._broken is not None and not outcomes:
                raise self._broken
            ended = self._ended.get()
            if isinstance(ended, Outcome):
                outcomes.append(ended)
                self._num_running -= 1
            else:
                self._broken = ended
        return outcomes

    def close(self) -> None:
        atexit.unregister(self.close)
        self._events.put((self._on_close, None))
        while self._dispatcher.is_alive():
            self._cluster.abort()
            self._dispatcher.join(_ABORT_INTERVAL_S)
        self._open.close()
        self._cluster.close()

    def _dispatch_all(self) -> None:
        """The dispatcher's life: connects, then handles one event after the other."""
        try:
            self._client = self._connect()
            self._roll_call()
            while not self._is_closing:
                try:
                    handle, event = self._events.get(timeout=_ROLL_CALL_S)
                except queue.Empty:
                    self._roll_call()
                else:
                    handle(event)
        except NasRunnerError as error:
            self._ended.put(error)
        except Exception as error:
            broken = NasRunnerError(f"no child can run any more: {last_lines(error)}")
            broken.__cause__ = error
            self._ended.put(broken)

    def _connect(self) -> Any:
        with quick_imports():  # they take long; children's own imports run meanwhile
            import dask
            from distributed import Client

        if dask.config.get("logging", None) is None:  # unless the user asks for Dask's log
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._open.enter_context(dask.config.set({**_SETTINGS, **self._cluster.settings()}))
        cluster = self._cluster.start(self._ended.put)
        self._open.callback(cluster.close)
        client: Any = Client(cluster, set_as_default=False)  # type: ignore[no-untyped-call]
        self._open.callback(client.close)
        # Dask collects messages for 10 ms, which would be most of a child's overhead.
        client.scheduler_comm.interval = _SEND_INTERVAL_S
        client.subscribe_topic(OUTCOMES, lambda event: self._events.put((self._on_outcome, event)))
        client.subscribe_topic("all", lambda event: self._events.put((self._on_change, event)))
        return client

    def _on_close(self, _: None) -> None:
        self._is_closing = True

    def _on_submit(self, job: _Job) -> None:
        self._jobs[job.ticket] = job
        self._queue.append(job)
        self._dispatch()

    def _roll_call(self) -> None:
        """Asks which workers there are: those that came before we listened, or went unheard."""
        present = self._client.nthreads()
        for address in set(self._workers) - set(present):
            self._worker_left(address)
        self._workers_came(present)

    def _on_change(self, event: tuple[float, Any]) -> None:
        change = event[1]
        action = change.get("action") if isinstance(change, dict) else None
        if action == "add-worker":
            self._workers_came([change["worker"]])
        elif action == "remove-worker":
            self._worker_left(change["worker"])

    def _on_outcome(self, event: tuple[float, Any]) -> None:
        job = self._jobs.get(event[1]["ticket"])
        if job is None:
            return  # its worker was given up before the message came
        try:
            outcome: Outcome = replace(pickle.loads(event[1]["outcome"]), proposal=job.proposal)
        except Exception as error:
            outcome = failed(job.proposal, f"its outcome cannot be unpickled: {last_lines(error)}")
        self._end(job, outcome)

    def _on_error(self, event: tuple[_Job, Any]) -> None:
        """A task ended without an outcome: the worker could not even call ``work``."""
        job, future = event
        if job.future is future and self._jobs.get(job.ticket) is job:
            self._end(job, failed(job.proposal, last_lines(future.exception())))

    def _end(self, job: _Job, outcome: Outcome) -> None:
        del self._jobs[job.ticket]
        for address, busy_with in self._workers.items():
            if busy_with is job:
                self._workers[address] = None
        job.future = None
        self._ended.put(outcome)
        self._dispatch()

    def _workers_came(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            self._workers.setdefault(address, None)
        self._dispatch()

    def _worker_left(self, address: str) -> None:
        job = self._workers.pop(address, None)
        if job is None:
            return
        job.deaths += 1
        job.future = None
        if job.deaths > self._retries:
            cost_s = time.perf_counter() - job.submitted_s
            times = "once" if job.deaths == 1 else f"{job.deaths} times"
            reason = (
                f"the worker process died {times} while it trained this child, the last time: "
                f"{self._cluster.why_died(address)} (executor.retries={self._retries})"
            )
            self._end(job, failed(job.proposal, reason, cost_s))
        else:
            self._queue.appendleft(job)
            self._dispatch()

    def _dispatch(self) -> None:
        for address, busy_with in self._workers.items():
            if busy_with is None and self._queue:
                self._workers[address] = self._launch(self._queue.popleft(), address)

    def _launch(self, job: _Job, address: str) -> _Job:
        job.future = self._client.submit(
            work,
            job.payload,
            job.proposal,
            job.ticket,
            self._threads_per_worker,
            key=f"child-{job.ticket}-{job.deaths}",
            workers=[address],
            pure=False,
        )
        job.future.add_done_callback(lambda future, job=job: self._on_done(job, future))
        return job

    def _on_done(self, job: _Job, future: Any) -> None:
        from distributed import KilledWorker

        # A death is handled when the worker is reported to have left.
        if future.status == "error" and not isinstance(future.exception(), KilledWorker):
            self._events.put((self._on_error, (job, future)))

    def _pickle(self, train: Train) -> bytes:
        """Pickles what is the same object for the whole study once."""
        if self._pickled is None or self._pickled[0] is not train:
            try:
                self._pickled = (train, cloudpickle.dumps(train))
            except Exception as error:
                raise NasRunnerError(
                    f"what trains children must be picklable to be sent to workers: {error}"
                ) from error
        return self._pickled[1]
