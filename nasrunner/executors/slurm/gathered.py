"""Jobs that wait for an array: one for each study, submitted as far as slots are free."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from nasrunner.core import NasRunnerError
from nasrunner.executors.slurm.attempt import Limits
from nasrunner.executors.slurm.child import SlurmChildren
from nasrunner.executors.slurm.job import SlurmJob
from nasrunner.executors.slurm.request import JobRequest
from nasrunner.executors.slurm.submit import NotNowError, check_possible, new_name, submit

_MOST_IN_ARRAY = 1000
_TRY_AGAIN_S = 10.0

_log = logging.getLogger(__name__)


class GatheredJobs:
    """What is to be submitted, in the order it came.

    Args:
        request: what each job asks SLURM for.
        grace_s: as of ``SlurmExecutor``.

    Attributes:
        submitting: the name of jobs that SLURM may just have got, whose ids are not known.
    """

    def __init__(self, request: JobRequest, grace_s: float) -> None:
        self.submitting: str | None = None
        self._request = request
        self._grace_s = grace_s
        self._waiting: deque[tuple[Path, SlurmJob]] = deque()  # with the file of what trains
        self._try_again_s = float("-inf")
        self._has_submitted = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, train_file: Path, job: SlurmJob) -> None:
        """Lets a job wait for the next array of its study."""
        self._waiting.append((train_file, job))

    def clear(self) -> None:
        """Forgets what waits."""
        self._waiting.clear()

    def submit_into(self, running: dict[str, tuple[Path, SlurmJob]]) -> None:
        """Submits what waits, as far as slots are free.

        Args:
            running: the jobs that SLURM has, by their ids; those that it takes are added.

        Raises:
            NasRunnerError: SLURM refuses them.
        """
        if time.monotonic() < self._try_again_s:
            return
        while self._waiting and len(running) < self._request.max_parallel:
            room = min(self._request.max_parallel - len(running), _MOST_IN_ARRAY)
            shared = self._waiting[0][0].parent
            batch = [each for each in self._waiting if each[0].parent == shared][:room]
            try:
                self._submit_batch(batch, shared, running)
            except NotNowError as error:
                if not self._has_submitted or (error.is_limit and not running):
                    raise NasRunnerError(f"SLURM takes no job of a child: {error}") from error
                _log.warning("SLURM takes no job now, trying again: %s", error)
                self._try_again_s = time.monotonic() + _TRY_AGAIN_S
                return
            for each in batch:
                self._waiting.remove(each)

    def _submit_batch(
        self,
        batch: Sequence[tuple[Path, SlurmJob]],
        shared: Path,
        running: dict[str, tuple[Path, SlurmJob]],
    ) -> None:
        name = new_name(min(batch[0][1].left))
        for position, (_, job) in enumerate(batch):
            job.name, job.position = name, position
            job.submitted_s = time.time()
            job.save()
        jobs = [self._children(train_file, job) for train_file, job in batch]
        self.submitting = name
        ids = submit(jobs, self._request, name, shared / name)
        for job_id, each in zip(ids, batch, strict=True):
            each[1].job_id = job_id
            each[1].save()
            running[job_id] = each
        self.submitting = None
        if not self._has_submitted:
            check_possible(self._request, shared / name)
            self._has_submitted = True

    def _children(self, train_file: Path, job: SlurmJob) -> SlurmChildren:
        return SlurmChildren(
            train_file.absolute(),
            [(each, job.folders[index].absolute()) for index, each in job.left.items()],
            Limits(
                limit_s=self._request.limit_s,
                delay_s=self._request.delay_s,
                restarts=job.restarts,
                retries=self._request.retries,
                grace_s=self._grace_s,
            ),
        )
