"""Finds the jobs of an earlier driver, which go on while no driver is there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasrunner.core import Proposal
from nasrunner.executors.slurm.job import FILE, SlurmJob


class EarlierJobs:
    """The jobs that earlier drivers of a study have left, by their children.

    Args:
        shared: holds a folder of files for each array. The jobs of several children are looked
            for there at once: those that are submitted from now on are not earlier ones.
    """

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._of_several: dict[tuple[str, str], SlurmJob] = {}  # by index and evaluation
        for path in shared.glob(f"*/*.{FILE}"):
            if (record := _read(path)) is None:
                continue
            job = SlurmJob.recorded(record, shared)
            if job.job_id is None:
                path.unlink(missing_ok=True)  # it cannot have trained
                continue
            self._of_several.update(dict.fromkeys(record["children"].items(), job))

    def of(self, proposal: Proposal, folder: Path) -> SlurmJob | None:
        """Returns the job that was submitted for a child, among others; None: it cannot have
        trained.

        Args:
            proposal: the child.
            folder: the child's.
        """
        record = _read(folder / FILE)
        if record is not None and record["hash"] == proposal.evaluation:
            job = SlurmJob.recorded(record, self._shared)
            if job.job_id is not None:
                job.add(proposal, folder)
                return job
        shared_job = self._of_several.pop((str(proposal.index), proposal.evaluation), None)
        if shared_job is not None:
            shared_job.add(proposal, folder)
        return shared_job

    def forget(self, job: SlurmJob) -> None:
        """Finds a job no more: the children that are left of it are submitted once more."""
        self._of_several = {key: each for key, each in self._of_several.items() if each is not job}


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record
    except (OSError, ValueError):
        return None
