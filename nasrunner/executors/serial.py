"""Children one after another in the calling process: for debuggers, and for very short children."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from nasrunner.core import Hear, Outcome, Proposal, Train
from nasrunner.core.annotations import Within
from nasrunner.core.machine.forks import outlives_exits
from nasrunner.core.machine.threads import torch_threads
from nasrunner.executors.running import run_children


class SerialExecutor:
    """One slot, no process of its own: ``wait`` trains what was submitted first.

    Args:
        threads: CPU threads torch uses while a child trains, 1 to 1,024.
    """

    is_remote = False
    is_on_this_machine = True
    is_simulated = False

    def __init__(self, threads: Annotated[int, Within("[1, 1024]")]) -> None:
        self._threads = threads
        self._queue: deque[tuple[int, Iterator[Outcome]]] = deque()  # and how many are to come

    def free_slots(self) -> int:
        return 0 if self._queue else 1

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        self._queue.append((len(proposals), run_children(train, proposals, hear)))

    def wait(self) -> list[Outcome]:
        """Trains until a child has ended; ``hear`` is called between its epochs."""
        assert self._queue, "wait() before submit(): nothing could ever end"
        num_left, outcomes = self._queue.popleft()
        with torch_threads(self._threads), outlives_exits():
            outcome = next(outcomes)
        if num_left > 1:
            self._queue.appendleft((num_left - 1, outcomes))
        return [outcome]

    def close(self) -> None:
        self._queue.clear()
