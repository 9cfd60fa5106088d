"""Children that wait in a SLURM allocation until they are let go, and tell where they are."""

import ctypes
import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.core import OneByOne, Outcome, Proposal, Train
from tests.toys import ToyTrainer, toy_reward


@dataclass(frozen=True)
class Start:
    """One start of a child."""

    index: int
    pid: int
    job: str
    node: str


@dataclass(frozen=True)
class Held:
    """Trains nothing; ends when ``go`` is in the folder."""

    folder: Path

    def __call__(self, proposal: Proposal) -> Outcome:
        where = os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"]
        with (self.folder / "starts").open("a") as file:
            file.write(json.dumps([proposal.index, os.getpid(), *where]) + "\n")
        while not (self.folder / "go").exists():
            time.sleep(0.02)
        reward = toy_reward(proposal.genotype)
        return Outcome(proposal, "completed", reward, {"val_accuracy": reward})


@dataclass
class HeldTrainer(ToyTrainer):
    """Rewards a genotype by its hash, once the child is let go."""

    def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
        return OneByOne(Held(folder))


def starts(folder: Path) -> list[Start]:
    """Every start of a child so far, in order."""
    path = folder / "starts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Start(*json.loads(line)) for line in lines]


@dataclass(frozen=True)
class IgnoresTerminate:
    """A child whose process SIGTERM does not end, and whose pid is in a file."""

    file: Path

    def __call__(self, proposal: Proposal) -> Outcome:
        ignore = 1
        ctypes.CDLL(None).signal(signal.SIGTERM, ignore)  # Python would allow it in no thread
        self.file.write_text(str(os.getpid()))
        threading.Event().wait()
        return Outcome(proposal, "completed", 1.0)
