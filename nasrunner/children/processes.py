"""A child on several devices as a worker sees it: a command that starts its ranks."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nasrunner.children.files import ChildFiles
from nasrunner.children.muted import without_messages
from nasrunner.children.progress.ending import Reporting
from nasrunner.children.ranks import failures
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.arguments import make_trainer, needs_ranks
from nasrunner.core import Hear, MachineError, Outcome, Proposal, child_folder
from nasrunner.core.machine.child_folder import GrowingCurves
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.stop_file import StopFile
from nasrunner.core.machine.stopping import how_it_ended

MODULE = "nasrunner.child"
LEASH = "--end-with-stdin"
"""Makes the command end, with all its processes, when nobody holds its standard input any more."""

TRUST = "--trust"
"""Builds what the configuration names: the worker was given the same, which was checked then."""

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a command that was told to stop."""

FAULT = os.EX_TEMPFAIL
"""The exit code of a command that a full disk or the like has interrupted."""

_STALE = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "STANDALONE_PORT",
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
)
"""What another training may have left in a worker's environment, or the worker's own launcher."""

_LAST_LINES = 8

_LOOK_S = 0.2
"""Between two looks for what a child has measured."""


def num_processes(task: Recipe) -> int:
    """Returns how many ranks a child needs processes for on this machine; 0: it is trained in this
    one.
    """
    config = task.config["trainer"]

    def trainer() -> pl.Trainer:
        with without_messages():  # Lightning says which devices it found
            return make_trainer(config, task.folder, task.construct, [])

    return trainer().num_devices if needs_ranks(config, trainer) else 0


def train_in_ranks(
    task: Recipe, proposal: Proposal, num_ranks: int, hear: Hear | None = None
) -> Outcome:
    """Trains a child by ``python -m nasrunner.child`` and waits for it; its failure is an outcome.

    The command is a session of its own, of which nothing is left when this returns or raises.
    Its processes also end when this one is killed: they end with their standard input, a pipe
    that nobody else holds.

    Args:
        task: what trains the child in those processes, as the study's configuration says.
        proposal: the child.
        num_ranks: how many processes there will be, which share this one's CPU threads.
        hear: who is told of each epoch, as it is found in the child's folder; None: nobody.

    Raises:
        SIGTERMException: the command was told to stop; that is not the child's doing.
        MachineError: nor is a full disk or the like.
    """
    started_s = time.perf_counter()
    files = ChildFiles(child_folder(task.folder, proposal.index))
    error = None
    try:
        files.forget_outcome()
        files.write_proposal(proposal)
        with tempfile.TemporaryFile() as said:
            hearing = None if hear is None else Hearing(proposal.index, files, hear)
            code = _run(files.folder, num_ranks, said, hearing)
            outcome = files.found.outcome(proposal)
            if outcome is not None:
                return outcome
            if code in (TERMINATED, -signal.SIGTERM):
                raise SIGTERMException
            if code == FAULT:
                raise MachineError(_fault(said))
            error = _reason(files.folder, code, said)
        outcome = Outcome(proposal, "failed", cost_s=time.perf_counter() - started_s, error=error)
        files.write_outcome(outcome)
    except OSError as failure:
        if fault := machine_fault(failure):
            raise fault from failure
        error = error or f"the child could not be started: {failure}"
        return Outcome(proposal, "failed", cost_s=time.perf_counter() - started_s, error=error)
    return outcome


def end_with_stdin() -> None:
    """Ends this process and its whole group as soon as the other end of its stdin is closed."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="leash", daemon=True).start()


class Hearing:
    """Tells somebody in this process what a child measures that trains in others.

    Whose answer may be that the child is to stop: its folder tells it.

    Args:
        index: the child's.
        files: its folder.
        hear: who is told.
    """

    def __init__(self, index: int, files: ChildFiles, hear: Hear) -> None:
        self._tell = Reporting(index, hear)
        self._curves = GrowingCurves(files.found)
        self._stop = StopFile(files.folder)

    def look(self) -> None:
        """Tells of the epochs that have ended since the last look."""
        for line in self._curves.read():
            self._tell(line)
        self._curves.take()
        if self._tell.is_to_stop and self._stop.read() is None:
            self._stop.write(self._tell.num_told)


def _run(folder: Path, num_ranks: int, said: IO[bytes], hearing: Hearing | None) -> int:
    """The exit code of rank 0; the others have ended, or been told to by SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, str(folder.resolve()), LEASH, TRUST],
        env=_environment(os.environ, num_ranks),
        stdin=subprocess.PIPE,
        stdout=said,
        stderr=said,
        start_new_session=True,
    )
    with process, _session_ended(process.pid):
        _wait(process.pid, hearing)
    return process.returncode


def _wait(process: int, hearing: Hearing | None) -> None:
    """Waits for the end of a process, which is not reaped."""
    if hearing is None:
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        return
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        hearing.look()
        time.sleep(_LOOK_S)
    hearing.look()


@contextmanager
def _session_ended(leader: int) -> Iterator[None]:
    """Kills what is left of a process group while its leader has not been reaped."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


def _environment(inherited: Mapping[str, str], num_ranks: int) -> dict[str, str]:
    """What the command finds: this process's modules, its share of threads, and no other ranks."""
    kept = {
        name: value
        for name, value in inherited.items()
        if name not in _STALE and not name.startswith("TORCHELASTIC_")
    }
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    threads = max(1, torch.get_num_threads() // num_ranks)
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}


def _fault(said: IO[bytes]) -> str:
    """The sentence of a command that the machine has interrupted; other ranks may speak after."""
    lines = _lines(said)
    own = [line for line in lines if line.startswith(f"{MODULE}: ")]
    return (own or lines or [f"{MODULE}: a fault of the machine"])[-1].removeprefix(f"{MODULE}: ")


def _lines(said: IO[bytes]) -> list[str]:
    said.seek(0)
    return said.read().decode(errors="replace").rstrip().splitlines()


def _reason(folder: Path, code: int, said: IO[bytes]) -> str:
    """Why a command left no outcome."""
    lines = _lines(said)[-_LAST_LINES:]
    told = failures(folder, wait_s=0)
    # The others notice that rank 0 was killed, and may say so before they end. An abort is torch's
    # own, and comes of their failures.
    if not told or (code < 0 and code != -signal.SIGABRT):
        told.append(f"rank 0 failed: its process {how_it_ended(code)}")
    return "\n".join([*lines, *told])
