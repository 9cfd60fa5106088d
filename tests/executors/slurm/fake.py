"""SLURM's commands as scripts that tests lead: what they print, and what they were asked."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from nasrunner.core import Outcome, Proposal

_SCRIPT = """#!/bin/sh
echo "$(basename "$0") $*" >> {folder}/asked
env | grep -E '^(SLURM|SBATCH)_' >> {folder}/environment
case $(basename "$0") in
  sbatch)
    [ "$1" = --test-only ] && exit 0
    cp "$1" {folder}/sbatch.sh
    number=$(cat {folder}/next)
    echo $((number + 1)) > {folder}/next ;;
esac
cat {folder}/$(basename "$0").err >&2 2>/dev/null
[ -e {folder}/$(basename "$0").fails ] && exit 1
case $(basename "$0") in
  sbatch) echo "Submitted batch job $number" ;;
  *) cat {folder}/$(basename "$0").out 2>/dev/null ;;
esac
exit 0
"""


class FakeSlurm:
    """sbatch, squeue, sacct, scancel, scontrol, sinfo and srun, first on PATH.

    Args:
        folder: of the scripts and what they share.
        patch: sets PATH, and clears SLURM's variables.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "next").write_text("100\n")
        for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "srun"):
            (folder / name).write_text(_SCRIPT.format(folder=folder))
            (folder / name).chmod(0o755)
        for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
            patch.delenv(name)
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def answers(self, command: str, *lines: str) -> None:
        """What a command prints from now on."""
        (self.folder / f"{command}.fails").unlink(missing_ok=True)
        (self.folder / f"{command}.err").unlink(missing_ok=True)
        (self.folder / f"{command}.out").write_text("".join(f"{line}\n" for line in lines))

    def refuses(self, command: str, error: str) -> None:
        """Lets a command fail from now on."""
        (self.folder / f"{command}.err").write_text(f"{error}\n")
        (self.folder / f"{command}.fails").touch()

    def asked(self, command: str) -> list[str]:
        """The arguments of every call of a command."""
        path = self.folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        calls = [line.partition(" ")[2] for line in lines if line.split()[0] == command]
        return [call for call in calls if not call.startswith("--test-only")]

    def environment(self) -> str:
        """SLURM's variables, as the commands saw them."""
        return (self.folder / "environment").read_text()

    @property
    def sbatch_text(self) -> str:
        """The last text that was submitted."""
        return (self.folder / "sbatch.sh").read_text()


def start_job(study: Path, job_id: str, restarts: int = 0, rank: int = 0) -> subprocess.Popen[str]:
    """Runs a process of a job, as srun in the sbatch text does; stderr is its log."""
    (submitted,) = (study / "slurm").glob(f"*/{job_id}_submitted.pkl")
    number, _, position = job_id.partition("_")
    array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": position} if position else {}
    environment = {
        **os.environ,
        **array,
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": number,
        "SLURM_RESTART_COUNT": str(restarts),
        "SLURM_PROCID": str(rank),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "submitit.core._submit", str(submitted.parent)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_job(study: Path, job_id: str, restarts: int = 0) -> int:
    """Runs a job of one process to its end; returns its exit status."""
    process = start_job(study, job_id, restarts)
    process.communicate(timeout=100)
    return process.returncode


def leave_child(study: Path, job_id: str, outcome: Outcome, start: int = 0) -> None:
    """Writes what a job of several children leaves of one of them."""
    (submitted,) = (study / "slurm").glob(f"*/{job_id}_submitted.pkl")
    path = submitted.with_name(f"{job_id}_0_child{outcome.proposal.index}.pkl")
    path.write_bytes(pickle.dumps((start, pickle.dumps(outcome))))


def leave_result(study: Path, job_id: str, proposal: Proposal, reward: float = 1.0) -> None:
    """Writes the result that a job leaves, into the folder where its pickle lies."""
    (submitted,) = (study / "slurm").glob(f"*/{job_id}_submitted.pkl")
    result = ("success", Outcome(proposal, "completed", reward))
    submitted.with_name(f"{job_id}_0_result.pkl").write_bytes(pickle.dumps(result))
