"""Children one after another in the calling process: for debuggers, and for very short children."""

from collections import deque
from pathlib import Path
from typing import Annotated

from nasrunner.core import Outcome, Proposal, Train
from nasrunner.core.annotations import Within
from nasrunner.core.machine.forks import outlives_exits
from nasrunner.core.machine.threads import torch_threads
from nasrunner.executors.running import run_child


class SerialExecutor:
    """One slot, no process of its own: ``wait`` trains the child that was submitted first.

    Args:
        threads: CPU threads torch uses while a child trains, 1 to 1,024.
    """

    is_remote = False
    is_on_this_machine = True

    def __init__(self, threads: Annotated[int, Within("[1, 1024]")]) -> None:
        self._threads = threads
        self._queue: deque[tuple[Train, Proposal]] = deque()

    def free_slots(self) -> int:
        return 0 if self._queue else 1

    def submit(self, train: Train, proposal: Proposal, folder: Path) -> None:
        self._queue.append((train, proposal))

    def wait(self) -> list[Outcome]:
        assert self._queue, "wait() before submit(): nothing could ever end"
        train, proposal = self._queue.popleft()
        with torch_threads(self._threads), outlives_exits():
            return [run_child(train, proposal)]

    def close(self) -> None:
        self._queue.clear()
