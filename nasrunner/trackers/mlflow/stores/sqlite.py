"""MLflow's runs in an SQLite file: checked and made by hand, before MLflow opens it."""

import contextlib
import functools
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock

from nasrunner.core.errors import ConfigError
from nasrunner.trackers.mlflow.stores.file_systems import MOUNTS, network_file_system

TIMEOUT_S = 8.0


class SqliteFile:
    """An SQLite file that can be written, or made.

    On a network file system SQLite's faster mode, a write-ahead log, is not possible: readers and
    writers share memory through a file beside the database, which two machines cannot
    (https://www.sqlite.org/wal.html). Its older mode needs no more than locks, which network file
    systems give to some degree: enough for the studies of one machine, such as a login node, and
    a home on NFS. In a SLURM job the same file is written by other nodes, too, or will be with the
    next job. A lock that one of them does not see there damages the file for all, so a job is
    refused, be it the only one.

    Args:
        uri: ``sqlite:///file``.

    Attributes:
        path: the file, absolute.
        has_wal: whether it has a write-ahead log.

    Raises:
        ConfigError: it cannot be used; the message begins with ``key``.
    """

    def __init__(self, uri: str, key: str) -> None:
        self._key = key
        self.path = path_of(uri, key)
        self._check_letters()
        self.has_wal = network_file_system(self.path.parent, MOUNTS) is None
        if "SLURM_JOB_ID" in os.environ:
            self.check_jobs()
        if self.path.exists():
            self._check()
            return
        folder = next(parent for parent in self.path.parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise self.unusable(f"{folder} is no folder that can be written")

    @property
    def uri(self) -> str:
        """With an absolute path."""
        return f"sqlite:///{str(self.path).replace('%', '%25').replace('?', '%3F')}"

    @property
    def mlflow_uri(self) -> str:
        """What MLflow is given in this process; the folder must be there."""
        return f"sqlite:///{self._folder / self.path.name}"

    @functools.cached_property
    def _folder(self) -> Path:
        return as_mlflow_reads_it(self.path.parent)

    def check_jobs(self) -> None:
        """Sees that jobs on several nodes may write it.

        Raises:
            ConfigError: it lies on a network file system.
        """
        if network := network_file_system(self.path.parent, MOUNTS):
            raise ConfigError(
                f"{self._key}: {self.uri} lies on a network file system ({network}), where "
                "SQLite's locks do not hold between the nodes that write it, and a SLURM job is "
                "to write it. Legal: an MLflow server's http address, postgresql://…, a file on a "
                "disk of the node, or tracker=none"
            )

    def prepare(self) -> None:
        """Makes its folder, and sees that a file that is there can be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                self._use_journal(self.path)
        except (OSError, sqlite3.Error) as error:
            if not _is_passing(error):  # the writer thread tries again
                raise self.unusable(str(error)) from error

    def create(self, make_tables: Callable[[str], None]) -> None:
        """Makes the file where there is none: whole, or not at all.

        A process that is killed in MLflow's migrations would leave a database that neither a
        study nor MLflow can open again.

        Args:
            make_tables: is given the URI of a new file.
        """
        if not self._has_tables():
            lock = Path(f"{self.path}.lock")
            with FileLock(lock):  # migrations of several studies must not collide
                self._create(make_tables)
                lock.unlink(missing_ok=True)  # who waits for it finds tables

    def _create(self, make_tables: Callable[[str], None]) -> None:
        if self._has_tables():  # another study was faster
            return
        folder = Path(f"{self.path}.unfinished")  # with SQLite's journals
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        unfinished = folder / self.path.name
        make_tables(f"sqlite:///{self._folder / folder.name / self.path.name}")
        self._use_journal(unfinished)
        os.replace(unfinished, self.path)
        folder.rmdir()

    def unusable(self, reason: str) -> ConfigError:
        """Returns the error that says why."""
        return ConfigError(f"{self._key}: {self.uri} cannot be used: {reason}")

    def _check(self) -> None:
        if not self.path.is_file() or not os.access(self.path, os.W_OK):
            raise self.unusable(f"{self.path} is no file that can be written")
        try:
            with contextlib.closing(sqlite3.connect(self.path, timeout=TIMEOUT_S)) as opened:
                opened.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.Error as error:
            if not _is_passing(error):
                raise self.unusable(str(error)) from error

    def _check_letters(self) -> None:
        """Refuses a path that MLflow, which writes names in UTF-8, would take for another one."""
        if not _is_utf8(self.path):
            locale = sys.getfilesystemencoding()
            raise self.unusable(
                f"MLflow reads the names of its folders as UTF-8, and this locale ({locale}) does "
                "not; legal: PYTHONUTF8=1 in the environment, or a path of the letters a to z"
            )

    def _has_tables(self) -> bool:
        if not self.path.exists():
            return False
        with contextlib.closing(sqlite3.connect(self.path, timeout=TIMEOUT_S)) as opened:
            return bool(opened.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def _use_journal(self, path: Path) -> None:
        """A mode where studies write while others read; fails where the file cannot be written."""
        with contextlib.closing(sqlite3.connect(path, timeout=TIMEOUT_S)) as opened:
            opened.execute(f"PRAGMA journal_mode = {'WAL' if self.has_wal else 'DELETE'}")
            opened.execute("BEGIN IMMEDIATE")
            opened.rollback()


def path_of(uri: str, key: str) -> Path:
    """Returns the file that an address names, absolute.

    As in any URI, %20 is a blank and %25 a percent sign. That goes for what is written in it: the
    current folder, in which a relative address begins, may have any name.

    Raises:
        ConfigError: it names none, or one that can be misunderstood; begins with ``key``.
    """
    name, question, settings = uri.removeprefix("sqlite:///").partition("?")
    if not name or not uri.startswith("sqlite:///") or name.startswith(":memory:"):
        raise ConfigError(f"{key}: sqlite:/// needs a file after it, got {uri!r}")
    if question:
        raise ConfigError(
            f"{key}: sqlite:///{name} takes no settings, got '?{settings}'; MLflow waits 20 s for "
            "a file that is busy, and a ? in a file's name is written %3F"
        )
    path = Path(unquote(name)).expanduser().absolute()
    literal = Path(name).expanduser().absolute()
    if literal.parent.exists() and not path.parent.exists():
        raise ConfigError(
            f"{key}: {uri!r} names the folder {str(path.parent)!r}, which does not exist; a % in "
            f"the name of a folder or file is written %25"
        )
    if not has_plain_name(Path(path.name)):
        raise ConfigError(f"{key}: a file's name must be without % and ?, got {path.name!r}")
    return path


def as_mlflow_reads_it(folder: Path) -> Path:
    """Returns another name of a folder, which stands in an address as it is.

    SQLAlchemy 2.0 takes an address's ``%3F`` as it stands, 2.1 decodes it, and MLflow makes the
    folder that it does not decode. So a folder with such a name is opened, for as long as this
    process lives, and ``/proc/self/fd/<number>`` is a link to it.
    """
    if has_plain_name(folder):
        return folder
    place = Path("/proc/self/fd") / str(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    if not place.is_dir():
        raise ConfigError(f"{folder}: on this system a folder with MLflow's file has no % and no ?")
    return place


def has_plain_name(path: Path) -> bool:
    """Tells whether everybody who reads an address with this path in it reads it alike."""
    return not {"%", "?"} & set(str(path))


def _is_utf8(path: Path) -> bool:
    try:
        return os.fsencode(path) == str(path).encode("utf-8")
    except UnicodeEncodeError:  # bytes that are no letters
        return False


def _is_passing(error: Exception) -> bool:
    """Whether a file that is busy, or a disk that is full, is all that is wrong."""
    return "locked" in str(error) or "full" in str(error) or "No space left" in str(error)
