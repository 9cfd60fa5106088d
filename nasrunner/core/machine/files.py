"""Writes files that are there as a whole or not at all, and that outlast a power cut."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def unfinished(path: Path) -> Path:
    """Returns where a file is written before it takes its place, so that a reader finds all of
    it.
    """
    return path.with_name(f"{path.name}.unfinished")


def replace_file(path: Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Writes a file so that a reader finds all of it, or what was there before.

    It is on disk before it takes its place. That it stands there may be lost with the power, until
    its folder is synced.

    Args:
        path: the file.
        content: what it holds, or what writes that to the file it is given.
    """
    with unfinished(path).open("wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(_encoded(content) if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    unfinished(path).replace(path)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a path as a locale without UTF-8 reads it


def keep_file(path: Path, content: str) -> None:
    """Writes a file whole, and waits until neither it nor its place is lost with the power."""
    replace_file(path, content)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file's content, or what stands in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # its file system syncs no folders
            raise
    finally:
        os.close(descriptor)


def sync_way_to(folder: Path) -> None:
    """Waits until a folder is found after a power cut, be those above it as new as it is."""
    sync(folder)
    for each in folder.resolve().parents:
        with contextlib.suppress(OSError):  # not this user's, or never written: not new either
            sync(each)
