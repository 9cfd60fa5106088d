"""What a job leaves for the driver: files that are written whole, and read without being run."""

import io
import os
import pickle
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from nasrunner.core import MachineError, Outcome, Proposal, Source
from nasrunner.core.machine.files import replace_file
from nasrunner.executors.folders import touch_folder
from nasrunner.executors.running import pickled_outcome

_CHILD_FILE = "{job_id}_0_child{index}.pkl"


class _ResultUnpickler(pickle.Unpickler):
    """Reads what a job leaves; the folder may be a stranger's study's."""

    _LEGAL = (Outcome, Proposal, Source, MachineError)

    def find_class(self, module: str, name: str) -> Any:
        ours = [(each.__module__, each.__qualname__) for each in self._LEGAL]
        if (module, name) in (*ours, *_NUMPY):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}; legal are outcomes of children")


_NUMPY = (("numpy._core.multiarray", "scalar"), ("numpy", "dtype"))
"""What a metric may be that a user's own code measured."""


def read_result(path: Path) -> tuple[str, Any]:
    """Reads what submitit has written of a job: ``success`` or ``error``, and which.

    Raises:
        pickle.UnpicklingError: it holds anything but outcomes or a text.
    """
    what, value = _load(path.read_bytes())
    return what, value


def child_file(files: Path, job_id: str, index: int) -> Path:
    """Returns where a job of several children leaves the outcome of one of them."""
    return files / _CHILD_FILE.format(job_id=job_id, index=index)


def write_child(path: Path, outcome: Outcome, start: int) -> None:
    """Leaves a child's outcome, so that a reader finds all of it or none.

    Args:
        path: see ``child_file``.
        outcome: the child's.
        start: how often SLURM had started the job again.
    """
    replace_file(path, pickle.dumps((start, pickled_outcome(outcome))))


def start_of(path: Path) -> int:
    """Returns the start of the job in which ``write_child`` wrote a file."""
    start, _ = _load(path.read_bytes())
    return int(start)


def read_child(path: Path) -> Outcome:
    """Reads the outcome that ``write_child`` wrote.

    Raises:
        pickle.UnpicklingError: it holds anything but an outcome.
    """
    _, pickled = _load(path.read_bytes())
    outcome = _load(pickled)
    if not isinstance(outcome, Outcome):
        raise pickle.UnpicklingError(f"it holds {outcome!r:.200}; legal are outcomes of children")
    return outcome


def listed(folder: Path) -> Collection[str]:
    """Returns the names in a folder, as its file system has them now; none where it cannot be
    read.
    """
    touch_folder(folder)
    with suppress(OSError):
        return set(os.listdir(folder))
    return ()


def _load(pickled: bytes) -> Any:
    return _ResultUnpickler(io.BytesIO(pickled)).load()
