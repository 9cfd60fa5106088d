"""Files of data sets: found, read and checked, with errors that say how to get a whole one."""

import functools
import gzip
import hashlib
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nasrunner.core.errors import DataError


@dataclass(frozen=True)
class DataFile(ABC):
    """One standard file of a data set, plain or packed with gzip as ``<path>.gz``.

    Attributes:
        path: where it is expected, without ``.gz``.
        md5: the checksum of the original file, unpacked.
        source: where people get it.
    """

    path: Path
    md5: str
    source: str

    must_match: ClassVar[bool] = True
    """Whether a file of the right form but another checksum is refused."""

    @abstractmethod
    def parse(self, content: bytes) -> Any:
        """Returns what the unpacked file holds.

        Raises:
            ValueError: the content is cut off or not of the file's form; says in what.
        """

    def load(self) -> Any:
        """Reads and parses the file; its checksum is left to ``verify``.

        Raises:
            DataError: it is missing, damaged or of another form.
        """
        return self._parsed(self._read())

    def verify(self) -> str:
        """Checks that the file is whole, once a process unless it changes, and returns its md5.

        Raises:
            DataError: it is missing, damaged or of another form, or it must match its checksum
                and does not.
        """
        status = self._present().stat()
        return _verify(self, status.st_size, status.st_mtime_ns)

    def error(self, what: str) -> DataError:
        """Returns an error about this file that says how to get a whole one."""
        return DataError(f"{self.path} {what}. Expected md5: {self.md5}. Get it from {self.source}")

    def _present(self) -> Path:
        packed = self.path.with_name(self.path.name + ".gz")
        for path in (self.path, packed):
            if path.is_file():
                return path
        raise self.error("is missing")

    def _read(self) -> bytes:
        path = self._present()
        try:
            return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self.error(f"is damaged: {path.name}: {error}") from error
        except OSError as error:
            raise self.error(f"cannot be read: {error}") from error

    def _parsed(self, content: bytes) -> Any:
        try:
            return self.parse(content)
        except ValueError as error:
            raise self.error(f"is damaged: {error}") from error


def check_files(files: Sequence[DataFile]) -> None:
    """Verifies the files of a data set, and warns of those that only have the right form.

    Raises:
        DataError: as of ``DataFile.verify``.
    """
    changed = [file.path for file in files if file.verify() != file.md5]
    if changed:
        warnings.warn(
            f"data: the checksum of {', '.join(map(str, changed))} is not the original's; "
            "form and size are right, so it is used",
            stacklevel=3,
        )


@functools.cache
def _verify(file: DataFile, size: int, modified_ns: int) -> str:
    content = file._read()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != file.md5:
        file._parsed(content)  # says what is wrong, where its form already shows it
        if file.must_match:
            raise file.error(f"has another checksum, md5 {md5}")
    return md5
