"""The memory of this machine, and what a network takes of it at the very least."""

import contextlib
import os
import resource
from pathlib import Path

_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # version 1
    Path("/sys/fs/cgroup/memory.max"),  # version 2
    Path("/sys/fs/cgroup/memory.high"),
)

_BYTES = 4
"""Of a number in single precision."""


def memory_gb() -> float:
    """Returns the memory that processes here may use, in 10^9 bytes: cgroup and resource limits
    respected.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(path.read_text(encoding="ascii")))
    limits.append(resource.getrlimit(resource.RLIMIT_RSS)[1])
    return min(limit for limit in limits if limit > 0) / 1e9


def least_memory_gb(parameters: int, remembered: int = 0) -> float:
    """Returns what the training of a network with so many parameters takes at least, in 10^9 bytes.

    Each has its value and its gradient; activations come on top.

    Args:
        parameters: of the network.
        remembered: numbers that the optimizer remembers of each of them.
    """
    return parameters * (2 + remembered) * _BYTES / 1e9
