"""Daemons in the foreground of their own sessions: started, found again, and ended by pid."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

_END_TIMEOUT_S = 5.0


class Daemons:
    """The daemons of one cluster, each with a file that holds its pid.

    Another process that knows the folder can end what this one started.

    Args:
        folder: holds ``pids/<name>`` and ``log/<name>.out``.
        environment: of the daemons.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self._own: dict[str, subprocess.Popen[bytes]] = {}  # dropping one would warn

    def start(self, name: str, command: Sequence[str]) -> None:
        """Starts a daemon; what it prints goes to its log."""
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
                cwd=self.folder,  # slurmstepd dumps core there where it meets a full disk
                start_new_session=True,
            )
        self._own[name] = process
        self._file(name).write_text(str(process.pid))

    def names(self) -> list[str]:
        """Those that were started and not ended."""
        return sorted(path.name for path in (self.folder / "pids").iterdir())

    def pid(self, name: str) -> int:
        return int(self._file(name).read_text())

    def end(self, name: str) -> None:
        """Asks a daemon to end, and kills it after five seconds."""
        if not self._file(name).exists():
            return
        pid = self.pid(name)
        send(pid, signal.SIGTERM)
        if not happens(lambda: not is_alive(pid), _END_TIMEOUT_S):
            send(pid, signal.SIGKILL)
        self._forget(name)

    def kill(self, name: str) -> None:
        """Kills a daemon without a word."""
        pid = self.pid(name)
        send(pid, signal.SIGKILL)
        happens(lambda: not is_alive(pid), _END_TIMEOUT_S)
        self._forget(name)

    def log(self, name: str, lines: int = 8) -> str:
        """The end of what a daemon printed."""
        text = (self.folder / "log" / f"{name}.out").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _file(self, name: str) -> Path:
        return self.folder / "pids" / name

    def _forget(self, name: str) -> None:
        self._file(name).unlink()
        if process := self._own.pop(name, None):
            process.wait()  # or it would stay a zombie


def happens(condition: Callable[[], bool], within_s: float) -> bool:
    """Whether a condition comes true within a time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which still takes signals, does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def pids() -> Iterator[int]:
    """All processes of this machine."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            yield int(path.name)


def has_open(pid: int, path: Path) -> bool:
    """Whether a process holds a file open."""
    try:
        return any(os.readlink(each) == str(path) for each in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with; empty where it cannot be read."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def name_of(pid: int) -> str:
    """The name of a process's program."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
