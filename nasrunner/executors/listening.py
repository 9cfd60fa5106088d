"""Listens to children that run somewhere else, by what they write into their folders."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from nasrunner.core import Hear, Proposal, Report
from nasrunner.executors.folders import touch_folder

_PLACE = ("epoch", "step", "time")
"""What a line of the curves holds beside metrics."""


class Listening:
    """Hands on what children report, a look at their folders at a time.

    Args:
        least_s: seconds between two looks, at least; more where looking takes longer, so that a
            slow file system is left alone most of the time.
    """

    def __init__(self, least_s: float) -> None:
        self.wait_s = least_s
        self._least_s = least_s
        self._children: dict[int, _Curves] = {}

    def __bool__(self) -> bool:
        return bool(self._children)

    def begin(self, proposals: Sequence[Proposal], folders: Sequence[Path], hear: Hear) -> None:
        """Listens to children from now on."""
        for proposal, folder in zip(proposals, folders, strict=True):
            self._children[id(proposal)] = _Curves(proposal, folder, hear)

    def end(self, proposal: Proposal) -> None:
        """Listens to a child no more; nobody may ever have."""
        self._children.pop(id(proposal), None)

    def look(self) -> None:
        """Hands on what was written since the last time; ``wait_s`` is until the next look."""
        start_s = time.monotonic()
        for curves in list(self._children.values()):
            curves.read()
        self.wait_s = max(self._least_s, 4 * (time.monotonic() - start_s))


class _Curves:
    """The learning curves of a running child, read as they grow."""

    def __init__(self, proposal: Proposal, folder: Path, hear: Hear) -> None:
        self._proposal = proposal
        self._path = folder / "curves.jsonl"
        self._hear = hear
        self._offset = 0

    def read(self) -> None:
        touch_folder(self._path.parent)
        try:
            if self._path.stat().st_size < self._offset:
                self._offset = 0  # a child that was begun once more
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return  # not there yet, or just being replaced
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return  # it is being written
            self._offset += len(line)
            try:
                values = json.loads(line)
            except ValueError:
                self._offset = 0  # it was replaced while it was read
                return
            if "train_loss" in values:  # else a validation within an epoch
                measured = {n: v for n, v in values.items() if n not in _PLACE}
                epoch = int(values["epoch"]) + 1
                self._hear(Report(self._proposal.index, epoch, measured))
