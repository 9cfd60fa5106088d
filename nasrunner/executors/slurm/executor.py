"""Children in SLURM jobs over submitit: one each, or those that were submitted together."""

import atexit
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from nasrunner.core import (
    ConfigError,
    Hear,
    MachineError,
    Outcome,
    Proposal,
    Train,
)
from nasrunner.core.annotations import Above, takes_fields_of
from nasrunner.core.records import MEASURED
from nasrunner.executors.listening import Listening
from nasrunner.executors.running import failed
from nasrunner.executors.slurm.attempt import after_restarts
from nasrunner.executors.slurm.cancel import cancel_jobs
from nasrunner.executors.slurm.earlier import EarlierJobs
from nasrunner.executors.slurm.gathered import GatheredJobs
from nasrunner.executors.slurm.job import SlurmJob
from nasrunner.executors.slurm.request import JobRequest
from nasrunner.executors.slurm.results import listed
from nasrunner.executors.slurm.submit import check_installed
from nasrunner.executors.slurm.train_files import TrainFiles
from nasrunner.executors.slurm.watch import JobState, SlurmWatch

_HOPELESS = ("BadConstraints", "InvalidAccount", "InvalidQOS", "PartitionTimeLimit")
"""Reasons for which SLURM accepts a job that it will never start."""

_CLEAN_AFTER_S = 10.0

_log = logging.getLogger(__name__)


class SlurmExecutor:
    """Runs each submission in a SLURM job of its own: most often a child.

    Jobs that wait for the same ``wait`` become one array; the next one is submitted the moment a
    job has ended. Outcomes of several children in one job come as they end. A job that reaches its
    time limit, is preempted or loses its node starts again, and its child goes on from its
    checkpoint; of several, those that have no outcome. ``close`` cancels what runs or waits; jobs
    of a driver that died go on, and the next driver of the study finds them.

    The arguments are those of ``conf/executor/slurm.yaml``, which says what they are for; those of
    a job are checked by ``JobRequest``.

    Args:
        keep_logs: whether to keep the logs of jobs whose children completed.
        result_interval_s: how often to look for results, > 0.
        squeue_interval_s: how often to ask SLURM what became of jobs without a result, > 0.
        grace_s: until a file must show that was written on another node, > 0.
        resources: the arguments of ``JobRequest``.

    Raises:
        ConfigError: a value is out of its range, or SLURM or submitit is not installed.
    """

    is_remote = True
    is_on_this_machine = False
    is_simulated = False

    @takes_fields_of(JobRequest, alone=True)
    def __init__(
        self,
        *,
        keep_logs: bool,
        result_interval_s: Annotated[float, Above(0)],
        squeue_interval_s: Annotated[float, Above(0)],
        grace_s: Annotated[float, Above(0)],
        **resources: Any,
    ) -> None:
        self._request = JobRequest.of(resources)
        check_installed()
        self._keep_logs = keep_logs
        self._result_interval_s = result_interval_s
        self._grace_s = grace_s
        self._watch = SlurmWatch(squeue_interval_s)
        self._listening = Listening(result_interval_s)
        self._gathered = GatheredJobs(self._request, grace_s)
        self._jobs: dict[str, tuple[Path, SlurmJob]] = {}  # by job id, with the file of what trains
        self._ended_jobs: deque[tuple[float, SlurmJob, bool]] = deque()  # when, and if logs stay
        self._train_files = TrainFiles()
        self._earlier: dict[Path, EarlierJobs] = {}  # by the folder that a study's jobs share
        self._fault: MachineError | None = None
        atexit.register(self.close)

    def free_slots(self) -> int:
        return max(0, self._request.max_parallel - len(self._jobs) - len(self._gathered))

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        """Gathers a job for the next array, or finds those that an earlier driver submitted.

        Raises:
            NasRunnerError: ``train`` cannot be pickled, or SLURM refuses the job.
        """
        shared = _shared_folder(folders[0])
        train_file = self._train_files.write(train, shared)
        if shared not in self._earlier:
            self._earlier[shared] = EarlierJobs(shared)
        children = [
            (proposal, folder)
            for proposal, folder in zip(proposals, folders, strict=True)
            if not self._adopt(train_file, proposal, folder, self._earlier[shared])
        ]
        if children:
            new_proposals, new_folders = zip(*children, strict=True)
            self._gathered.add(train_file, SlurmJob.of(new_proposals, new_folders, shared))
        if hear is not None:
            self._listening.begin(proposals, folders, hear)
        if not self.free_slots():
            self._submit_gathered()
        self._watch.watch(self._jobs)

    def wait(self) -> list[Outcome]:
        """Blocks until at least one child has ended; returns all that have.

        Raises:
            ConfigError: SLURM refuses the children's jobs.
        """
        assert self._jobs or self._gathered, "wait() before submit(): nothing could ever end"
        while True:
            self._submit_gathered()
            self._watch.watch(self._jobs)
            self._clean_up(_CLEAN_AFTER_S)
            self._listening.look()
            start_s = time.monotonic()
            if outcomes := [*self._results(), *self._lost()]:
                return outcomes
            if self._fault is not None:
                raise self._fault
            # Many files on a slow file system: leave it alone most of the time.
            took_s = time.monotonic() - start_s
            time.sleep(max(self._result_interval_s, 4 * took_s))

    def close(self) -> None:
        """Cancels what runs or waits. Safe to call twice."""
        atexit.unregister(self.close)
        self._watch.close()
        self._gathered.clear()
        jobs = [job for _, job in self._jobs.values()]
        self._jobs.clear()
        cancel_jobs(jobs, self._gathered.submitting)
        self._gathered.submitting = None
        self._clean_up(0.0)
        self._train_files.remove()

    def _clean_up(self, age_s: float) -> None:
        """Removes the files of jobs that ended some time ago, whose processes have ended now."""
        while self._ended_jobs and time.monotonic() - self._ended_jobs[0][0] >= age_s:
            _, job, keeps_log = self._ended_jobs.popleft()
            job.remove_files(keeps_log)

    def _adopt(
        self, train_file: Path, proposal: Proposal, folder: Path, earlier: EarlierJobs
    ) -> bool:
        """Takes over the job of an earlier driver; False: the child is to be submitted anew."""
        job = earlier.of(proposal, folder)
        if job is None:
            return False
        if job.is_cancelled:  # that driver was closed; perhaps before SLURM had heard of it
            earlier.forget(job)
            cancel_jobs([job])
            return False
        assert job.job_id is not None
        _log.info("child %d goes on in its job %s", proposal.index, job.job_id)
        self._jobs[job.job_id] = (train_file, job)
        return True

    def _submit_gathered(self) -> None:
        self._gathered.submit_into(self._jobs)

    def _results(self) -> Iterator[Outcome]:
        """The outcomes that jobs have left, which need no word of SLURM."""
        names = {folder: listed(folder) for folder in {job.files for _, job in self._jobs.values()}}
        for _, job in list(self._jobs.values()):
            try:
                outcomes = job.results(names[job.files])
            except MachineError as fault:  # the others' outcomes come first
                self._fault = fault
                continue
            for outcome in outcomes:
                yield self._end(job, outcome)

    def _lost(self) -> Iterator[Outcome]:
        """The outcomes of jobs that SLURM says have ended and that have left none for a while."""
        snapshot = self._watch.snapshot
        for train_file, job in list(self._jobs.values()):
            assert job.job_id is not None
            state = snapshot.states.get(job.job_id)
            if state is None:  # submitted after SLURM was asked
                continue
            if state.name == "PENDING" and state.reason in _HOPELESS:
                raise ConfigError(
                    f"SLURM will never start a child's job of timeout_min="
                    f"{self._request.timeout_min} and {self._request.text()}: {state.reason}"
                )
            if not (state.is_ended or state.is_held):
                job.ended_s = None
                continue
            job.ended_s = snapshot.asked_s if job.ended_s is None else job.ended_s
            # Counted in snapshots: while SLURM is silent, nothing is lost.
            if snapshot.asked_s - job.ended_s >= self._grace_s:
                yield from self._ended(train_file, job, state)

    def _ended(self, train_file: Path, job: SlurmJob, state: JobState) -> Iterator[Outcome]:
        """What becomes of the children left of a job that has ended; none where it starts again."""
        for outcome in job.results(listed(job.files)):
            yield self._end(job, outcome)
        for outcome in job.lost_results():
            yield self._end(job, outcome)
        if not job.left:
            return
        if job.is_adopted and state.name == "CANCELLED":  # while no driver was there
            self._start_again(train_file, job, job.restarts)
            return
        if state.is_held:
            cancel_jobs([job])  # or it would train beside its successor, once it is released
        restarts = 0 if job.num_ended else job.restarts
        is_some_childs_fault = len(job.left) > 1 and state.name != "CANCELLED"
        if (state.is_no_fault or is_some_childs_fault) and restarts < self._request.retries:
            self._start_again(train_file, job, restarts + 1)
            return
        error = f"its job {job.job_id} {state.text()}"
        if state.is_no_fault or is_some_childs_fault:
            error += f", {after_restarts(restarts, self._request.retries)}"
        if not state.is_held:  # it has no log
            error += f"; {job.last_words()}"
        cost_s = max(0.0, time.time() - job.submitted_s) / len(job.left)
        for proposal in list(job.left.values()):
            yield self._end(job, failed(proposal, error, cost_s))

    def _start_again(self, train_file: Path, job: SlurmJob, restarts: int) -> None:
        del self._jobs[str(job.job_id)]
        job.forget()
        job.remove_files(keeps_log=True)
        self._gathered.add(train_file, job.again(restarts))

    def _end(self, job: SlurmJob, outcome: Outcome) -> Outcome:
        proposal = job.left[outcome.proposal.index]
        self._listening.end(proposal)
        del job.left[proposal.index]
        job.num_ended += 1
        job.has_failed |= outcome.status not in MEASURED
        if not job.left:
            del self._jobs[str(job.job_id)]
            job.forget()
            is_kept = self._keep_logs or job.has_failed
            self._ended_jobs.append((time.monotonic(), job, is_kept and proposal.index >= 0))
        return replace(outcome, proposal=proposal)


def _shared_folder(folder: Path) -> Path:
    """Where the jobs of a study have their files: ``slurm`` in the study's folder."""
    study = folder.parents[1] if folder.parent.name == "children" else folder.parent
    return study.absolute() / "slurm"
