"""A small study of its own process, for what happens to it and its workers on signals.

``python -m tests.executors.driver <folder>``: three children on two workers, each of which runs
until ``<folder>/go`` exists. The first Ctrl-C is taken as a study takes it; the second raises.
Prints the outcomes, and how long closing took.
"""

import contextlib
import signal
import sys
import time
from pathlib import Path

from nasrunner.core import Proposal
from nasrunner.executors.local import LocalExecutor
from tests.executors.trains import Barrier, submit


def main(folder: Path) -> None:
    def on_first(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        (folder / "interrupted").touch()

    signal.signal(signal.SIGINT, on_first)
    executor = LocalExecutor(2, 1, None, 0, [], None, 1, preload=[])
    with contextlib.suppress(KeyboardInterrupt):
        for index in range(3):
            submit(executor, Barrier(folder), Proposal(index, {}), folder)
        for _ in range(3):
            for outcome in executor.wait():
                sys.stdout.write(f"{outcome.proposal.index} {outcome.status} {outcome.error}\n")
            if executor.free_slots() == 2:
                break
    start_s = time.perf_counter()
    executor.close()
    sys.stdout.write(f"closed {time.perf_counter() - start_s:.3f}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
