"""Keeps as many allocations with a worker each as there are children, through dask-jobqueue.

A module of its own, imported late: importing distributed and dask-jobqueue takes long.
"""

import asyncio
import inspect
import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask_jobqueue
from dask_jobqueue.core import Job, JobQueueCluster
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.spec import ProcessInterface

from nasrunner.core import ConfigError, NasRunnerError
from nasrunner.core.errors import suggest
from nasrunner.executors.dask.cluster import Demand
from nasrunner.executors.dask.processes import QuietScheduler
from nasrunner.executors.dask.queue import Queue, described, log_end

_MOST_FAILED_STARTS = 3
_MOST_REFUSALS = 10
_LONGEST_PAUSE_S = 60.0
_SPARE_WITHIN_S = 10.0
_NOT_THE_NODES = ("CANCELLED", "PREEMPTED", "NODE_FAIL", "GONE")
"""Ends of a job for which nothing that the user wrote is to blame."""

_OURS = {"scheduler", "name", "security", "log_directory"}
"""Arguments of dask-jobqueue's job classes that are no part of a user's description."""

_log = logging.getLogger(__name__)


def cluster_class(system: str) -> Any:
    """Returns dask-jobqueue's class of a queueing system.

    Raises:
        ConfigError: it has none of that name.
    """
    classes = {
        name.removesuffix("Cluster").lower(): found
        for name, found in vars(dask_jobqueue).items()
        if isinstance(found, type) and issubclass(found, JobQueueCluster)
    }
    classes.pop("jobqueue")
    if system not in classes:
        raise ConfigError(
            f"executor.system must be one that dask-jobqueue knows, got {system!r}. Legal: "
            f"{', '.join(sorted(classes))}"
        )
    return classes[system]


def job_class(queue: Queue) -> type[Job]:
    """Returns dask-jobqueue's class of one job, which remembers why the queue refused it."""

    base: Any = cluster_class(queue.name).job_cls

    class Allocation(base):  # type: ignore[misc]  # chosen at run time
        refusal: str | None = None

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, ValueError, OSError) as error:
                # An exception would be lost: Dask's cluster takes the job for started.
                self.refusal = _said(error)
                await ProcessInterface.start(self)  # type: ignore[no-untyped-call]  # Dask's

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

        @staticmethod
        async def _call(cmd: list[str], **kwargs: Any) -> Any:
            # A session of its own, or Ctrl-C would end it.
            environ = queue.environment()
            return await base._call(cmd, env=environ, start_new_session=True, **kwargs)

    Allocation.__name__ = base.__name__
    return Allocation


def check_job(queue: Queue, job: Mapping[str, Any]) -> None:
    """Has dask-jobqueue check the description of a job, which takes no machine and no network.

    Raises:
        ConfigError: it knows no such queueing system, or refuses the description.
    """
    system: Any = cluster_class(queue.name)
    bases = [each for each in system.job_cls.__mro__ if issubclass(each, Job)]
    parameters = [p for each in bases for p in inspect.signature(each).parameters.values()]
    legal = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - _OURS
    for name in job:
        if name not in legal:
            raise ConfigError(
                f"executor.job.{name}: {system.__name__} takes no {name!r}, {suggest(name, legal)}"
            )
    try:
        one: Any = job_class(queue)(scheduler="tls://driver:8786", name="nasrunner", **job)
        one.job_script()
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"executor.job: {_said(error)}") from error


def start_cluster(
    queue: Queue, job: Mapping[str, Any], log_folder: Path, tls: bool
) -> JobQueueCluster:
    """Starts a scheduler in this process, and no worker yet.

    Raises:
        ConfigError: dask-jobqueue refuses the description of a job.
    """

    class NamedCluster(cluster_class(queue.name)):  # type: ignore[misc]  # chosen at run time
        numbers = itertools.count()

        def _new_worker_name(self, worker_number: int) -> str:
            # Never twice: Dask closes what has the name of a worker that was lost a while ago.
            return f"{self._name}-{next(self.numbers)}"

    interface = job.get("interface")
    try:
        return NamedCluster(
            job_cls=job_class(queue),
            name="nasrunner",
            scheduler_cls=QuietScheduler,
            scheduler_options={"interface": interface, "dashboard_address": None},
            security=tls or None,
            shared_temp_directory=str(log_folder),
            log_directory=str(log_folder),
            silence_logs=False,
            **job,
        )
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        raise ConfigError(f"executor.job: {_said(error)}") from error


def remove_certificates(cluster: JobQueueCluster) -> None:
    """Removes the files that dask-jobqueue keeps as long as its cluster object lives."""
    for name in ("ca_file", "cert", "key"):
        if (file := getattr(cluster, f"_job_{name}", None)) is not None:
            file.close()


class Allocations(Adaptive):
    """Scales by the number of children, where Dask would look at a backlog that it never sees.

    Args:
        cluster: of dask-jobqueue.
        demand: how many children there are, and which workers are idle.
        queue: what is known about jobs.
        log_folder: where the workers' logs are.
        poll_s: how often the queue is asked about jobs without a worker.
        kwargs: of Dask's class: minimum, maximum, interval, wait_count.
    """

    cluster: Any  # of dask-jobqueue, which has no types

    def __init__(
        self,
        cluster: JobQueueCluster,
        demand: Demand,
        queue: Queue,
        log_folder: Path,
        poll_s: float,
        **kwargs: Any,
    ) -> None:
        self._demand = demand
        self._queue = queue
        self._log_folder = log_folder
        self._poll_s = poll_s
        self._asked_s = time.monotonic()
        self._continue_s = 0.0
        self._num_refusals = 0  # in a row
        self._num_failed_starts = 0  # in a row
        self._told = ""
        self._has_started = False  # some job was taken
        self._directives = list(cluster.new_spec["options"]["job_extra_directives"])
        self._avoided: list[str] = []  # nodes
        self._with_worker: set[str] = set()  # ids of jobs whose worker came
        super().__init__(cluster, **kwargs)

    async def target(self) -> int:
        return self._demand.num_children()

    async def adapt(self) -> None:
        if time.monotonic() < self._continue_s:
            return
        for name in self.observed & set(self.cluster.workers):
            self._with_worker.add(self.cluster.workers[name].job_id)
            self._num_failed_starts = 0
        self._look_at_refusals()
        await self._look_at_ended()
        if time.monotonic() >= self._continue_s:
            await super().adapt()

    async def workers_to_close(self, target: int) -> list[str]:
        workers = self.cluster.scheduler.workers.values()
        idle = [worker.name for worker in workers if not worker.processing]
        return idle[: max(0, len(self.observed) - target)]

    async def scale_down(self, workers: list[str]) -> None:  # type: ignore[override]  # Dask's is wrong
        # A worker that has got a child meanwhile stays.
        known = self.cluster.scheduler.workers.values()
        arrived = {worker.address: worker.name for worker in known if worker.name in workers}
        spared = asyncio.wrap_future(self._demand.spare(arrived))
        idle = {arrived[address] for address in await asyncio.wait_for(spared, _SPARE_WITHIN_S)}
        gone = set(workers) - set(arrived.values())
        await super().scale_down([*gone, *idle])

    def _look_at_refusals(self) -> None:
        """Forgets jobs that the queue did not take, so that others are submitted."""
        jobs = self.cluster.workers
        refused = {name: job.refusal for name, job in jobs.items() if job.refusal}
        if len(refused) < len(jobs):
            self._has_started = True
            self._num_refusals *= bool(refused)
        for name in refused:
            self._forget(name)
        if refused:
            self._avoided.clear()  # it may be that too few nodes were left
            self._set_directives(self._directives)
            self._num_refusals += 1
            reason = f"the queue refused the job of a worker: {next(iter(refused.values()))}"
            if not self._has_started:
                self._demand.broken(ConfigError(f"executor.job: {reason}"))
                self.stop()
            else:
                self._fail(reason, self._num_refusals, _MOST_REFUSALS)

    async def _look_at_ended(self) -> None:
        """Replaces jobs that have ended, those before their worker came among them."""
        without_worker = {
            job.job_id: name
            for name, job in self.cluster.workers.items()
            if job.job_id and name not in self.observed
        }
        if not without_worker or time.monotonic() < self._asked_s + self._poll_s:
            return
        states = await asyncio.to_thread(self._queue.states, list(without_worker))
        self._asked_s = time.monotonic()
        for job_id, state in states.items():
            if not state.is_ended or without_worker[job_id] in self.observed:
                continue
            self._forget(without_worker[job_id])
            if job_id in self._with_worker or state.name in _NOT_THE_NODES:
                continue
            self._avoid(state.nodes)
            self._num_failed_starts += 1
            self._fail(
                f"job {job_id} ended before its worker came: {described(state)}"
                f"{log_end(self._log_folder, job_id)}",
                self._num_failed_starts,
                _MOST_FAILED_STARTS,
            )

    def _forget(self, name: str) -> None:
        job = self.cluster.workers.pop(name, None)
        if job is not None:
            job.status = Status.closed
        self.cluster.worker_spec.pop(name, None)

    def _avoid(self, nodes: str) -> None:
        """Keeps later jobs away from nodes on which a worker could not start."""
        if nodes and nodes not in self._avoided:
            _log.warning("a worker could not start on %s, which gets no more jobs", nodes)
            self._avoided.append(nodes)
            self._set_directives(self._queue.avoiding(self._avoided, self._directives))

    def _set_directives(self, directives: Sequence[str]) -> None:
        spec = self.cluster.new_spec  # shared by jobs that were submitted
        options = {**spec["options"], "job_extra_directives": list(directives)}
        self.cluster.new_spec = {**spec, "options": options}

    def _fail(self, reason: str, times: int, most_times: int) -> None:
        """Tells and waits, longer each time; gives up where it is no use and no worker is left."""
        if times >= most_times and not self.observed:
            self._demand.broken(NasRunnerError(f"no worker can start, {times} times: {reason}"))
            self.stop()
            return
        if reason != self._told:
            self._told = reason
            _log.warning("%s", reason)
        self._continue_s = time.monotonic() + min(2.0**times, _LONGEST_PAUSE_S)


def _said(error: Exception) -> str:
    """What a refusing command wrote, where the error is of a command; else the error."""
    text = str(error)
    _, found, stderr = text.partition("stderr:\n")
    return " ".join((stderr if found and stderr.strip() else text).split())
