"""What the executors are given to run in these tests: top-level functions, so that they pickle."""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.children.files import ChildFiles
from nasrunner.core import Executor, Hear, OneByOne, Outcome, Proposal, child_folder

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


def takes_memory(proposal: Proposal) -> Outcome:
    """Takes memory until it is stopped."""
    blocks = []
    while True:
        blocks.append(bytearray(os.urandom(1 << 20)) * 32)
        threading.Event().wait(0.02)
