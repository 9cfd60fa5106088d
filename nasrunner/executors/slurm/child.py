"""What runs inside a SLURM job, in each of its processes."""

import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nasrunner.core import MachineError, Outcome, Proposal
from nasrunner.core.machine.faults import machine_fault
from nasrunner.executors.running import run_children
from nasrunner.executors.slurm.attempt import Limits, SlurmAttempt
from nasrunner.executors.slurm.train_files import read_train


@dataclass(frozen=True)
class SlurmChildren:
    """Trains children in their job, and goes on with them when SLURM has started the job again.

    A job that is warned of its time limit, or of its preemption, puts itself back into the queue;
    ``train`` is then called again for the children without an outcome, and goes on from their
    checkpoints. submitit's own handler would raise SystemExit in the middle of training, which
    looks like a child's failure.

    Attributes:
        train_file: holds what trains children, see ``TrainFiles``.
        children: each with its folder.
        limits: the job's.
    """

    train_file: Path
    children: Sequence[tuple[Proposal, Path]]
    limits: Limits

    def __call__(self) -> Outcome | tuple[Outcome, ...] | MachineError:
        """Trains them.

        Returns:
            What counts is that of the first process: a single child's outcome; of several those
            that stand in no file; or why the children left have none.

        Raises:
            RankFailedError: a child failed in a process that is not the first.
        """
        try:
            attempt = SlurmAttempt(self.children, self.limits)
            signal.signal(signal.SIGUSR2, attempt.on_warning)
            if attempt.left:
                train = read_train(self.train_file)
                attempt.take(run_children(train, list(attempt.left.values())))
        except MachineError as fault:
            return MachineError(str(fault))
        except OSError as error:  # an outcome could not be written
            if (found := machine_fault(error)) is None:
                raise
            return MachineError(f"{socket.gethostname()}: {found}")
        except SystemExit as stopped:  # SLURM knows what it wants to do with the job
            raise SystemExit(1) from stopped
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # it has ended in time
        return attempt.result
