"""The temporary things of a driver, and what drivers that were killed have left of theirs."""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from multiprocessing import process
from pathlib import Path

_PREFIX = "nasrunner-workers-"
_LOCK = "lock"
_SHARED_MEMORY = Path("/dev/shm")
_LONGEST_SOCKET = 107 - len("/listener-12345678")
"""What the system allows for a socket's path, less multiprocessing's name for one."""


class Scratch:
    """A temporary folder that is removed when it is closed, or by the next driver's start.

    multiprocessing's sockets go into it, and its semaphores are named after it, so that those of a
    killed driver are known. It is locked while its driver lives.
    """

    def __init__(self) -> None:
        remove_leftovers()
        self.folder = Path(tempfile.gettempdir(), f"{_PREFIX}{secrets.token_hex(4)}")
        self.folder.mkdir(mode=0o700)
        self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._config = process.current_process()._config  # type: ignore[attr-defined]
        self._before = dict(self._config)
        self._config["semprefix"] = f"/{self.folder.name}"
        if len(str(self.folder)) <= _LONGEST_SOCKET:
            self._config.setdefault("tempdir", str(self.folder))

    def close(self) -> None:
        """Removes the folder. Safe to call twice."""
        if self._lock < 0:
            return
        self._config.clear()
        self._config.update(self._before)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def remove_leftovers() -> None:
    """Removes what this user's killed drivers have left: their folders and semaphores."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, one that is just made, or gone meanwhile
            if folder.lstat().st_uid == os.getuid() and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
                for semaphore in _SHARED_MEMORY.glob(f"sem.{folder.name}-*"):
                    semaphore.unlink()


def _is_abandoned(folder: Path) -> bool:
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
