"""The ledger: the truth of a study, one JSON event a line, appended and never changed."""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nasrunner.core.errors import LedgerError, MachineError
from nasrunner.core.ledger.checks import EventOrder
from nasrunner.core.machine.files import sync_way_to

VERSION = 1


class Ledger:
    """An append-only file of events that survives the death of its writer.

    Every event is handed to the system before ``append`` returns, and those that must last are on
    disk by then. The file is locked, so that a study is never driven by two processes at once.

    Attributes:
        events: what the file held when it was opened, in order.
        repaired_bytes: length of a last line that was cut off by a crash, and is removed; else 0.

    Raises:
        LedgerError: another process holds the ledger, a line in the middle is damaged, or children
            lie beside a ledger without an event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        is_new = not path.exists()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._fd)
            raise LedgerError(f"{path} is in use: its study is still running") from error
        try:
            self.events, self._end = read_events(path)
            if not self.events:
                check_begins(path, is_new=is_new)
            self.repaired_bytes = os.fstat(self._fd).st_size - self._end
            self._cut()
            if is_new:
                sync_way_to(path.parent)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, event: str, record: Mapping[str, Any], *, must_last: bool = True) -> None:
        """Writes one event and waits until it is on disk.

        Args:
            event: its kind.
            record: what belongs to it.
            must_last: False for what a study would do again in the same way: it survives the
                death of this process at once, but that of the machine only with the next event
                that must last.

        Raises:
            MachineError: it cannot be written (a full disk); the file ends with the event before.
        """
        now = {"time": round(time.time(), 3), "monotonic_s": round(time.monotonic(), 3)}
        line = json.dumps({"event": event, **now, **record}) + "\n"
        data = line.encode()
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
            if must_last:
                os.fsync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):  # the next start removes what is not whole
                self._cut()
            raise MachineError(
                f"{self.path} cannot be written: {os.strerror(error.errno or errno.EIO)}. "
                "What it holds is safe"
            ) from error
        self._end += len(data)

    @property
    def num_bytes(self) -> int:
        """How long the file is, down to its last whole event."""
        return self._end

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _cut(self) -> None:
        """Removes what follows the last whole event."""
        os.ftruncate(self._fd, self._end)
        os.lseek(self._fd, self._end, os.SEEK_SET)


def read_events(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Returns the whole events of a ledger, and the number of bytes they take.

    Raises:
        LedgerError: a line in the middle is damaged, or one does not follow from those before.
    """
    events: list[dict[str, Any]] = []
    order = EventOrder()
    end = 0
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError("the line is not complete")
            event = json.loads(line.decode())
            if not isinstance(event, dict) or "event" not in event:
                raise ValueError("it is no event")
        except ValueError as error:
            if number < len(lines):
                raise _damaged(path, number, len(lines), error) from error
            break
        try:
            order.check(event)
        except ValueError as error:
            raise _damaged(path, number, len(lines), error) from error
        events.append(event)
        end += len(line)
    return events, end


def check_begins(path: Path, *, is_new: bool = False) -> None:
    """Refuses children beside a ledger without an event: a study would train over them.

    Args:
        path: the ledger.
        is_new: it was made just now.

    Raises:
        LedgerError: there are children.
    """
    children = path.parent / "children"
    if children.is_dir() and (count := len(list(children.iterdir()))):
        if is_new:
            path.unlink()
        raise LedgerError(
            f"{path} is {'gone' if is_new else 'empty'}, but the folders of {count} children lie "
            "beside it. Put back a copy of the file (trackers may keep one with the study), or "
            f"move {children} away to begin anew"
        )


def _damaged(path: Path, number: int, num_lines: int, error: ValueError) -> LedgerError:
    """Says where a ledger is damaged, and what can be done."""
    keep = f", or keep its first {number - 1}: what came after is done again" if number > 1 else ""
    return LedgerError(
        f"{path} is damaged in line {number} of {num_lines}: {error}. Put back a copy of the file "
        f"(trackers may keep one with the study){keep}"
    )
