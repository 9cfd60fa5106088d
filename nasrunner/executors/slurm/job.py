"""A SLURM job as the driver sees it, and the file by which a later driver finds it."""

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasrunner.core import MachineError, Outcome, Proposal
from nasrunner.core.machine.files import keep_file
from nasrunner.executors.folders import outcome_left
from nasrunner.executors.running import failed, last_lines
from nasrunner.executors.slurm.results import child_file, read_child, read_result

FILE = "slurm.json"
_LOG_LINES = 12


@dataclass(eq=False)
class SlurmJob:
    """Children that share a job, from their submission to the last one's outcome.

    ``slurm.json`` is written before sbatch is called, with the name that the job will have, and
    again with the job's number. A driver that dies in between leaves a job that is found by its
    name, or one that never gets its pickle and so never trains. It stands in the child's folder;
    of several children, which may keep no folders, beside the job's own files.

    Attributes:
        shared: holds a folder of submitit's files for each array.
        is_single: submitted for one child.
        restarts: how often its children were started again so far, in other jobs than this one.
        name: of the job; an array has one.
        position: in the array.
        job_id: ``123``, or ``123_4`` in an array; None: not submitted yet.
        submitted_s: unix time.
        is_cancelled: the driver is cancelling it.
        is_adopted: submitted by an earlier driver.
        left: its children without an outcome, by index.
        folders: of each child its own.
    """

    shared: Path
    is_single: bool
    restarts: int = 0
    name: str = ""
    position: int = 0
    job_id: str | None = None
    submitted_s: float = 0.0
    is_cancelled: bool = False
    is_adopted: bool = False
    left: dict[int, Proposal] = field(default_factory=dict)
    folders: dict[int, Path] = field(default_factory=dict)
    ended_s: float | None = None
    """When, of ``time.monotonic``, the job was first seen to have ended without a result."""
    num_ended: int = 0
    """How many of its children have an outcome."""
    has_failed: bool = False
    """Whether one of them was not trained as far as was asked."""

    @classmethod
    def of(
        cls,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        shared: Path,
        restarts: int = 0,
    ) -> "SlurmJob":
        """Returns a job that is to be submitted."""
        job = cls(shared, is_single=len(proposals) == 1, restarts=restarts)
        for proposal, folder in zip(proposals, folders, strict=True):
            job.add(proposal, folder)
        return job

    def add(self, proposal: Proposal, folder: Path) -> None:
        """Takes a child of the job."""
        self.left[proposal.index] = proposal
        self.folders[proposal.index] = folder

    def again(self, restarts: int) -> "SlurmJob":
        """Returns the job for the children that are left of this one."""
        folders = [self.folders[index] for index in self.left]
        return SlurmJob.of(list(self.left.values()), folders, self.shared, restarts)

    @property
    def files(self) -> Path:
        """Where submitit keeps what belongs to the job, and to the others of its array."""
        return self.shared / self.name

    @property
    def file(self) -> Path:
        """Where a later driver finds the job."""
        if self.is_single:
            (folder,) = self.folders.values()
            return folder / FILE
        return self.files / f"{self.position}.{FILE}"

    def save(self) -> None:
        """Writes ``slurm.json`` so that a reader finds all of it or what was there before."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        evaluations = {str(each.index): each.evaluation for each in self.left.values()}
        whose = {"hash": next(iter(evaluations.values()), None)}
        record = {
            **(whose if self.is_single else {"children": evaluations}),
            "job_id": self.job_id,
            "name": self.name,
            "position": self.position,
            "restarts": self.restarts,
            "submitted": self.submitted_s,
            "is_cancelled": self.is_cancelled,
        }
        keep_file(self.file, json.dumps(record) + "\n")

    @classmethod
    def recorded(cls, record: Mapping[str, Any], shared: Path) -> "SlurmJob":
        """Returns a job, without its children, as an earlier driver wrote it down."""
        return cls(
            shared,
            is_single="hash" in record,
            restarts=record["restarts"],
            name=record["name"],
            position=record["position"],
            job_id=record["job_id"] or _number_of(shared / record["name"], record["position"]),
            submitted_s=record["submitted"],
            is_cancelled=record["is_cancelled"],
            is_adopted=True,
        )

    def results(self, names: Collection[str]) -> list[Outcome]:
        """Returns what the job's first process has left of the children; none yet, perhaps.

        Args:
            names: what lies in ``files``.

        Raises:
            MachineError: a full disk or the like interrupted the children left on their node.
        """
        paths = {} if self.is_single else {each: self._child_file(each) for each in self.left}
        if written := [index for index, path in paths.items() if path.name in names]:
            return [self._written(index, paths[index]) for index in written]
        path = self._path("0_result.pkl")
        if path.name not in names or any(each.exists() for each in paths.values()):
            return []  # or some were written while the names were listed: they come first
        return self._returned(path)

    def _written(self, index: int, path: Path) -> Outcome:
        try:
            return read_child(path)
        except Exception as error:  # whatever it holds is the child's
            return failed(self.left[index], f"its outcome cannot be read: {last_lines(error)}")

    def _returned(self, path: Path) -> list[Outcome]:
        """What submitit wrote when the job's function had returned, or raised."""
        try:
            what, value = read_result(path)
        except Exception as error:  # whatever it holds is the child's
            return self._all_failed(f"its outcome cannot be unpickled: {last_lines(error)}")
        if what == "error":
            return self._all_failed("\n".join(value.splitlines()[-_LOG_LINES:]))
        if isinstance(value, MachineError):
            self.forget()  # or a resumed study would meet the same result
            raise value
        if isinstance(value, Outcome):
            return [value]
        # Of others a file tells, which a network file system may show only later.
        return [each for each in value if each.proposal.index in self.left]

    def _all_failed(self, reason: str) -> list[Outcome]:
        return [failed(proposal, reason) for proposal in self.left.values()]

    def lost_results(self) -> list[Outcome]:
        """Returns the outcomes in the folders of children that ended just before their job was
        lost.
        """
        found = (
            outcome_left(self.folders[index], proposal, self.submitted_s)
            for index, proposal in self.left.items()
        )
        return [outcome for outcome in found if outcome is not None]

    def last_words(self) -> str:
        """Returns what the job's processes left behind: another one's error, or the end of the
        log.
        """
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
        self.file.unlink(missing_ok=True)

    def remove_files(self, keeps_log: bool) -> None:
        """Removes what is of no use once a job has ended, and with the last of an array all."""
        for path in self.files.glob(f"{self.job_id}_*" + (".pkl" if keeps_log else "")):
            path.unlink(missing_ok=True)
        left = [path.name for path in self.files.glob("*_*") if "submission" not in path.name]
        if not left:
            shutil.rmtree(self.files, ignore_errors=True)

    def _child_file(self, index: int) -> Path:
        return child_file(self.files, str(self.job_id), index)

    def _path(self, suffix: str) -> Path:
        return self.files / f"{self.job_id}_{suffix}"


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
