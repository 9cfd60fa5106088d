"""File systems that are full."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[Path]:
    """Mounts a file system with room for one file, which is taken, in a folder."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    folder.mkdir(exist_ok=True)
    size = ["-o", "size=4k,nr_inodes=2"]
    subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", folder], check=True)
    try:
        (folder / "taken").write_bytes(bytes(4096))
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
