"""Runs the trainings that are still to be done, and reads those that are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.core.machine.child_folder import TESTED, ChildFolder
from nasrunner.core.ports import Executor, Train
from nasrunner.core.records import Outcome, Proposal
from nasrunner.retrain.training.recipe import network_folder, repetition_of

MLP_CLASSIFIER = "mlp_classifier"
"""The name of the jobs that are no network of the space."""


@dataclass(frozen=True, eq=False)
class RetrainJob:
    """One network to train and test.

    Attributes:
        name: how its folder begins: ``0007``, ``mlp_classifier``.
        proposal: its architecture, and which repetition it is.
        train: trains it.
    """

    name: str
    proposal: Proposal
    train: Train

    @property
    def repetition(self) -> int:
        """Which network of its architecture it is: 0, 1, …"""
        return repetition_of(self.proposal)

    def folder(self, parent: Path) -> Path:
        """Returns where the network keeps its files."""
        return network_folder(parent, self.name, self.repetition)


@dataclass(frozen=True)
class Network:
    """What became of a job.

    Attributes:
        job: what was to be done.
        outcome: completed with the metrics of the test, or failed.
        tested: the record of its test; None where it failed.
    """

    job: RetrainJob
    outcome: Outcome
    tested: Mapping[str, Any] | None


class Retraining:
    """Trains the networks that are not done yet, as many at a time as the executor takes.

    Args:
        jobs: what is to be done, in order.
        folder: where the networks' folders are.
        told: called with each network as it ends.

    Attributes:
        networks: those that are trained and tested, or failed now.
        missing: the jobs that were still to be done at the beginning.
        stop_reason: why nothing more was started; None while nobody asked for that.
    """

    def __init__(
        self, jobs: Sequence[RetrainJob], folder: Path, told: Callable[[Network], None]
    ) -> None:
        self.told = told
        self.folder = folder
        done = {job: found for job in jobs if (found := read_network(job, folder)) is not None}
        self.networks: dict[RetrainJob, Network] = done
        self.missing = [job for job in jobs if job not in done]
        self.stop_reason: str | None = None

    def stop(self, reason: str) -> None:
        """Starts nothing more; ``run`` returns when what is running has ended."""
        self.stop_reason = self.stop_reason or reason

    def run(self, executor: Executor) -> None:
        """Trains all that is missing, or all that was running when ``stop`` was called."""
        queue = list(reversed(self.missing))
        running: list[RetrainJob] = []
        while True:
            while queue and self.stop_reason is None and executor.free_slots():
                running.append(queue.pop())
                job = running[-1]
                executor.submit(job.train, [job.proposal], [job.folder(self.folder)])
            if not running:
                return
            for outcome in executor.wait():
                job = next(each for each in running if each.proposal is outcome.proposal)
                running.remove(job)
                is_tested = outcome.status == "completed"
                folder = ChildFolder(job.folder(self.folder))
                tested = folder.read_record(TESTED) if is_tested else None
                self.networks[job] = Network(job, outcome, tested)
                self.told(self.networks[job])


def read_network(job: RetrainJob, parent: Path) -> Network | None:
    """Returns a network that was trained and tested before; None where that is still to be done."""
    folder = ChildFolder(job.folder(parent))
    outcome, tested = folder.outcome(job.proposal), folder.read_record(TESTED)
    if outcome is None or tested is None or outcome.status != "completed":
        return None
    return Network(job, outcome, tested)
