"""One start of a job: which of its children are left, and what happens when its time is over."""

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from nasrunner.core import Outcome, Proposal
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.records import MEASURED
from nasrunner.executors.running import failed
from nasrunner.executors.slurm.results import child_file, start_of, write_child

_REQUEUE_INTERVAL_S = 2.0
_EARLY_S = 60.0
"""How much too early SLURM's warning may come."""

_LOOK_S = 0.1


class RankFailedError(Exception):
    """Ends a process that is not the first with an error, so that srun ends the others."""


@dataclass(frozen=True)
class Limits:
    """How long a job may take, and how often it may be started.

    Attributes:
        limit_s: the job's time limit.
        delay_s: how long before the limit SLURM was asked to send its warning.
        restarts: how often its children were started again before, in other jobs.
        retries: how often they may be: ``executor.retries``.
        grace_s: how long the first process may take to tell what went wrong before another one's
            failure ends it.
    """

    limit_s: float
    delay_s: float
    restarts: int
    retries: int
    grace_s: float


class SlurmAttempt:
    """What one of a job's processes knows of the children, from this start of the job on.

    The outcome of a single child is the job's result. Of several the first process writes each
    into a file as soon as it is there, where the driver and the next start of the job find it.
    Their restarts count from the last outcome on: many children may need the time of many jobs.

    Args:
        children: all of the job's, each with its folder.
        limits: the job's.

    Attributes:
        left: the children without an outcome, by index.
    """

    def __init__(self, children: Sequence[tuple[Proposal, Path]], limits: Limits) -> None:
        self.left = {proposal.index: proposal for proposal, _ in children}
        self._is_single = len(children) == 1
        self._limits = limits
        self._started_s = time.monotonic()
        self._number = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        self._last_progress: int | None = None  # the last start in which a child ended
        self._single: Outcome | None = None
        self._paths = {} if self._is_single else _child_files(self.left)
        for index, path in self._paths.items():
            if path.exists():  # the first process has written it, now or before
                self._last_progress = max(start_of(path), self._last_progress or 0)
                del self.left[index]
        if self._number:
            for proposal, folder in children:
                if proposal.index in self.left and (
                    earlier := ChildFolder(folder).outcome(proposal)
                ):
                    self._keep(earlier)  # it had ended, but its job had not
        if self.left and self._num_restarts(self._number) > limits.retries:
            reason = self._why_stopped_before()
            for proposal in list(self.left.values()):
                self._keep(failed(proposal, reason))

    @property
    def result(self) -> Outcome | tuple[Outcome, ...]:
        """What the job returns; of several children those outcomes that stand in no file."""
        return () if self._single is None else self._single

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """Keeps outcomes as they come.

        Raises:
            RankFailedError: a child failed in this process, which is not the first, and the first
                has not told in time what became of it.
        """
        for outcome in outcomes:
            if _rank() and outcome.status not in MEASURED and not self._is_told(outcome):
                raise RankFailedError(
                    f"process {_rank()} on {socket.gethostname()}: {outcome.error}"
                )
            self._keep(outcome)

    def on_warning(self, number: int, frame: FrameType | None) -> None:
        """Handles SLURM's warning; the first process ends, and its job starts again.

        The children of a job that may not be started again have failed.
        """
        if _rank():
            return
        if self._num_restarts(self._number) >= self._limits.retries:
            self._write_failure()
        else:
            self._requeue()
        os._exit(1)

    def _keep(self, outcome: Outcome) -> None:
        index = outcome.proposal.index
        if self._is_single:
            self._single = outcome
        elif not _rank():
            write_child(self._paths[index], outcome, self._number)
            self._last_progress = self._number
        del self.left[index]

    def _is_told(self, outcome: Outcome) -> bool:
        """Whether the first process tells within the time what became of a child."""
        deadline_s = time.monotonic() + self._limits.grace_s
        while time.monotonic() < deadline_s:
            time.sleep(min(_LOOK_S, self._limits.grace_s))
            path = self._paths.get(outcome.proposal.index)
            if path is not None and path.exists():
                return True
        return False

    def _num_restarts(self, number: int) -> int:
        """How often the children left were started again in all, at this start of the job."""
        if self._last_progress is None:
            return self._limits.restarts + number
        return number - self._last_progress

    def _why_stopped_before(self) -> str:
        """Why a job that was started once too often was stopped before, as far as is known."""
        restarts = self._num_restarts(self._number - 1)
        return (
            f"its job was preempted, lost its node or came to its time limit of "
            f"{self._limits.limit_s / 60:g} min once more, "
            f"{after_restarts(restarts, self._limits.retries)}"
        )

    def _requeue(self) -> None:
        command = ["scontrol", "requeue", _job_id()]
        while subprocess.run(command, check=False).returncode:
            time.sleep(_REQUEUE_INTERVAL_S)  # until slurmctld is back, or the limit has come

    def _write_failure(self) -> None:
        """Leaves the result for the driver that submitit would write."""
        from submitit import JobEnvironment
        from submitit.core import utils

        elapsed_s = time.monotonic() - self._started_s
        is_limit = elapsed_s > self._limits.limit_s - self._limits.delay_s - _EARLY_S
        limit = f"the time limit of {self._limits.limit_s / 60:g} min (executor.timeout_min)"
        restarts = self._num_restarts(self._number)
        reason = (
            f"its job was stopped by {limit if is_limit else 'preemption'} on "
            f"{socket.gethostname()}, {after_restarts(restarts, self._limits.retries)}"
        )
        outcomes = tuple(
            failed(proposal, reason, elapsed_s / len(self.left)) for proposal in self.left.values()
        )
        result = outcomes[0] if self._is_single else outcomes
        with utils.temporary_save_path(JobEnvironment().paths.result_pickle) as path:
            utils.cloudpickle_dump(("success", result), path)


def _child_files(indices: Iterable[int]) -> dict[int, Path]:
    """Where the first process writes the outcome of each child."""
    from submitit import JobEnvironment

    job = JobEnvironment()
    return {index: child_file(Path(job.paths.folder), job.job_id, index) for index in indices}


def after_restarts(count: int, retries: int) -> str:
    """Returns how often a child was started again, in words."""
    restarts = {0: "no restart", 1: "1 restart"}.get(count, f"{count} restarts")
    return f"after {restarts} (executor.retries={retries})"


def _job_id() -> str:
    """The job's id; one job of an array has the number of the whole array as its own, too."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def _rank() -> int:
    return int(os.environ.get("SLURM_PROCID", "0"))
