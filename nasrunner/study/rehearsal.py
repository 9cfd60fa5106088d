"""Tries a study's configuration where its children will run, before anything is recorded."""

import logging
import secrets
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nasrunner.core.errors import ConfigError, NasRunnerError
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.ports import Check, Executor, OneByOne
from nasrunner.core.records import Outcome, Proposal

_log = logging.getLogger(__name__)

_SHARED_WITHIN_S = 10.0
"""How long a network file system may take to show a new file."""


def rehearse(check: Check, executor: Executor, folder: Path) -> None:
    """Runs ``check`` in a worker, as if it were a child; leaves no trace in the study.

    What it remarks is shown as a warning.

    Args:
        check: raises a NasRunnerError for whatever would make every child fail, and returns
            sentences on what will be done in another way than was asked for.
        executor: where children will run; nothing runs there yet.
        folder: the study's; a worker must see it, too.

    Raises:
        ConfigError: the check found what would make every child fail, or the worker does not see
            the folder.
    """
    own = folder / "rehearsal"
    own.mkdir(parents=True, exist_ok=True)
    try:
        probe = Probe(own / secrets.token_hex(8))
        probe.path.touch()
        executor.submit(OneByOne(Rehearsal(probe, check)), [Proposal(-1, {})], [own])
        while not (outcomes := executor.wait()):
            pass
        if outcomes[0].error is not None:
            raise ConfigError(outcomes[0].error)
        for remark in probe.remarks():
            _log.warning(remark)
    finally:
        shutil.rmtree(own, ignore_errors=True)


@dataclass(frozen=True)
class Probe:
    """A file that the driver has just made, for a worker to find."""

    path: Path

    def check(self) -> None:
        """Looks for the file.

        Raises:
            ConfigError: it is not there, after a network file system had time to show it.
        """
        deadline = time.monotonic() + _SHARED_WITHIN_S
        while not self.path.exists():
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"hydra.run.dir must lie on a file system that all nodes share: the study's "
                    f"folder {self.path.parents[1]} is not the same on {socket.gethostname()}"
                )
            time.sleep(0.1)

    def remarks(self) -> list[str]:
        """Returns what the check in the worker remarked."""
        with suppress(FileNotFoundError):
            return self._remarks.read_text(encoding="utf-8").splitlines()
        return []

    def remark(self, sentences: Sequence[str]) -> None:
        """Leaves sentences for the driver."""
        if sentences:
            self._remarks.write_text("".join(f"{each}\n" for each in sentences), encoding="utf-8")

    @property
    def _remarks(self) -> Path:
        return self.path.with_suffix(".txt")


@dataclass(frozen=True)
class Rehearsal:
    """A check that an executor runs as if it were a child."""

    probe: Probe
    check: Check

    def __call__(self, proposal: Proposal) -> Outcome:
        try:
            self.probe.check()
            self.probe.remark(self.check())
        except NasRunnerError as error:
            if fault := machine_fault(error):
                raise fault from error
            return Outcome(proposal, "failed", error=str(error))
        return Outcome(proposal, "completed")
