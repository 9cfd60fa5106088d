"""Where MLflow keeps its runs: checked before MLflow itself is imported, and before training."""

import contextlib
import http.client
import os
import re
import shlex
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from nasrunner.core.errors import ConfigError
from nasrunner.core.passwords import without_password
from nasrunner.trackers.mlflow_database import SCHEMES, Database, scheme_of
from nasrunner.trackers.mlflow_sqlite import TIMEOUT_S, SqliteFile

_KEY = "tracker.tracking_uri"


class Address:
    """A tracking URI that answers.

    Args:
        uri: ``sqlite:///file``, another database, or a server's http(s) address.
        artifact_uri: where artifacts of a new experiment go; None: beside an SQLite file, or
            where the server keeps them.

    Attributes:
        uri: the same with an absolute path, or a database's driver.
        database: the SQLite file; None for anything else.

    Raises:
        ConfigError: it does not answer, cannot be written, or is nothing MLflow works with.
    """

    def __init__(self, uri: str, artifact_uri: str | None) -> None:
        self.scheme = scheme_of(uri)
        self.artifact_uri = artifact_uri
        self.uri = uri
        self._file: SqliteFile | None = None
        self._server: Database | None = None
        if self.scheme in ("", "file"):
            source = " (from MLFLOW_TRACKING_URI)" if uri == _from_environment() else ""
            raise ConfigError(
                f"{_KEY}: MLflow no longer writes to a folder, got {uri!r}{source}. Legal: "
                "sqlite:///outputs/mlflow.db, http://server:5000, postgresql://…, mysql://…"
            )
        if self.scheme == "sqlite":
            self._file = SqliteFile(uri, _KEY)
            self.uri = self._file.uri
        elif self.scheme in ("http", "https"):
            self._check_server()
        elif self.scheme in SCHEMES:
            if artifact_uri is None:
                raise ConfigError(
                    f"tracker.artifact_uri: a {self.scheme} database needs one that all nodes "
                    "reach, a folder or s3://…, got null"
                )
            self._server = Database(uri, _KEY)
            self.uri = self._server.uri

    @property
    def database(self) -> Path | None:
        return self._file.path if self._file is not None else None

    def prepare(self) -> None:
        """Makes the folder of an SQLite file, and sees that a file that is there can be written."""
        if self._file is not None:
            self._file.prepare()

    def create(self, make_tables: Callable[[str], None]) -> None:
        """Has MLflow's tables made where they are not, in a place of ours. Call it ``alone``.

        Args:
            make_tables: is given a URI.
        """
        if self._file is not None:
            self._file.create(make_tables)
        elif self._server is not None:
            make_tables(self.uri)

    def alone(self) -> AbstractContextManager[None]:
        """Holds off other studies while MLflow makes its tables."""
        keeper = self._file or self._server
        return keeper.alone() if keeper is not None else contextlib.nullcontext()

    def artifacts_of(self, experiment: str) -> str | None:
        """The folder for a new experiment's artifacts; None: the server decides."""
        if self.artifact_uri is not None:
            return f"{self.artifact_uri.rstrip('/')}/{experiment}"
        if self._file is not None:
            return (self._file.path.parent / "mlartifacts" / experiment).as_uri()
        return None

    @property
    def shown(self) -> str:
        """The URI without the password that may be in it."""
        return without_password(self.uri)

    def ui_command(self, page: str) -> str:
        """How a person opens a page of the MLflow UI; an empty one is the first."""
        if self.scheme in ("http", "https"):
            return f"{self.shown.rstrip('/')}{page}"
        command = f"{_executable()} ui --backend-store-uri {shlex.quote(self.shown)}"
        return f"{command}\nthen open http://127.0.0.1:5000{page}" if page else command

    def _check_server(self) -> None:
        plain = re.sub(r"//[^/@]*@", "//", self.uri)  # a user is nothing urllib understands
        try:
            request = urllib.request.Request(f"{plain.rstrip('/')}/health")
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code >= 500:
                raise self._silent(f"HTTP {error.code}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            if not isinstance(reason, ssl.SSLError):  # it answers; MLflow has settings for it
                raise self._silent(str(reason)) from error

    def _silent(self, reason: str) -> ConfigError:
        return ConfigError(
            f"{_KEY}: {self.shown} does not answer: {reason}. Start the server, or choose "
            "tracker.tracking_uri=sqlite:///outputs/mlflow.db or tracker=none"
        )


def _from_environment() -> str | None:
    return os.environ.get("MLFLOW_TRACKING_URI")


def _executable() -> str:
    """MLflow's command as it can be typed here: by its name only where that is found."""
    if shutil.which("mlflow"):
        return "mlflow"
    beside = str(Path(sys.executable).parent / "mlflow")
    return shlex.quote(min(beside, os.path.relpath(beside), key=len))
