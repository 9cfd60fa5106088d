"""What runs inside a child's SLURM job, in each of its processes."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from nasrunner.core import MachineError, Outcome, Proposal, Train
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.executors.running import failed, run_children

_REQUEUE_INTERVAL_S = 2.0
_EARLY_S = 60.0
"""How much too early SLURM's warning may come."""


class RankFailedError(Exception):
    """Ends a process that is not the first with an error, so that srun ends the others."""


@dataclass(frozen=True)
class SlurmChild:
    """Trains a child in its job, and goes on with it when SLURM has started the job again.

    A job that is warned of its time limit, or of its preemption, puts itself back into the queue;
    ``train`` is then called again and goes on from the child's checkpoint. submitit's own handler
    would raise SystemExit in the middle of training, which looks like the child's failure.

    Attributes:
        train_file: holds what trains children, see ``write_train``.
        proposal: the child.
        folder: the child's.
        limit_s: the job's time limit.
        delay_s: how long before the limit SLURM was asked to send its warning.
        restarts: how often the child may still be started again, in this job.
        retries: how often in all: ``executor.retries``.
        grace_s: how long the first process may take to tell what went wrong before another one's
            failure ends it.
    """

    train_file: Path
    proposal: Proposal
    folder: Path
    limit_s: float
    delay_s: float
    restarts: int
    retries: int
    grace_s: float

    def __call__(self) -> Outcome | MachineError:
        """The outcome, of which only that of the first process counts, or why it has none.

        Raises:
            RankFailedError: the child failed in a process that is not the first.
        """
        restart = Restart(self)
        signal.signal(signal.SIGUSR2, restart.on_warning)
        if restart.number and (earlier := ChildFolder(self.folder).outcome(self.proposal)):
            return earlier  # it had ended, but its job had not
        if restart.number > self.restarts:
            return failed(self.proposal, restart.reason())
        try:
            (outcome,) = run_children(_read_train(self.train_file), [self.proposal])
        except MachineError as fault:
            return MachineError(str(fault))
        except SystemExit as stopped:  # SLURM knows what it wants to do with the job
            raise SystemExit(1) from stopped
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # it has ended in time
        if outcome.status != "completed" and _rank():
            time.sleep(self.grace_s)
            raise RankFailedError(f"process {_rank()} on {socket.gethostname()}: {outcome.error}")
        return outcome

    def restarts_before(self, number: int) -> int:
        """How often the child was started again in all, at this start of this job."""
        return self.retries - self.restarts + number


class Restart:
    """Puts a child's job back into SLURM's queue when it is warned that its time is over.

    Args:
        child: whose job this process is in.
    """

    def __init__(self, child: SlurmChild) -> None:
        self._child = child
        self._started_s = time.monotonic()
        self.number = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        """How often SLURM has started this job again."""

    def on_warning(self, number: int, frame: FrameType | None) -> None:
        """Handles SLURM's warning; the first process ends, and its job starts again.

        A job that may not be started again has failed.
        """
        if _rank():
            return
        if self.number >= self._child.restarts:
            self._write_failure()
        else:
            self._requeue()
        os._exit(1)

    def reason(self) -> str:
        """Why a job that was started once too often was stopped before, as far as is known."""
        return (
            f"its job was preempted, lost its node or came to its time limit of "
            f"{self._child.limit_s / 60:g} min once more, "
            f"{after_restarts(self._child.restarts_before(self.number - 1), self._child.retries)}"
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
        is_limit = elapsed_s > self._child.limit_s - self._child.delay_s - _EARLY_S
        limit = f"the time limit of {self._child.limit_s / 60:g} min (executor.timeout_min)"
        restarts = self._child.restarts_before(self.number)
        reason = (
            f"its job was stopped by {limit if is_limit else 'preemption'} on "
            f"{socket.gethostname()}, {after_restarts(restarts, self._child.retries)}"
        )
        outcome = failed(self._child.proposal, reason, elapsed_s)
        with utils.temporary_save_path(JobEnvironment().paths.result_pickle) as path:
            utils.cloudpickle_dump(("success", outcome), path)


def after_restarts(count: int, retries: int) -> str:
    """How often a child was started again, in words."""
    restarts = {0: "no restart", 1: "1 restart"}.get(count, f"{count} restarts")
    return f"after {restarts} (executor.retries={retries})"


def write_train(pickled: bytes, path: Path) -> None:
    """Writes what trains children, once for all of a study, with where this process imports from.

    Args:
        pickled: a ``Train``.
        path: replaced as a whole.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_bytes(pickle.dumps((sys.path, pickled)))
    unfinished.replace(path)


def _read_train(path: Path) -> Train:
    with path.open("rb") as file:
        places, pickled = pickle.load(file)
    _import_from(places)
    train: Train = pickle.loads(pickled)
    return train


def _import_from(places: Sequence[str]) -> None:
    sys.path += [place for place in places if place not in sys.path]


def _job_id() -> str:
    """The job's id; one job of an array has the number of the whole array as its own, too."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]


def _rank() -> int:
    return int(os.environ.get("SLURM_PROCID", "0"))
