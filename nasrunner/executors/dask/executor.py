"""Children on the workers of a Dask cluster, one on each at a time, whatever cluster it is."""

import atexit
import queue
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from nasrunner.core import Hear, NasRunnerError, Outcome, Proposal, Train
from nasrunner.executors.dask.cluster import WorkerCluster
from nasrunner.executors.dask.dispatcher import Dispatcher
from nasrunner.executors.dask.job import Job
from nasrunner.executors.listening import Listening

_ABORT_INTERVAL_S = 0.1
_LISTEN_S = 0.1


class DaskExecutor:
    """Runs children on a Dask cluster's workers, in the order they were submitted.

    The cluster starts in the background; children wait for its workers.

    Args:
        cluster: where the workers come from.
        threads_per_worker: CPU threads torch may use in a worker.
        retries: how often a child is started again whose worker died.
    """

    is_remote = True
    is_on_this_machine = False
    is_simulated = False

    def __init__(self, cluster: WorkerCluster, threads_per_worker: int, retries: int) -> None:
        self._cluster = cluster
        self._num_running = 0  # submissions, each of which takes a slot
        self._batches: dict[
            int, set[int]
        ] = {}  # by proposal: those submitted with it that are left
        self._listening = Listening(_LISTEN_S)
        self._pickled: tuple[Train, bytes] | None = None
        self._broken: Exception | None = None
        self._dispatcher = Dispatcher(cluster, threads_per_worker, retries)
        atexit.register(self.close)

    def free_slots(self) -> int:
        slots = self._cluster.num_slots(self._dispatcher.num_workers)
        return max(0, slots - self._num_running)

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        """Starts children on one worker, or queues them until one is idle.

        Raises:
            NasRunnerError: ``train`` cannot be pickled.
        """
        job = Job(self._pickle(train), proposals, folders)
        self._num_running += 1
        batch = {id(each) for each in proposals}
        self._batches.update(dict.fromkeys(batch, batch))
        if hear is not None:
            self._listening.begin(proposals, folders, hear)
        self._dispatcher.submit(job)

    def wait(self) -> list[Outcome]:
        """Blocks until a child has ended, or there are more slots; returns all that have ended.

        Raises:
            NasRunnerError: workers cannot start, at first or any more.
        """
        assert self._num_running, "wait() before submit(): nothing could ever end"
        ended = self._dispatcher.ended
        outcomes: list[Outcome] = []
        while not outcomes or not ended.empty():
            if self._broken is not None and not outcomes:
                raise self._broken
            what = self._next()
            if isinstance(what, Outcome):
                outcomes.append(what)
                self._end(what.proposal)
            elif isinstance(what, Exception):
                self._broken = what
            elif self.free_slots():
                break
        return outcomes

    def _next(self) -> Outcome | Exception | None:
        """What ended next; while it is waited for, children are listened to."""
        while self._listening:
            self._listening.look()
            with suppress(queue.Empty):
                return self._dispatcher.ended.get(timeout=self._listening.wait_s)
        return self._dispatcher.ended.get()

    def _end(self, proposal: Proposal) -> None:
        """Frees the slot of a child if it is the last that was submitted together."""
        self._listening.end(proposal)
        batch = self._batches.pop(id(proposal))
        batch.remove(id(proposal))
        if not batch:
            self._num_running -= 1

    def close(self) -> None:
        atexit.unregister(self.close)
        while not self._dispatcher.close(_ABORT_INTERVAL_S):
            self._cluster.abort()
        self._cluster.close()

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
