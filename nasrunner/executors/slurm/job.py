"""A child's SLURM job as the driver sees it, and the file by which a later driver finds it."""

import io
import json
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.core import MachineError, Outcome, Proposal
from nasrunner.core.machine.files import keep_file
from nasrunner.executors.folders import outcome_left
from nasrunner.executors.running import failed, last_lines

_FILE = "slurm.json"
_LOG_LINES = 12


@dataclass
class SlurmJob:
    """A child from its submission to its outcome.

    ``slurm.json`` in the child's folder is written before sbatch is called, with the name that the
    job will have, and again with the job's number. A driver that dies in between leaves a job that
    is found by its name, or one that never gets its pickle and so never trains.

    Attributes:
        proposal: the child.
        folder: the child's.
        shared: holds a folder of submitit's files for each array.
        restarts: how often the child was started again so far, in other jobs than this one.
        name: of the job; an array has one.
        position: in the array.
        job_id: ``123``, or ``123_4`` in an array; None: not submitted yet.
        submitted_s: unix time.
        is_cancelled: the driver is cancelling it.
        is_adopted: submitted by an earlier driver.
    """

    proposal: Proposal
    folder: Path
    shared: Path
    restarts: int = 0
    name: str = ""
    position: int = 0
    job_id: str | None = None
    submitted_s: float = 0.0
    is_cancelled: bool = False
    is_adopted: bool = False
    ended_s: float | None = None
    """When, of ``time.monotonic``, the job was first seen to have ended without a result."""

    @property
    def files(self) -> Path:
        """Where submitit keeps what belongs to the job, and to the others of its array."""
        return self.shared / self.name

    def save(self) -> None:
        """Writes ``slurm.json`` so that a reader finds all of it or what was there before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {
            "hash": self.proposal.hash,
            "job_id": self.job_id,
            "name": self.name,
            "position": self.position,
            "restarts": self.restarts,
            "submitted": self.submitted_s,
            "is_cancelled": self.is_cancelled,
        }
        keep_file(self.folder / _FILE, json.dumps(record) + "\n")

    @classmethod
    def found(cls, proposal: Proposal, folder: Path, shared: Path) -> "SlurmJob | None":
        """The job that an earlier driver submitted for a child; None: it cannot have trained.

        Args:
            proposal: the child.
            folder: the child's.
            shared: holds a folder for each array.
        """
        try:
            record: Mapping[str, Any] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if record["hash"] != proposal.hash:
            return None
        job = cls(
            proposal,
            folder,
            shared,
            restarts=record["restarts"],
            name=record["name"],
            position=record["position"],
            job_id=record["job_id"] or _number_of(shared / record["name"], record["position"]),
            submitted_s=record["submitted"],
            is_cancelled=record["is_cancelled"],
            is_adopted=True,
        )
        return job if job.job_id is not None else None

    def result(self) -> Outcome | None:
        """What the job's first process left; None: nothing yet.

        Raises:
            MachineError: a full disk or the like interrupted the child on its node.
        """
        path = self._path("0_result.pkl")
        if not path.exists():
            return None
        try:
            what, value = read_result(path)
        except Exception as error:  # whatever it holds is the child's
            return failed(self.proposal, f"its outcome cannot be unpickled: {last_lines(error)}")
        if what == "error":
            return failed(self.proposal, "\n".join(value.splitlines()[-_LOG_LINES:]))
        if isinstance(value, MachineError):
            self.forget()  # or a resumed study would meet the same result
            raise value
        assert isinstance(value, Outcome)
        return value

    def lost_result(self) -> Outcome | None:
        """The outcome in the child's folder, of a child that ended just before its job was lost."""
        return outcome_left(self.folder, self.proposal, self.submitted_s)

    def last_words(self) -> str:
        """What the job's processes left behind: another one's error, or the end of the log."""
        for path in sorted(self.files.glob(f"{self.job_id}_[1-9]*_result.pkl")):
            try:
                what, value = read_result(path)
            except Exception:  # it says nothing that could be told
                continue
            if what == "error":
                return str(value.splitlines()[-1])
        for suffix in ("0_log.err", "0_log.out"):
            path = self._path(suffix)
            log = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            if lines := log.splitlines():
                return "its log ends:\n" + "\n".join(lines[-_LOG_LINES:])
        return (
            f"it left no log in {self.files}: where nodes do not share that folder, "
            "hydra.run.dir must lie on a file system that they do"
        )

    def forget(self) -> None:
        """Removes ``slurm.json``: no later driver is to look for this job."""
        (self.folder / _FILE).unlink(missing_ok=True)

    def remove_files(self, keeps_log: bool) -> None:
        """Removes what is of no use once a job has ended, and with the last of an array all."""
        for path in self.files.glob(f"{self.job_id}_*" + (".pkl" if keeps_log else "")):
            path.unlink(missing_ok=True)
        left = [path.name for path in self.files.glob("*_*") if "submission" not in path.name]
        if not left:
            shutil.rmtree(self.files, ignore_errors=True)

    def _path(self, suffix: str) -> Path:
        return self.files / f"{self.job_id}_{suffix}"


class _ResultUnpickler(pickle.Unpickler):
    """Reads what a child's job leaves; the folder may be a stranger's study's."""

    _LEGAL = (Outcome, Proposal, MachineError)

    def find_class(self, module: str, name: str) -> Any:
        ours = [(each.__module__, each.__qualname__) for each in self._LEGAL]
        if (module, name) in (*ours, *_NUMPY):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}; legal are outcomes of children")


_NUMPY = (("numpy._core.multiarray", "scalar"), ("numpy", "dtype"))
"""What a metric may be that a user's own code measured."""


def read_result(path: Path) -> tuple[str, Any]:
    """What submitit has written of a child's job: ``success`` or ``error``, and which.

    Raises:
        pickle.UnpicklingError: it holds anything but an outcome or a text.
    """
    what, value = _ResultUnpickler(io.BytesIO(path.read_bytes())).load()
    return what, value


def _number_of(files: Path, position: int) -> str | None:
    """The number of a job whose driver died before it wrote it down; None: it has no pickle.

    submitit names the sbatch file after the job's number, and then moves each child's pickle to its
    place, without which a job ends itself.
    """
    for path in files.glob("*_submission.sh"):
        number = path.name.removesuffix("_submission.sh")
        for job_id in (number, f"{number}_{position}"):
            if (files / f"{job_id}_submitted.pkl").exists():
                return job_id
    return None
