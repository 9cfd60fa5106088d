"""The ranks of a child on several devices: a process each, all of which train the same network."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch.distributed as dist
from pytorch_lightning.plugins.environments import (  # type: ignore[attr-defined]
    LightningEnvironment,
    SLURMEnvironment,
)

from nasrunner.core.machine.stopping import how_it_ended

VARIABLE = "NASRUNNER_RANKS"
"""``srun``: SLURM has started this process as one rank of several."""

RankProcesses = dict[int, subprocess.Popen[bytes]]
"""The processes that rank 0 has started, by rank."""

_FAILURES = "rank*.txt"
_POLL_S = 0.05
_REPORT_S = 2.0
"""How long a rank that fails waits for the others to say why; then rank 0 is ended."""


def are_started_by_srun() -> bool:
    """Tells whether the ranks exist already, one for each task of a SLURM job."""
    return os.environ.get(VARIABLE) == "srun"


def rank_here() -> int:
    """Returns which rank of its child this process is."""
    variable = "SLURM_PROCID" if are_started_by_srun() else "LOCAL_RANK"
    return int(os.environ.get(variable, "0"))


def environment() -> LightningEnvironment | SLURMEnvironment:
    """Returns where a child's ranks come from; Lightning would take any SLURM job for its own."""
    return SLURMEnvironment(auto_requeue=False) if are_started_by_srun() else OneHost()


class OneHost(LightningEnvironment):
    """Ranks on this machine that rank 0 starts, and that meet at a port no one else is given."""

    def __init__(self) -> None:
        super().__init__()
        self._held: socket.socket | None = None

    @property
    def main_port(self) -> int:
        if self._main_port == -1 and "MASTER_PORT" not in os.environ:
            # Bound, not listening: torch may bind it, too, for both reuse addresses, while
            # whoever asks the system for a free port gets another one.
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind(("", 0))
            self._main_port = int(self._held.getsockname()[1])
        return int(super().main_port)


def seed_of(seed: int, rank: int) -> int:
    """Returns what a rank draws dropout and augmentation from: rank 0 as a child on one device
    would.
    """
    return int(np.random.SeedSequence([seed, rank]).generate_state(1)[0]) if rank else seed


def failures(folder: Path, wait_s: float) -> list[str]:
    """Returns what the ranks other than 0 say of their ends, once at least one has said something.

    Args:
        folder: the child's.
        wait_s: how long to wait for the first, in seconds.
    """
    deadline = time.monotonic() + wait_s
    while not (found := sorted(folder.glob(_FAILURES))) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    texts = {
        path.stem.removeprefix("rank"): path.read_text(encoding="utf-8").splitlines()
        for path in found
    }
    for path in found:
        path.unlink()
    return [f"rank {rank} failed: {lines[-1]}" for rank, lines in texts.items() if lines]


class Ranks(pl.Callback):
    """Keeps the ranks of a child together; does nothing where there is one.

    Before the first step they compare what they are about to train. A rank that fails ends the
    others, and the error says which it was.

    Args:
        folder: the child's, where ranks other than 0 leave their errors.
        processes: of the other ranks, by rank: those that rank 0 has started for an earlier fit of
            the same child, which take part in this one, too. Those that it starts are added.
        facts: of this rank, by what they are called in an error message.
    """

    def __init__(self, folder: Path, processes: RankProcesses, **facts: Any) -> None:
        self.folder = folder
        self.facts = facts
        self._processes = processes
        self._is_over = threading.Event()

    @contextmanager
    def joined(self, trainer: pl.Trainer) -> Iterator[None]:
        """Leaves the process group at the end of the block.

        A process that ends while it has one is now and then aborted by torch 2.13 with gloo.
        """
        is_first = trainer.global_rank == 0 and trainer.world_size > 1
        if is_first:
            failures(self.folder, wait_s=0)  # an earlier attempt's
            self._start_watch()
        try:
            yield
            if dist.is_initialized():
                dist.barrier()
                dist.destroy_process_group()
        except Exception as failure:
            for reason in failures(self.folder, _REPORT_S) if is_first else ():
                failure.add_note(reason)
            raise
        finally:
            self._is_over.set()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.world_size == 1 or stage != "fit":
            return
        started: list[subprocess.Popen[bytes]] = getattr(trainer.strategy.launcher, "procs", [])
        if started:
            self._processes.update(enumerate(started, start=1))
            # Lightning's observer kills rank 0 within 5 s and says nothing: nothing is left to it.
            started.clear()
            self._start_watch()
        self._compare(trainer, pl_module)

    def _start_watch(self) -> None:
        """Watches the processes that were started; a later fit starts none."""
        if self._processes:
            threading.Thread(target=self._watch, args=(dict(self._processes),), daemon=True).start()

    def _compare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        shapes = {f"shape of {n}": tuple(p.shape) for n, p in pl_module.named_parameters()}
        ranks: list[Any] = [None] * trainer.world_size
        dist.all_gather_object(ranks, {**self.facts, **shapes})
        for rank, theirs in enumerate(ranks):
            for what in dict.fromkeys([*ranks[0], *theirs]):
                here, there = ranks[0].get(what), theirs.get(what)
                if here != there:
                    raise RuntimeError(
                        f"all ranks must train the same network, but the {what} is {here} on "
                        f"rank 0 and {there} on rank {rank}"
                    )

    def _watch(self, processes: RankProcesses) -> None:
        """Ends rank 0 where another dies while it waits for that one for ever."""
        while not self._is_over.wait(_POLL_S):
            for rank, process in processes.items():
                if process.poll():
                    self._report(rank, how_it_ended(process.returncode))
                    if not self._is_over.wait(2 * _REPORT_S):
                        sys.stderr.write(f"rank 0 waited for rank {rank}, which has ended\n")
                        os._exit(1)
                    return
        for process in processes.values():
            process.wait()  # or Python warns, in the child's log, of one that was let go running

    def _report(self, rank: int, how: str) -> None:
        path = self.folder / f"rank{rank}.txt"
        if not path.exists():
            path.write_text(f"its process {how}\n", encoding="utf-8")
