"""What the executors are given to run in these tests: top-level functions, so that they pickle."""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nasrunner.children.files import ChildFiles
from nasrunner.core import (
    Executor,
    Hear,
    OneByOne,
    Outcome,
    Proposal,
    Report,
    Status,
    Train,
    child_folder,
)
from nasrunner.core.machine.stop_file import StopFile

FOLDER = Path("unused")
"""The folder of children that keep nothing."""


def submit(
    executor: Executor,
    train: Callable[[Proposal], Outcome],
    proposal: Proposal,
    folder: Path,
    hear: Hear | None = None,
) -> None:
    """Submits one child, trained by a function of one."""
    executor.submit(OneByOne(train), [proposal], [folder], hear)


def submit_together(
    executor: Executor,
    train: Train,
    proposals: Sequence[Proposal],
    study: Path,
    hear: Hear | None = None,
) -> None:
    """Submits children as one piece of work."""
    folders = [child_folder(study, each.index) for each in proposals]
    executor.submit(train, proposals, folders, hear)


def completed(proposal: Proposal, **metrics: float) -> Outcome:
    return Outcome(proposal, "completed", reward=float(proposal.index), metrics=metrics)


def by_notes(proposal: Proposal) -> Outcome:
    """Sleeps and fails as the proposal's notes say."""
    time.sleep(proposal.notes.get("sleep_s", 0.0))
    if proposal.notes.get("raises"):
        raise ValueError(f"child {proposal.index} raises")
    if proposal.notes.get("exits"):
        sys.exit(3)
    return completed(proposal, pid=os.getpid())


class CannotCross:
    """Pickles nowhere."""

    def __reduce__(self) -> Any:
        raise TypeError("CannotCross stays where it is")


def unpicklable(proposal: Proposal) -> Outcome:
    return Outcome(proposal, "completed", 1.0, metrics={"x": CannotCross()})  # type: ignore[dict-item]


def not_an_outcome(proposal: Proposal) -> Any:
    return {"reward": 1.0}


def finds_a_full_disk(proposal: Proposal) -> Outcome:
    raise OSError(errno.ENOSPC, "No space left on device", "/data/x")


def describe_process(proposal: Proposal) -> Outcome:
    """Tells what a worker's environment is like, in the outcome's error text."""
    import torch

    settings = ",".join(
        os.environ.get(name, "unset")
        for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    )
    numbers = {
        "threads": torch.get_num_threads(),
        "pid": os.getpid(),
        "is_preloaded": float("wave" in sys.modules),
    }
    return Outcome(proposal, "completed", 1.0, metrics=numbers, error=settings)


@dataclass(frozen=True)
class Barrier:
    """Shows that a child runs by ``<index>.started`` and ends when ``go`` is there."""

    folder: Path

    def __call__(self, proposal: Proposal) -> Outcome:
        (self.folder / f"{proposal.index}.started").write_text(str(os.getpid()))
        while not (self.folder / "go").exists():
            time.sleep(0.002)
        return completed(proposal, pid=os.getpid())


@dataclass(frozen=True)
class WaitsAt:
    """As ``Barrier``, but only the child of this index waits."""

    folder: Path
    index: int

    def __call__(self, proposal: Proposal) -> Outcome:
        if proposal.index == self.index:
            return Barrier(self.folder)(proposal)
        return completed(proposal, pid=os.getpid())


@dataclass(frozen=True)
class Dies:
    """Children whose notes say ``dies`` kill their process, that many times."""

    folder: Path

    def __call__(self, proposal: Proposal) -> Outcome:
        starts = self.folder / f"{proposal.index}.starts"
        with starts.open("a") as file:
            file.write(".")
        if len(starts.read_text()) <= proposal.notes.get("dies", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return completed(proposal, pid=os.getpid())


@dataclass(frozen=True)
class DiesOnceTaken:
    """As ``Dies``, after ``<index>.taken`` says that the driver has the outcome before."""

    folder: Path

    def __call__(self, proposal: Proposal) -> Outcome:
        before = proposal.index - 1
        while before >= 0 and not (self.folder / f"{before}.taken").exists():
            time.sleep(0.002)
        return Dies(self.folder)(proposal)


@dataclass(frozen=True)
class EndsThenDies:
    """A child that leaves its files as children do, and whose process is killed after that.

    One whose notes say ``dies`` is killed before that, so many times.
    """

    study: Path

    def __call__(self, proposal: Proposal) -> Outcome:
        Dies(self.study)(proposal)
        time.sleep(0.02)  # longer than the resolution of a file's time
        files = ChildFiles(child_folder(self.study, proposal.index))
        files.write_proposal(proposal)
        files.write_outcome(completed(proposal, pid=os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("it was killed")


def last_first(proposals: Sequence[Proposal], hear: Hear | None = None) -> Iterator[Outcome]:
    """Trains all, and the last one first."""
    yield from map(by_notes, reversed(proposals))


def too_few(proposals: Sequence[Proposal], hear: Hear | None = None) -> Iterator[Outcome]:
    """Trains the first of them alone."""
    yield by_notes(proposals[0])


def a_strangers(proposals: Sequence[Proposal], hear: Hear | None = None) -> Iterator[Outcome]:
    """Trains the first of them, and one that nobody has submitted."""
    yield by_notes(proposals[0])
    yield completed(Proposal(99, {}))


@dataclass(frozen=True)
class Epochs:
    """Trains for as many epochs as the notes say, writes each into the curves, and stops if told.

    An epoch takes ``sleep_s`` of the notes; after it the accuracy is its number over 100.
    """

    study: Path

    def __call__(
        self, proposals: Sequence[Proposal], hear: Hear | None = None
    ) -> Iterator[Outcome]:
        for proposal in proposals:
            yield self._train(proposal, hear or (lambda report: False))

    def _train(self, proposal: Proposal, hear: Hear) -> Outcome:
        folder = child_folder(self.study, proposal.index)
        num_epochs = int(proposal.notes["epochs"])
        status: Status = "completed"
        if proposal.until is not None and proposal.until < num_epochs:
            num_epochs, status = proposal.until, "paused"
        curve: list[float] = []
        with ChildFiles(folder) as files:
            files.start(proposal, {})
            for epoch in range(num_epochs):
                time.sleep(proposal.notes.get("sleep_s", 0.0))
                curve.append((epoch + 1) / 100)
                measured = {"train_loss": 1.0, "val_accuracy": curve[-1]}
                files.add_line({"epoch": epoch, "step": epoch, "time": time.time(), **measured})
                to_stop = StopFile(folder).read()
                is_heard = hear(Report(proposal.index, epoch + 1, measured))
                if is_heard or (to_stop is not None and epoch + 1 >= to_stop):
                    status = "stopped"
                    break
        metrics = {"pid": float(os.getpid()), "epochs": float(len(curve))}
        curves = {"val_accuracy": curve}
        return Outcome(proposal, status, curve[-1], metrics, cost_s=10.0, curve=curves)


@dataclass
class Listener:
    """Hears what children report, and stops some, as a study does.

    Attributes:
        study: the study's folder.
        stops: after which epoch each child is told to stop, by index.
        heard: what was reported.
        threads: where it was called.
    """

    study: Path
    stops: Mapping[int, int] = field(default_factory=dict)
    heard: list[Report] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def __call__(self, report: Report) -> bool:
        self.heard.append(report)
        self.threads.add(threading.current_thread().name)
        stop = self.stops.get(report.index)
        if stop is None or report.epoch < stop:
            return False
        StopFile(child_folder(self.study, report.index)).write(stop)
        return True

    def epochs(self, index: int) -> list[int]:
        """The epochs that a child has reported, in their order."""
        return [report.epoch for report in self.heard if report.index == index]


def takes_memory(proposal: Proposal) -> Outcome:
    """Takes memory until it is stopped."""
    blocks = []
    while True:
        blocks.append(bytearray(os.urandom(1 << 20)) * 32)
        threading.Event().wait(0.02)
