"""The thread that knows a Dask cluster's workers, and gives each one child at a time."""

import logging
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from nasrunner.core import MachineError, NasRunnerError, Outcome
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.imports import quick_imports
from nasrunner.executors.dask.cluster import Demand, WorkerCluster
from nasrunner.executors.dask.job import Job
from nasrunner.executors.fork_server import terminal_blocked
from nasrunner.executors.running import OUTCOMES, failed, last_lines, work

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
_LACKING_S = 1.0

_log = logging.getLogger(__name__)


class Dispatcher:
    """Owns what is known of workers and children; others talk to it through a queue.

    Every submission is bound to one idle worker, so that a worker that dies takes exactly one
    with it. Children that were submitted together start again without those that have ended.

    Args:
        cluster: where the workers come from; started in the dispatcher's thread.
        threads_per_worker: CPU threads torch may use in a worker.
        retries: how often a child is started again whose worker died.

    Attributes:
        ended: outcomes, the error after which no child can run any more, and None whenever there
            are more slots than before.
    """

    def __init__(self, cluster: WorkerCluster, threads_per_worker: int, retries: int) -> None:
        self.ended: queue.SimpleQueue[Outcome | Exception | None] = queue.SimpleQueue()
        self._cluster = cluster
        self._threads_per_worker = threads_per_worker
        self._retries = retries
        self._events: queue.SimpleQueue[tuple[Callable[[Any], None], Any]] = queue.SimpleQueue()
        self._queue: deque[Job] = deque()
        self._jobs: dict[str, Job] = {}  # by ticket: not ended yet
        self._workers: dict[str, Job | None] = {}  # by address: what it is busy with
        self._left_out: set[str] = set()  # addresses of workers that get no child
        self._lacking_since: float | None = None
        self._client: Any = None
        self._open = ExitStack()
        self._is_closing = False
        self._thread = threading.Thread(target=self._dispatch_all, name="dispatcher")
        self._thread.daemon = True  # a driver that forgets to close can still end
        with terminal_blocked():
            self._thread.start()

    @property
    def num_workers(self) -> int:
        """How many workers are there and may have children."""
        return len(self._workers)

    def submit(self, job: Job) -> None:
        """Starts a child as soon as a worker is idle, after those submitted before."""
        self._events.put((self._on_submit, job))

    def close(self, timeout_s: float) -> bool:
        """Ends the thread and what runs; returns whether it has ended within the time."""
        self._events.put((self._on_close, None))
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._open.close()
        return True

    def _spare(self, addresses: Collection[str]) -> Future[list[str]]:
        spared: Future[list[str]] = Future()
        self._events.put((self._on_spare, (addresses, spared)))
        return spared

    def _dispatch_all(self) -> None:
        """The thread's life: connects, then handles one event after the other."""
        try:
            self._client = self._connect()
            self._roll_call()
            while not self._is_closing:
                self._check_workers()
                try:
                    timeout_s = _ROLL_CALL_S if self._lacking_since is None else _LACKING_S
                    handle, event = self._events.get(timeout=timeout_s)
                except queue.Empty:
                    self._roll_call()
                else:
                    handle(event)
            busy = [address for address, job in self._workers.items() if job is not None]
            self._cluster.stop(self._client, busy)
        except NasRunnerError as error:
            self.ended.put(error)
        except OSError as error:  # Dask's CommClosedError among them
            self.ended.put(
                machine_fault(error)
                or NasRunnerError(f"no child can run: Dask's scheduler is gone ({error})")
            )
        except Exception as error:
            broken = NasRunnerError(f"no child can run any more: {last_lines(error)}")
            broken.__cause__ = error
            self.ended.put(broken)

    def _connect(self) -> Any:
        with quick_imports():  # they take long; children's own imports run meanwhile
            import dask
            from distributed import Client

        if dask.config.get("logging", None) is None:  # unless the user asks for Dask's log
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._open.enter_context(dask.config.set({**_SETTINGS, **self._cluster.settings()}))
        demand = Demand(self.ended.put, lambda: len(self._jobs), self._spare)
        cluster = self._cluster.start(demand)
        if not isinstance(cluster, str):
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

    def _on_submit(self, job: Job) -> None:
        self._jobs[job.ticket] = job
        self._queue.append(job)
        self._dispatch()

    def _on_spare(self, event: tuple[Collection[str], Future[list[str]]]) -> None:
        addresses, spared = event
        idle = [address for address in addresses if self._workers.get(address, ...) is None]
        for address in idle:
            del self._workers[address]
            self._left_out.add(address)
        spared.set_result(idle)

    def _check_workers(self) -> None:
        if self._workers or not self._jobs:
            self._lacking_since = None
            return
        now = time.monotonic()
        self._lacking_since = self._lacking_since or now
        self._cluster.lacks_workers(self._client, now - self._lacking_since)

    def _roll_call(self) -> None:
        """Asks which workers there are: those that came before we listened, or went unheard."""
        present = self._client.nthreads()
        for address in (set(self._workers) | self._left_out) - set(present):
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
            return  # its worker was given up before the message came, or it is another study's
        proposal = job.left.get(event[1]["index"])
        try:
            ended: Outcome | MachineError = pickle.loads(event[1]["outcome"])
            if isinstance(ended, MachineError):
                self.ended.put(ended)
                return
            if proposal is None:
                return  # its folder told it before
            outcome = replace(ended, proposal=proposal)
        except Exception as error:
            if proposal is None:
                return
            outcome = failed(proposal, f"its outcome cannot be unpickled: {last_lines(error)}")
        self._settle(job, [outcome])

    def _on_error(self, event: tuple[Job, Any]) -> None:
        """A task ended without an outcome: the worker could not even call ``work``."""
        job, future = event
        if job.future is future and self._jobs.get(job.ticket) is job:
            reason = last_lines(future.exception())
            self._settle(job, [failed(each, reason) for each in job.left.values()])

    def _on_settled(self, event: tuple[Job, Sequence[Outcome]]) -> None:
        job, outcomes = event
        if self._jobs.get(job.ticket) is job:
            self._settle(job, outcomes)

    def _on_retry(self, job: Job) -> None:
        if self._jobs.get(job.ticket) is job:
            self._queue.appendleft(job)
            self._dispatch()

    def _settle(self, job: Job, outcomes: Sequence[Outcome]) -> None:
        """Hands on outcomes of a job's children; with the last of them its worker is free."""
        for outcome in outcomes:
            if job.left.pop(outcome.proposal.index, None) is not None:
                job.note_progress()
                self.ended.put(outcome)
        if not job.left:
            self._end(job)

    def _end(self, job: Job) -> None:
        del self._jobs[job.ticket]
        for address, busy_with in self._workers.items():
            if busy_with is job:
                self._workers[address] = None
        job.future = None
        self._dispatch()

    def _workers_came(self, addresses: Iterable[str]) -> None:
        known = self._workers.keys() | self._left_out
        new = [address for address in addresses if address not in known]
        if new:
            usable = self._cluster.came(self._client, new)
            num_slots = self._cluster.num_slots(len(self._workers))
            self._workers.update(dict.fromkeys(usable))
            self._left_out.update(set(new) - set(usable))
            self._dispatch()
            if self._cluster.num_slots(len(self._workers)) > num_slots:
                self.ended.put(None)

    def _worker_left(self, address: str) -> None:
        self._left_out.discard(address)
        job = self._workers.pop(address, None)
        if job is None:
            return
        job.deaths += 1
        job.future = None
        lost = (job, job.deaths, address, job.cost_s())
        threading.Thread(target=self._look_after, args=lost, daemon=True).start()

    def _look_after(self, job: Job, deaths: int, address: str, cost_s: float) -> None:
        """Finds out in a thread of its own what becomes of children whose worker died, and why.

        File system and queue may be slow, and other children need not wait for them.
        """
        left = list(job.left.values())
        found = job.outcomes_left()
        ended = {outcome.proposal.index for outcome in found}
        lost = [each for each in left if each.index not in ended]
        if found:
            self._events.put((self._on_settled, (job, found)))
            deaths = 1  # since the last outcome
        if not lost:
            return
        if deaths <= self._retries:
            self._events.put((self._on_retry, job))
        times = "once" if deaths == 1 else f"{deaths} times"
        what = "this child" if len(lost) == 1 else "these children"
        reason = (
            f"the worker process died {times} while it trained {what}, the last time: "
            f"{self._cluster.why_died(address)} (executor.retries={self._retries})"
        )
        if deaths <= self._retries:
            _log.info("children %s start again: %s", [each.index for each in lost], reason)
        else:
            outcomes = [failed(each, reason, cost_s) for each in lost]
            self._events.put((self._on_settled, (job, outcomes)))

    def _dispatch(self) -> None:
        for address, busy_with in self._workers.items():
            if busy_with is None and self._queue:
                self._workers[address] = self._launch(self._queue.popleft(), address)

    def _launch(self, job: Job, address: str) -> Job:
        job.num_launches += 1
        job.future = self._client.submit(
            work,
            job.payload,
            tuple(job.left.values()),
            job.ticket,
            self._threads_per_worker,
            key=f"child-{job.ticket}-{job.num_launches}",
            workers=[address],
            pure=False,
        )
        job.future.add_done_callback(lambda future, job=job: self._on_done(job, future))
        return job

    def _on_done(self, job: Job, future: Any) -> None:
        from distributed import KilledWorker

        # A death is handled when the worker is reported to have left.
        if future.status == "error" and not isinstance(future.exception(), KilledWorker):
            self._events.put((self._on_error, (job, future)))
