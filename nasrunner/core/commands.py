"""Commands that are told to a user, written so that a shell takes them as they are meant."""

import contextlib
import os
import shlex
from pathlib import Path


def resume_command(folder: Path) -> str:
    """The command that continues the study in a folder."""
    return f"nasrunner {shlex.quote(f'resume={short(folder)}')}"


def short(path: Path) -> str:
    """A path relative to where the user is, where that is shorter."""
    with contextlib.suppress(ValueError, OSError):
        relative = os.path.relpath(path)
        if relative != os.curdir:  # where Hydra has changed to the folder, the user is elsewhere
            return min(str(path), relative, key=len)
    return str(path.absolute())
