"""Listens to children that run somewhere else, by what they write into their folders."""

import time
from collections.abc import Sequence
from pathlib import Path

from nasrunner.core import Hear, Proposal
from nasrunner.core.machine.child_folder import ChildFolder, GrowingCurves, report_of
from nasrunner.executors.folders import touch_folder

_TOUCH_EVERY_S = 5.0


class Listening:
    """Hands on what children report, each epoch of each once, a look at their folders at a time.

    Args:
        least_s: seconds between two looks, at least; more where looking takes longer, so that a
            slow file system is left alone most of the time.
    """

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._due_s = time.monotonic()
        self._children: dict[int, _Curves] = {}

    def __bool__(self) -> bool:
        return bool(self._children)

    @property
    def wait_s(self) -> float:
        """Seconds until the next look is due."""
        return max(0.0, self._due_s - time.monotonic())

    def begin(self, proposals: Sequence[Proposal], folders: Sequence[Path], hear: Hear) -> None:
        """Listens to children from now on."""
        for proposal, folder in zip(proposals, folders, strict=True):
            self._children[id(proposal)] = _Curves(proposal, folder, hear)

    def end(self, proposal: Proposal) -> None:
        """Listens to a child that has ended for the last time, if anybody ever has."""
        if curves := self._children.pop(id(proposal), None):
            curves.read()

    def look(self) -> None:
        """Hands on what was written since the last time, if that is long enough ago."""
        start_s = time.monotonic()
        if start_s < self._due_s:
            return
        for curves in list(self._children.values()):
            curves.read()
        end_s = time.monotonic()
        self._due_s = end_s + max(self._least_s, 4 * (end_s - start_s))


class _Curves:
    """The learning curves of a running child, heard as they grow."""

    def __init__(self, proposal: Proposal, folder: Path, hear: Hear) -> None:
        self._index = proposal.index
        self._folder = folder
        self._hear = hear
        self._curves = GrowingCurves(ChildFolder(folder))
        self._heard = 0  # epochs
        self._touched_s = float("-inf")

    def read(self) -> None:
        """Hands on what is new.

        A child that was started again may write epochs that were heard before: a searcher has
        learnt of them what they were first.
        """
        if not self._heard and time.monotonic() - self._touched_s > _TOUCH_EVERY_S:
            touch_folder(self._folder)  # or it may be known for long as one without the file
            self._touched_s = time.monotonic()
        lines = self._curves.read()
        self._curves.take()
        for line in lines:
            report = report_of(self._index, line)
            if report is not None and report.epoch > self._heard:
                self._heard = report.epoch
                self._hear(report)
