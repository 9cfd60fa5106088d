"""Ports for a cluster that nobody else takes, not even another test session at the same time."""

import fcntl
import socket
import tempfile
from pathlib import Path
from typing import TextIO

_LOWEST, _HIGHEST, _EACH = 25_000, 32_600, 40
"""Above Lightning's 15000-24999, below the ports that Linux gives to outgoing connections."""

_held: list[TextIO] = []


def reserve_ports() -> int:
    """The first of 40 free ports in a row, this process's own until it ends."""
    for first in range(_LOWEST, _HIGHEST, _EACH):
        lock = (Path(tempfile.gettempdir()) / f"slurm-ports-{first}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        if all(_is_free(port) for port in range(first, first + _EACH)):
            _held.append(lock)  # closing it would give it back
            return first
        lock.close()
    raise RuntimeError(f"no {_EACH} free ports in a row from {_LOWEST} to {_HIGHEST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
