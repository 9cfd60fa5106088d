"""Where MLflow keeps its runs: checked in milliseconds, before MLflow itself is imported."""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import socket
import sqlite3
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from nasrunner.core.errors import ConfigError

_KEY = "tracker.tracking_uri"
_TIMEOUT_S = 8.0
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


class Address:
    """A tracking URI that answers.

    Args:
        uri: ``sqlite:///file``, another database, or a server's http(s) address.
        artifact_uri: where artifacts of a new experiment go; None: beside an SQLite file, or
            where the server keeps them.

    Attributes:
        uri: the same with an absolute path.
        database: the SQLite file; None for anything else.

    Raises:
        ConfigError: it does not answer, cannot be written, or is nothing MLflow works with.
    """

    def __init__(self, uri: str, artifact_uri: str | None) -> None:
        self.scheme = urlsplit(uri).scheme.partition("+")[0]
        self.database: Path | None = None
        self.artifact_uri = artifact_uri
        self.uri = uri
        if self.scheme in ("", "file"):
            raise ConfigError(
                f"{_KEY}: MLflow no longer writes to a folder, got {uri!r}. Legal: "
                "sqlite:///outputs/mlflow.db, http://server:5000, postgresql://…, mysql://…"
            )
        if self.scheme == "sqlite":
            self._check_sqlite()
        elif self.scheme in ("http", "https"):
            self._check_server()
        elif self.scheme in _PORTS:
            self._check_database()

    def prepare(self) -> None:
        """Makes the folder of an SQLite file, and sees that a file that is there can be written."""
        if self.database is None:
            return
        try:
            self.database.parent.mkdir(parents=True, exist_ok=True)
            if self.database.exists():
                self._use_wal(self.database)
        except (OSError, sqlite3.Error) as error:
            if "locked" not in str(error):  # busy is alive: the writer thread tries again
                raise self._unusable(str(error)) from error

    def create(self, make_tables: Callable[[str], None]) -> None:
        """Makes the SQLite file where there is none: whole, or not at all.

        A process that is killed in MLflow's migrations would leave a database that neither a
        study nor MLflow can open again. Call it ``alone``.

        Args:
            make_tables: is given the URI of a new file.
        """
        if self.database is None or self._has_tables():
            return
        folder = Path(f"{self.database}.unfinished")  # with SQLite's journals
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        unfinished = folder / self.database.name
        make_tables(f"sqlite:///{unfinished}")
        self._use_wal(unfinished)
        os.replace(unfinished, self.database)
        folder.rmdir()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Holds off other studies: MLflow's migrations of a fresh SQLite file must not collide."""
        if self.database is None:
            yield
            return
        lock = os.open(f"{self.database}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def artifacts_of(self, experiment: str) -> str | None:
        """The folder for a new experiment's artifacts; None: the server decides."""
        if self.artifact_uri is not None:
            return f"{self.artifact_uri.rstrip('/')}/{experiment}"
        if self.database is not None:
            return (self.database.parent / "mlartifacts" / experiment).as_uri()
        return None

    @property
    def shown(self) -> str:
        """The URI without the password that may be in it."""
        return without_password(self.uri)

    def ui_command(self, page: str) -> str:
        """How a person opens a page of the MLflow UI; an empty one is the first."""
        if self.scheme in ("http", "https"):
            return f"{self.shown.rstrip('/')}{page}"
        command = f"{_executable()} ui --backend-store-uri {shlex.quote(self.uri)}"
        return f"{command}\nthen open http://127.0.0.1:5000{page}" if page else command

    def _check_sqlite(self) -> None:
        path = self.uri.removeprefix("sqlite:///")
        if not path or path == self.uri or path.startswith(":memory:"):
            raise ConfigError(f"{_KEY}: sqlite:/// needs a file after it, got {self.uri!r}")
        self.database = Path(path).absolute()
        self.uri = f"sqlite:///{self.database}"
        if self.database.exists():
            self._check_database_file(self.database)
            return
        folder = next(parent for parent in self.database.parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise self._unusable(f"{folder} is no folder that can be written")

    def _check_database_file(self, path: Path) -> None:
        if not path.is_file() or not os.access(path, os.W_OK):
            raise self._unusable(f"{path} is no file that can be written")
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=_TIMEOUT_S)) as opened:
                opened.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.Error as error:
            if "locked" not in str(error):
                raise self._unusable(str(error)) from error

    def _has_tables(self) -> bool:
        assert self.database is not None
        if not self.database.exists():
            return False
        with contextlib.closing(sqlite3.connect(self.database, timeout=_TIMEOUT_S)) as opened:
            return bool(opened.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    @staticmethod
    def _use_wal(path: Path) -> None:
        """A mode where studies write while others read; fails where the file cannot be written."""
        with contextlib.closing(sqlite3.connect(path, timeout=_TIMEOUT_S)) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
            opened.execute("BEGIN IMMEDIATE")
            opened.rollback()

    def _unusable(self, reason: str) -> ConfigError:
        return ConfigError(f"{_KEY}: {self.shown} cannot be used: {reason}")

    def _check_server(self) -> None:
        request = urllib.request.Request(f"{self.uri.rstrip('/')}/health")
        try:
            urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code >= 500:
                raise self._silent(f"HTTP {error.code}") from error
        except (OSError, ValueError) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            if not isinstance(reason, ssl.SSLError):  # it answers; MLflow has settings for it
                raise self._silent(str(reason)) from error

    def _check_database(self) -> None:
        parts = urlsplit(self.uri)
        port = parts.port or _PORTS[self.scheme]
        if self.artifact_uri is None:
            raise ConfigError(f"tracker.artifact_uri: a {self.scheme} database needs one, got null")
        try:
            socket.create_connection((parts.hostname or "localhost", port), _TIMEOUT_S).close()
        except OSError as error:
            raise self._silent(str(error)) from error

    def _silent(self, reason: str) -> ConfigError:
        return ConfigError(
            f"{_KEY}: {self.shown} does not answer: {reason}. Start the server, or choose "
            "tracker.tracking_uri=sqlite:///outputs/mlflow.db or tracker=none"
        )


def without_password(uri: str) -> str:
    """A URI as it may be shown and written down."""
    return re.sub(r"//[^/@]*@", "//", uri)


def _executable() -> str:
    """MLflow's command as it can be typed here: by its name only where that is found."""
    if shutil.which("mlflow"):
        return "mlflow"
    beside = str(Path(sys.executable).parent / "mlflow")
    return shlex.quote(min(beside, os.path.relpath(beside), key=len))
