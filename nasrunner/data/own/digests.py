"""Digests of own files, by which a study knows that they are those it began with."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest_of_contents(paths: Iterable[Path]) -> str:
    """Returns the SHA-256 of a file, or of those of several; reads each once unless it changes.

    Raises:
        OSError: a file is missing or cannot be read.
    """
    found = [_sha256(path, *_stamp(path)) for path in paths]
    return found[0] if len(found) == 1 else _sha256_of_text("\n".join(found))


def digest_of_listing(folder: Path, paths: Iterable[Path]) -> str:
    """Returns a SHA-256 of where files lie in a folder and of their sizes; opens none of them."""
    lines = (f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in paths)
    return _sha256_of_text("\n".join(lines))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
