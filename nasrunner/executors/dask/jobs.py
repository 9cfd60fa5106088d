"""Children on workers inside a queueing system's allocations, through dask-jobqueue."""

import logging
import math
import shutil
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from nasrunner.core import ConfigError
from nasrunner.core.annotations import Above, AtLeast, Count, Within, fits, readable
from nasrunner.executors import preload as preload_module
from nasrunner.executors.dask import nanny
from nasrunner.executors.dask.cluster import Demand
from nasrunner.executors.dask.executor import DaskExecutor
from nasrunner.executors.dask.queue import Queue, SlurmQueue, described, log_end

_SCALE_INTERVAL_S = 1.0
_RESTARTS_WITHIN_S = 60  # a worker in its allocation, imports included; then the job is cancelled
_TOLD_JOBS = 5
_TYPES: Mapping[str, Any] = {
    "cores": Count | None,
    "job_script_prologue": Sequence[str] | None,
    "job_extra_directives": Sequence[str] | None,
    "worker_extra_args": Sequence[str] | None,
}
"""What a job's description has that stands for ours, or that ours is added to."""

_WORKER_SETTINGS: Mapping[str, Any] = {
    "distributed.worker.daemon": False,  # a daemon may not start processes; data loaders do
    "distributed.worker.use-file-locking": False,  # hangs on some network file systems
    "distributed.worker.profile.enabled": False,  # samples the child's thread every 10 ms
    "distributed.worker.memory.target": False,  # workers hold no data that could be spilled
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # a paused worker would never start its child
    "logging.distributed": "warning",
}

_log = logging.getLogger(__name__)


class JobQueueExecutor(DaskExecutor):
    """Workers that stay, each in an allocation of its own, and take child after child.

    There are as many allocations as children, within limits; one that ends or is lost is replaced.
    All of them are cancelled when the study ends. A driver that is killed takes Dask's scheduler
    with it, and the workers leave by themselves.

    Args:
        system: the queueing system, as dask-jobqueue names it: slurm, pbs, lsf, sge, htcondor, …
        minimum: allocations that are kept from the beginning, >= 0.
        maximum: children at a time, each in an allocation of its own, >= 1.
        idle_s: an allocation without a child is given back after so long, > 0.
        retries: how often a child is started again whose worker died, >= 0.
        threads_per_worker: CPU threads a child may use, >= 1.
        preload: modules that a worker imports before its first child.
        poll_s: how often the queue is asked about allocations without a worker, > 0.
        patience_s: how long children wait without any worker before the user is told, > 0.
        log_folder: where the workers' logs go, on a file system that all nodes share.
        tls: encrypt what is sent, with certificates made for this study. Without them, whoever
            reaches the scheduler's port can run code in the name of the user.
        job: what dask-jobqueue's cluster class takes for one allocation: queue, account, memory,
            walltime, … ``cores`` is ``threads_per_worker`` where it is null.

    Raises:
        ConfigError: a value is out of its range; or dask-jobqueue, or the command that submits
            jobs, is not installed.
    """

    def __init__(
        self,
        system: str,
        minimum: Annotated[int, AtLeast(0)],
        maximum: Count,
        idle_s: Annotated[float, Above(0)],
        retries: Annotated[int, AtLeast(0)],
        threads_per_worker: Count,
        preload: Sequence[str],
        poll_s: Annotated[float, Above(0)],
        patience_s: Annotated[float, Within("(0, inf]")],
        log_folder: str,
        tls: bool,
        job: Mapping[str, Any],
    ) -> None:
        if maximum < minimum:
            raise ConfigError(
                f"executor.maximum must be at least executor.minimum={minimum}, got {maximum}"
            )
        queue = SlurmQueue() if system == "slurm" else Queue(system)
        job = with_defaults(job, threads_per_worker, preload, queue.directives)
        _check_system(queue, job)
        cluster = _JobCluster(
            queue=queue,
            limits=(minimum, maximum),
            timing=(idle_s, poll_s, patience_s),
            log_folder=Path(log_folder).absolute(),
            tls=tls,
            job=job,
        )
        super().__init__(cluster, threads_per_worker, retries)


class _JobCluster:
    """A scheduler in this process, and allocations with a worker each."""

    def __init__(
        self,
        queue: Queue,
        limits: tuple[int, int],
        timing: tuple[float, float, float],
        log_folder: Path,
        tls: bool,
        job: Mapping[str, Any],
    ) -> None:
        self._queue = queue
        self._limits = limits
        self._idle_s, self._poll_s, self._patience_s = timing
        self._log_folder = log_folder
        self._tls = tls
        self._job = job
        self._tell_at_s = self._patience_s
        self._job_ids: dict[str, str] = {}  # by a worker's address
        self._cluster: Any = None

    def settings(self) -> dict[str, Any]:
        return {
            "distributed.scheduler.http.routes": [],
            "distributed.deploy.lost-worker-timeout": _RESTARTS_WITHIN_S,
        }

    def start(self, demand: Demand) -> Any:
        from nasrunner.executors.dask.allocations import Allocations, start_cluster

        self._log_folder.mkdir(parents=True, exist_ok=True)
        self._cluster = start_cluster(self._queue, self._job, self._log_folder, self._tls)
        self._cluster.adapt(
            Adaptive=Allocations,
            minimum=self._limits[0],
            maximum=self._limits[1],
            interval=f"{_SCALE_INTERVAL_S}s",
            wait_count=math.ceil(self._idle_s / _SCALE_INTERVAL_S),
            demand=demand,
            queue=self._queue,
            log_folder=self._log_folder,
            poll_s=self._poll_s,
        )
        return self._cluster

    def abort(self) -> None:
        pass  # start does not wait for allocations

    def num_slots(self, num_workers: int) -> int:
        return self._limits[1]

    def came(self, client: Any, addresses: Sequence[str]) -> Sequence[str]:
        self._tell_at_s = self._patience_s
        for address in addresses:
            worker = self._cluster.scheduler.workers.get(address)
            if worker is not None and worker.name in self._cluster.workers:
                self._job_ids[address] = self._cluster.workers[worker.name].job_id
        return addresses

    def lacks_workers(self, client: Any, for_s: float) -> None:
        if for_s >= self._tell_at_s:
            self._tell_at_s = 2 * for_s
            threading.Thread(target=self._tell, args=(for_s,), daemon=True).start()

    def why_died(self, address: str) -> str:
        job_id = self._job_ids.get(address)
        if job_id is None:
            return f"the connection to it at {address} was lost"
        end = self._queue.end_of(job_id)
        told = f"{end} of job {job_id}" if end else f"it was in job {job_id}"
        return told + log_end(self._log_folder, job_id)

    def stop(self, client: Any, busy: Sequence[str]) -> None:
        pass  # the jobs are cancelled

    def close(self) -> None:
        if self._cluster is not None:  # it has cancelled the jobs
            from nasrunner.executors.dask.allocations import remove_certificates

            remove_certificates(self._cluster)
            self._cluster = None

    def _tell(self, for_s: float) -> None:
        """Tells the user why nothing runs, as far as the queue says."""
        job_ids = [job.job_id for job in list(self._cluster.workers.values()) if job.job_id]
        states = self._queue.states(job_ids)
        told = [f"job {job_id} {described(state)}" for job_id, state in sorted(states.items())]
        more = f" and {len(told) - _TOLD_JOBS} more" if len(told) > _TOLD_JOBS else ""
        said = ", ".join(told[:_TOLD_JOBS]) + more
        if not job_ids:
            said = "no job is submitted"
        elif not told:
            said = f"{self._queue.name} knows more about job {', '.join(job_ids[:_TOLD_JOBS])}"
            said += log_end(self._log_folder, job_ids[0])
        _log.warning("children have waited for a worker for %d s: %s", for_s, said)


def _check_system(queue: Queue, job: Mapping[str, Any]) -> None:
    """Has dask-jobqueue check the description of a job, then looks for the command that submits it.

    Raises:
        ConfigError: dask-jobqueue is not installed or refuses the description, or there is no such
            command.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        from nasrunner.executors.dask.allocations import check_job, cluster_class
    except ImportError as error:
        raise ConfigError(
            f"executor.system={queue.name} needs dask-jobqueue ({error}): "
            "pip install 'nasrunner[slurm]'"
        ) from error
    finally:
        signal.signal(signal.SIGINT, interrupt)  # dask_jobqueue.runner sets one of its own
    check_job(queue, job)
    command = cluster_class(queue.name).job_cls.submit_command.split()[0]
    if shutil.which(command) is None:
        raise ConfigError(
            f"executor.system={queue.name} submits jobs with {command}, which this machine does "
            "not have; executor=local runs children on this machine"
        )


def with_defaults(
    job: Mapping[str, Any], threads: int, preload: Sequence[str], directives: Sequence[str]
) -> dict[str, Any]:
    """Returns what dask-jobqueue is given for a job: the user's description and what every worker
    needs.

    Args:
        job: the user's.
        threads: CPU threads a child may use; also the number of cores where there is none.
        preload: modules that a worker imports when it starts.
        directives: lines that every job script needs.

    Raises:
        ConfigError: a value is of another type, or several workers in a job are asked for.
    """
    for name, annotation in _TYPES.items():
        if not fits(value := job.get(name), annotation):
            raise ConfigError(f"executor.job.{name} must be {readable(annotation)}, got {value!r}")
    if job.get("processes", 1) != 1:
        raise ConfigError(
            f"executor.job.processes must be 1, got {job['processes']!r}: an allocation has one "
            "worker, and executor.maximum says how many there are"
        )
    numbers = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    dask = {
        "DASK_" + name.replace(".", "__").replace("-", "_").upper(): value
        for name, value in _WORKER_SETTINGS.items()
    }
    exports = {**numbers, preload_module.VARIABLE: ",".join(preload), **dask}
    given = {name: value for name, value in job.items() if value is not None}
    return {
        "job_name": "nasrunner",
        "cores": threads,
        **given,
        "processes": 1,
        "job_script_prologue": [
            *(f"export {name}={value}" for name, value in exports.items()),
            *given.get("job_script_prologue", ()),
        ],
        "job_extra_directives": [*directives, *given.get("job_extra_directives", ())],
        "worker_extra_args": [
            *["--no-dashboard", "--preload", preload_module.__name__],
            *["--preload-nanny", nanny.__name__],
            *given.get("worker_extra_args", ()),
        ],
    }
