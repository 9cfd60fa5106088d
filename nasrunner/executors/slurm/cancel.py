"""Cancels jobs so that neither a crash in between nor a silent SLURM leaves a riddle."""

import logging
import os
from collections.abc import Sequence

from nasrunner.executors.slurm.job import SlurmJob
from nasrunner.executors.slurm.watch import SlurmSilentError, cancel

_CANCEL_WITHIN_S = 20.0
_MOST_IN_COMMAND = 500

_log = logging.getLogger(__name__)


def cancel_jobs(jobs: Sequence[SlurmJob], name: str | None = None) -> None:
    """Cancels jobs in an order that a later driver can make sense of at any moment.

    Args:
        jobs: those whose numbers are known.
        name: of more jobs, that may just have been submitted.
    """
    for job in jobs:
        job.is_cancelled = True
        if job.file.parent.exists():  # a rehearsal's is gone
            job.save()
    which = [
        [str(job.job_id) for job in jobs[at : at + _MOST_IN_COMMAND]]
        for at in range(0, len(jobs), _MOST_IN_COMMAND)
    ]
    which += [] if name is None else [[f"--name={name}", f"--user={os.getuid()}"]]
    for each in which:
        try:
            cancel(each, _CANCEL_WITHIN_S)
        except SlurmSilentError as error:
            _log.warning("cancel these jobs yourself: scancel %s (%s)", " ".join(each), error)
            return
    for job in jobs:
        job.forget()
        job.remove_files(keeps_log=True)
