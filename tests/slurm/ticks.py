"""Children that count, go on counting where an earlier attempt stopped, and tell where they ran."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit import JobEnvironment

from nasrunner.core import Kind, OneByOne, Outcome, Proposal, Train, child_folder
from tests.toys import ToyTrainer, figure1

TICK_S = 0.05


@dataclass(frozen=True)
class Start:
    """One process of one attempt at a child."""

    job: str
    node: str
    pid: int
    rank: int


@dataclass(frozen=True)
class Ticks:
    """Counts to ``ticks`` in the child's folder, 20 times a second; the count is its checkpoint.

    Where there is a SCRATCH, a folder of the node's own, it needs some room there.
    """

    study: Path
    ticks: int

    def __call__(self, proposal: Proposal) -> Outcome:
        folder = child_folder(self.study, proposal.index)
        folder.mkdir(parents=True, exist_ok=True)
        rank = os.environ["SLURM_PROCID"]
        where = JobEnvironment().job_id, os.environ["SLURMD_NODENAME"], str(os.getpid()), rank
        with (folder / "starts").open("a") as file:
            file.write(" ".join(where) + "\n")
        if scratch := os.environ.get("SCRATCH"):
            (Path(scratch) / f"nasrunner-{os.getpid()}").touch()
        count = folder / f"count{rank}"
        done = int(count.read_text()) if count.exists() else 0
        while done < self.ticks:
            time.sleep(TICK_S)
            done += 1
            unfinished = count.with_suffix(".unfinished")
            unfinished.write_text(str(done))
            unfinished.replace(count)
        return Outcome(proposal, "completed", reward=float(done))


class TicksTrainer(ToyTrainer):
    """Figure 1's space; every child counts.

    Args:
        ticks: how far.
        at_once: how many children one job is given.
    """

    def __init__(self, ticks: int, at_once: int = 1) -> None:
        super().__init__(figure1())
        self.ticks = ticks
        self.at_once = at_once

    def num_at_once(self, kind: Kind) -> int:
        return self.at_once

    def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
        return OneByOne(Ticks(folder, self.ticks))


def starts(study: Path, index: int) -> list[Start]:
    """Every start of a child so far."""
    path = child_folder(study, index) / "starts"
    lines = path.read_text().splitlines() if path.exists() else []
    fields = [line.split() for line in lines]
    return [Start(job, node, int(pid), int(rank)) for job, node, pid, rank in fields]


def count(study: Path, index: int) -> int:
    """How far a child has counted."""
    path = child_folder(study, index) / "count0"
    return int(path.read_text()) if path.exists() else 0
