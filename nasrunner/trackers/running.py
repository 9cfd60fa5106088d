"""How far the children that run have come, for people who watch a study."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from nasrunner.core.machine.child_folder import ChildFolder, GrowingCurves
from nasrunner.core.records import Proposal
from nasrunner.trackers.wording import clock, noun

MOST = 8
"""Children that are shown; a cluster has many more."""

_AFTER_S = 3.0
"""Seconds after which a child is shown: who looks at a shorter one sees its outcome."""

_PAUSE_S = 1.0
"""Seconds between two looks at the files, which may lie on a network's file system."""

_MOST_WAITING = 32
"""Children without an epoch that are looked for at a time, in turns: a cluster's wait for hours."""


class _RunningChild:
    """A child, when it began, and the last epoch that it has ended."""

    def __init__(self, proposal: Proposal, folder: Path) -> None:
        self.proposal = proposal
        self.began_s = time.monotonic()
        self.last: Mapping[str, Any] = {}
        self._curves = GrowingCurves(ChildFolder.of(folder, proposal.index))

    def look(self) -> None:
        """Reads what it has written since the last look."""
        if added := self._curves.read():
            self.last = added[-1]
            self._curves.take()


class RunningChildren:
    """Reads the learning curves of running children, of which the last epoch is told."""

    def __init__(self) -> None:
        self._folder = Path()
        self._metric = ""
        self._most_epochs: int | None = None
        self._children: dict[int, _RunningChild] = {}
        self._looked_s = 0.0
        self._looked_for = -1  # the child without an epoch that had the last turn

    def open(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Takes note of the study whose children start from now on.

        Args:
            folder: its folder.
            config: its configuration.
        """
        self._folder = folder
        self._metric = str(config.get("task", {}).get("reward", {}).get("metric"))
        self._most_epochs = config.get("trainer", {}).get("max_epochs")

    def __len__(self) -> int:
        return len(self._children)

    def start(self, proposal: Proposal) -> None:
        """Takes note of a child that is trained from now on, or waits for a worker."""
        self._children[proposal.index] = _RunningChild(proposal, self._folder)

    def end(self, index: int) -> None:
        """Forgets a child that has ended."""
        self._children.pop(index, None)

    def lines(self) -> list[Text]:
        """Returns a line for each child that has ended an epoch, the first to be sent off first.

        Those that wait for a worker, or are in their first epoch, are counted below.
        """
        now = time.monotonic()
        # In another thread children start and end meanwhile.
        long = [each for each in list(self._children.values()) if now - each.began_s >= _AFTER_S]
        if now - self._looked_s >= _PAUSE_S:
            self._looked_s = now
            self._look(long)
        training = [each for each in long if each.last]
        found = [self._line(each, now) for each in training[:MOST]]
        more = [f"{len(training) - MOST:,} more"] if len(training) > MOST else []
        if waiting := len(long) - len(training):
            more.append(f"{waiting:,} waiting or in the first epoch")
        if found and more:
            found.append(Text(f"and {', '.join(more)}", style="dim"))
        return found

    def _look(self, children: Sequence[_RunningChild]) -> None:
        """Looks at those that are shown, and at some of the others whether one has begun."""
        for each in [each for each in children if each.last][:MOST]:
            each.look()
        others = [each for each in children if not each.last]
        turn = sorted(others, key=lambda each: each.proposal.index <= self._looked_for)
        for each in turn[:_MOST_WAITING]:
            each.look()
            self._looked_for = each.proposal.index

    def _line(self, child: _RunningChild, now: float) -> Text:
        """``child 12   epoch 3 of 10   val_accuracy 0.9123   1:05``."""
        proposal, most = child.proposal, child.proposal.until or self._most_epochs
        is_usual = proposal.kind == "train" and not proposal.fidelity
        of = f" of {most}" if is_usual and most else ""
        told = [f"{noun(proposal)} {proposal.index}", f"epoch {int(child.last['epoch']) + 1}{of}"]
        value = child.last.get(self._metric)
        told += [f"{self._metric} {value:.4g}"] if isinstance(value, int | float) else []
        return Text("   ".join([*told, clock(now - child.began_s)]), style="dim")
