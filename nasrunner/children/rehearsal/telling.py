"""Tells what broke in a user's own data module, in one sentence instead of a traceback."""

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl

from nasrunner.core import DataError, NasRunnerError
from nasrunner.core.machine.faults import machine_fault

_IN_WORKER = "Original Traceback (most recent call last):"
"""How torch introduces an error of a process that loads data: its traceback is the message."""

_OTHERS = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
"""Where files lie that are not the user's, beside installed packages."""


@contextmanager
def told_of_data(data: pl.LightningDataModule, what: str) -> Iterator[None]:
    """Turns whatever a user's data module raises into a sentence that names it.

    Args:
        data: the data module.
        what: what fails where something is raised within the block.

    Raises:
        DataError: names the class, the error, and the line where the error left its file.
        MachineError: it was a full disk or the like.
    """
    try:
        yield
    except NasRunnerError:
        raise
    except Exception as error:
        if fault := machine_fault(error):
            raise fault from error
        raise DataError(
            f"data: {type(data).__name__}: {what}: {type(error).__name__}: {one_line(error)}"
            f"{_place(error)}"
        ) from error


def one_line(error: BaseException) -> str:
    """Returns the message of an error; of a process that loads data only what was raised there."""
    text = str(error)
    if _IN_WORKER in text:
        text = text.rstrip().splitlines()[-1]
        text = text.removeprefix(f"{type(error).__name__}: ")
    return " ".join(text.split())


def _place(error: BaseException) -> str:
    """The last line of the traceback that is in the user's own files."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "site-packages" not in path.parts and not any(map(path.is_relative_to, _OTHERS)):
            return f" ({path}, line {frame.lineno})"
    return ""
