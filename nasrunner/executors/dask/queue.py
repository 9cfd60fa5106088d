"""What a queueing system says about the jobs that workers live in."""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nasrunner.executors.slurm.watch import JobState, SlurmSilentError, environment, states_of

_ASK_AGAIN_S = 0.5
_ENDS_WITHIN_S = 5.0
_COMPLETES_WITHIN_S = 60.0
_EXCLUDE = "--exclude="
_LOG_LINES = 5
_LOG_CHARACTERS = 1000


class Queue:
    """Any queueing system: nothing is known about a job once it was submitted.

    Attributes:
        name: as dask-jobqueue has it.
        directives: lines that every job script needs.
    """

    directives: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def environment(self) -> dict[str, str]:
        """Returns the environment in which jobs are submitted."""
        return dict(os.environ)

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        """Returns the states of those jobs about which something is known; may take seconds."""
        return {}

    def end_of(self, job_id: str) -> str:
        """Returns how a job ended whose worker was lost, in words; empty where that is not
        known.
        """
        return ""

    def avoiding(self, nodes: Sequence[str], directives: Sequence[str]) -> Sequence[str]:
        """Returns the directives of a job that is to stay away from nodes, where that can be
        said.
        """
        return directives


class SlurmQueue(Queue):
    """SLURM: squeue tells, and sacct where squeue has forgotten a job."""

    # A job that SLURM starts again would compete with the one that has replaced it.
    directives = ("--no-requeue",)

    def __init__(self) -> None:
        super().__init__("slurm")

    def environment(self) -> dict[str, str]:
        return environment()

    def states(self, job_ids: Collection[str]) -> Mapping[str, JobState]:
        try:
            return states_of(job_ids)
        except SlurmSilentError:
            return {}

    def end_of(self, job_id: str) -> str:
        """Waits some seconds for the job's end, which comes after that of its worker."""
        asked_s = time.monotonic()
        while True:
            state = self.states([job_id]).get(job_id)
            is_completing = state is not None and state.name == "COMPLETING"
            patience_s = _COMPLETES_WITHIN_S if is_completing else _ENDS_WITHIN_S
            if (state and state.is_ended) or time.monotonic() - asked_s > patience_s:
                return f"SLURM says {described(state)}" if state else "SLURM does not answer"
            time.sleep(_ASK_AGAIN_S)

    def avoiding(self, nodes: Sequence[str], directives: Sequence[str]) -> Sequence[str]:
        # Of several such options the last one counts.
        named = [d.removeprefix(_EXCLUDE) for d in directives if d.startswith(_EXCLUDE)]
        others = [d for d in directives if not d.startswith(_EXCLUDE)]
        return [*others, _EXCLUDE + ",".join([*named, *nodes])]


def described(state: JobState) -> str:
    """Returns a state in SLURM's words: ``PENDING (Resources)``, ``TIMEOUT (TimeLimit) on n2``."""
    reason = f" ({state.reason})" if state.reason not in ("", "None") else ""
    return f"{state.name}{reason}" + (f" on {state.nodes}" if state.nodes else "")


def log_end(folder: Path, job_id: str) -> str:
    """Returns the last lines of a job's log, as the end of a sentence; empty where there are
    none.
    """
    lines: list[str] = []
    for path in sorted(folder.glob(f"*{job_id}*")):
        try:
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
    last = [line for line in lines if line.strip()][-_LOG_LINES:]
    return ("; its log ends: " + "\n".join(last)[-_LOG_CHARACTERS:]) if last else ""
