"""A disk that loses with the power what nobody has synced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock


@dataclass
class Disk:
    """What of a folder would be there after a power cut.

    The strictest that POSIX allows: a file holds what it held when it was last synced, and a name
    leads to what it led to when its folder was. Sees what this process does, and no other.

    Attributes:
        root: the folder, which is there in any case.
    """

    root: Path
    _contents: dict[int, bytes] = field(default_factory=dict)
    """By inode."""
    _listings: dict[int, dict[str, tuple[int, bool]]] = field(default_factory=dict)
    """By a folder's inode: name -> (inode, whether it is a folder)."""

    def synced(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        inode = os.fstat(descriptor).st_ino
        if path.is_dir():
            entries = [(each.name, each.inode(), each.is_dir()) for each in os.scandir(path)]
            self._listings[inode] = {name: (number, is_dir) for name, number, is_dir in entries}
        else:
            self._contents[inode] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def left(self) -> dict[str, bytes]:
        """The files that a power cut now would leave, by their paths below the root."""
        return dict(self._below(self.root.stat().st_ino, ""))

    def _below(self, folder: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        for name, (inode, is_folder) in self._listings.get(folder, {}).items():
            if is_folder:
                yield from self._below(inode, f"{prefix}{name}/")
            else:
                yield f"{prefix}{name}", self._contents.get(inode, b"")


@contextmanager
def watched(root: Path) -> Iterator[Disk]:
    """Watches what is synced below a folder."""
    disk = Disk(root)
    fsync = os.fsync

    def watching(descriptor: int) -> None:
        fsync(descriptor)
        disk.synced(descriptor)

    with mock.patch.object(os, "fsync", watching):
        yield disk


def restore(files: dict[str, bytes], root: Path) -> None:
    """Writes what a power cut has left into another folder."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
