"""Commands that are told to a user, written so that a shell takes them as they are meant."""

import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path


def resume_command(folder: Path, *, is_absolute: bool = False) -> str:
    """Returns the command that continues the study in a folder."""
    return f"nasrunner {_at('resume', folder, is_absolute)}"


def report_command(folder: Path, *, is_absolute: bool = False) -> str:
    """Returns the command that shows the study in a folder, or compares those in it."""
    return f"nasrunner-report {_at('from', folder, is_absolute)}"


def network_commands(folder: Path, *, is_absolute: bool = False) -> list[str]:
    """Returns the commands that train what the study in a folder has found, and use it."""
    place = _at("from", folder, is_absolute)
    return [f"nasrunner-retrain {place}", f"nasrunner-export {place}"]


def _at(key: str, folder: Path, is_absolute: bool) -> str:
    return shlex.quote(f"{key}={folder.absolute() if is_absolute else short(folder)}")


def program(name: str) -> str:
    """Returns a program that was installed beside us, as it can be typed here."""
    if shutil.which(name):
        return name
    beside = str(Path(sys.executable).parent / name)
    return shlex.quote(min(beside, os.path.relpath(beside), key=len))


def short(path: Path) -> str:
    """Returns a path from where the user is, if it lies below; else the whole of it."""
    with contextlib.suppress(ValueError, OSError):
        relative = path.absolute().relative_to(Path.cwd())
        if relative.parts:  # where Hydra has changed to the folder, the user is elsewhere
            return str(relative)
    return str(path.absolute())
