"""What a child's folder, on a file system of other nodes too, tells when its process is lost."""

import contextlib
import os
from pathlib import Path

from nasrunner.core import Outcome, Proposal
from nasrunner.core.machine.child_folder import ChildFolder


def outcome_left(folder: Path, proposal: Proposal, submitted_s: float) -> Outcome | None:
    """Returns the outcome that a child wrote before its process was lost; None: it wrote none.

    Takes as long as the file system does.

    Args:
        folder: the child's.
        proposal: the child.
        submitted_s: unix time of its submission; an outcome from before is not of this one.
    """
    touch_folder(folder)
    found = ChildFolder(folder)
    try:
        written_s = found.outcome_written_s()
    except OSError:
        return None
    return found.outcome(proposal) if written_s >= submitted_s else None


def touch_folder(path: Path) -> None:
    """Makes a network file system look again at what is in a folder."""
    with contextlib.suppress(OSError):
        os.chmod(path, path.stat().st_mode)
