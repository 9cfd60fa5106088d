"""Finds out what became of SLURM jobs: from squeue, and from sacct for those it has forgotten."""

import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nasrunner.executors.fork_server import terminal_blocked

_ENDED = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
)
_HELD = ("launch failed requeued held", "JobHoldMaxRequeue")
"""Why SLURM holds a job that it could not launch, until somebody releases it."""

_NO_FAULT = ("BOOT_FAIL", "GONE", "NODE_FAIL", "PREEMPTED", "TIMEOUT")

_COMMAND_TIMEOUT_S = 60.0
_WARN_INTERVAL_S = 600.0
_JOBS_PER_COMMAND = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobState:
    """What SLURM says of a job.

    Attributes:
        name: SLURM's word, such as RUNNING; GONE where neither squeue nor sacct knows the job.
        reason: why it waits or failed, in SLURM's word; may be empty.
        nodes: where it runs or ran; may be empty.
    """

    name: str
    reason: str
    nodes: str

    @property
    def is_ended(self) -> bool:
        """Whether the job will not run any more, and will not be started again."""
        return self.name in _ENDED or self.name == "GONE"

    @property
    def is_held(self) -> bool:
        """Whether the job waits for ever, because a node could not launch it: a full disk."""
        return self.name == "PENDING" and self.reason in _HELD

    @property
    def is_no_fault(self) -> bool:
        """Whether a job came to this through no fault of its child."""
        return self.name in _NO_FAULT or self.is_held

    def text(self) -> str:
        """Returns how the job ended, in words: ``ended: TIMEOUT (TimeLimit) on n2``."""
        if self.is_held:
            return f"could not be launched ({self.reason}; sinfo --list-reasons names the node)"
        how = "was cancelled" if self.name == "CANCELLED" else f"ended: {self.name}"
        reason = f" ({self.reason})" if self.reason not in ("", "None") else ""
        return f"{how}{reason}" + (f" on {self.nodes}" if self.nodes else "")


@dataclass(frozen=True)
class Snapshot:
    """The states of jobs at one moment.

    Attributes:
        asked_s: when SLURM was asked, of ``time.monotonic``.
        states: by job id, such as ``123_4``.
    """

    asked_s: float
    states: Mapping[str, JobState]


class SlurmWatch:
    """Asks SLURM for the states of jobs now and then, in a thread of its own.

    squeue is asked first: for seconds after a lost node sacct says that a job has failed which
    SLURM is about to start again. While slurmctld does not answer, the last snapshot stands.

    Args:
        interval_s: between two questions.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._jobs: frozenset[str] = frozenset()
        self._snapshot = Snapshot(float("-inf"), {})
        self._warned_s = float("-inf")
        self._wake = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def watch(self, jobs: Iterable[str]) -> None:
        """Says which jobs to ask for, from now on."""
        self._jobs = frozenset(jobs)
        if self._jobs and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="squeue", daemon=True)
            with terminal_blocked():
                self._thread.start()

    @property
    def snapshot(self) -> Snapshot:
        """The latest answer."""
        return self._snapshot

    def close(self) -> None:
        """Ends the thread. Safe to call twice."""
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def ask(self) -> None:
        """Asks now; keeps the last snapshot where SLURM does not answer."""
        jobs, asked_s = self._jobs, time.monotonic()
        try:
            states = states_of(jobs)
        except SlurmSilentError as error:
            if asked_s - self._warned_s > _WARN_INTERVAL_S:
                self._warned_s = asked_s
                _log.warning("SLURM does not answer, the children's jobs go on: %s", error)
            return
        self._snapshot = Snapshot(asked_s, states)

    def _run(self) -> None:
        while not self._wake.wait(self._interval_s):
            if self._jobs:
                self.ask()


class SlurmSilentError(Exception):
    """A command of SLURM's failed: its controller is down, or does not answer in time."""


def states_of(jobs: Iterable[str]) -> dict[str, JobState]:
    """Returns the state of each of these jobs, by squeue or else by sacct; GONE where neither knows
    it.

    Raises:
        SlurmSilentError: slurmctld does not answer.
    """
    wanted = set(jobs)
    known = queued(wanted)
    if forgotten := wanted - set(known):
        known |= accounted(forgotten)
    return {job: known.get(job, JobState("GONE", "", "")) for job in wanted}


def queued(jobs: Iterable[str]) -> dict[str, JobState]:
    """Returns the states of jobs that slurmctld still knows: those that run, wait or ended lately.

    Raises:
        SlurmSilentError: slurmctld does not answer.
    """
    wanted = set(jobs)
    # All of this user's: squeue fails for a job id that it does not know.
    command = ["squeue", "--noheader", "--array", "--all", "--states=all", f"--user={os.getuid()}"]
    text = ask_slurm([*command, "--format=%i|%T|%r|%N"])
    found = {}
    for line in text.splitlines():
        job, state, reason, nodes = line.split("|", 3)
        if job in wanted:
            found[job] = JobState(state, reason, nodes.strip())
    return found


def accounted(jobs: Iterable[str]) -> dict[str, JobState]:
    """Returns the states of jobs that SLURM's accounting knows, where there is accounting."""
    found = {}
    for part in _parts(sorted(jobs)):
        command = [
            "sacct",
            "--noheader",
            "--parsable2",
            "--allocations",
            f"--jobs={','.join(part)}",
        ]
        try:
            text = ask_slurm([*command, "--format=JobID,State,NodeList"])
        except SlurmSilentError:  # a cluster without accounting
            continue
        for line in text.splitlines():
            job, state, nodes = line.split("|", 2)
            if job in part and state:
                found[job] = JobState(state.split()[0], "", nodes)  # CANCELLED by 1000
    return found


def cancel(which: Sequence[str], give_up_s: float) -> None:
    """Cancels jobs, also while slurmctld is being restarted.

    Args:
        which: scancel's arguments: jobs' ids, or options that say which.
        give_up_s: how long to try.

    Raises:
        SlurmSilentError: slurmctld did not answer.
    """
    deadline = time.monotonic() + give_up_s
    while True:
        try:
            ask_slurm(["scancel", "--quiet", *which])
            return
        except SlurmSilentError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def ask_slurm(command: Sequence[str]) -> str:
    """Returns what a command of SLURM's prints; it does not see Ctrl-C.

    Raises:
        SlurmSilentError: it failed, or took a minute.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            env=environment(),
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmSilentError(str(error)) from error
    if done.returncode:
        raise SlurmSilentError(" ".join(done.stderr.split()) or f"{command[0]} failed")
    return done.stdout


def environment() -> dict[str, str]:
    """Returns this process's environment without that of an allocation it may run in.

    sbatch would take the allocation's numbers for its options, and srun in the child's job, too.
    """
    return {name: value for name, value in os.environ.items() if not _is_of_allocation(name)}


@contextmanager
def outside_allocation() -> Iterator[None]:
    """Hides, within the block, the allocation that this process may run in."""
    kept = environment()
    hidden = {name: value for name, value in os.environ.items() if name not in kept}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _is_of_allocation(name: str) -> bool:
    kept = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_TIME_FORMAT")
    return name.startswith(("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "PMI_", "PMIX_")) and (
        name not in kept
    )


def _parts(jobs: Sequence[str]) -> list[Sequence[str]]:
    return [jobs[at : at + _JOBS_PER_COMMAND] for at in range(0, len(jobs), _JOBS_PER_COMMAND)]
