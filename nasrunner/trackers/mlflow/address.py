"""Where MLflow keeps its runs: checked before MLflow itself is imported, and before training."""

import hashlib
import http.client
import importlib.metadata
import os
import re
import shlex
import shutil
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.screen.commands import program
from nasrunner.core.screen.passwords import without_password
from nasrunner.trackers.mlflow.stores.database import SCHEMES, Database, check_password, scheme_of
from nasrunner.trackers.mlflow.stores.sqlite import TIMEOUT_S, SqliteFile, has_plain_name

_KEY = "tracker.tracking_uri"
_LEGAL = "sqlite:///outputs/mlflow.db, http://server:5000, postgresql://…, mysql://…"
_MAX_FOLDER = 200  # bytes; file systems take 255


class TrackingAddress:
    """A tracking URI that MLflow can work with; whether it answers may change.

    What no waiting mends is an error: a scheme, file, host or user that does not exist, a file
    that cannot be written. A server that is stopped, starting or overrun is ``outage``: a study
    starts without it, and is written when it is back.

    Args:
        uri: ``sqlite:///file``, another database, or a server's http(s) address.
        artifact_uri: where artifacts of a new experiment go; None: beside an SQLite file, or
            where the server keeps them.
        key: where the address stands, for error messages.

    Attributes:
        uri: the same with an absolute path, or a database's driver.
        database: the SQLite file; None for anything else.
        outage: why it does not answer for now; empty where it does.

    Raises:
        ConfigError: it cannot be written, or is nothing MLflow works with.
    """

    def __init__(self, uri: str, artifact_uri: str | None, key: str = _KEY) -> None:
        check_uri(uri, key)
        if not isinstance(artifact_uri, str | None):
            raise ConfigError(f"tracker.artifact_uri must be an address or null: {artifact_uri!r}")
        self._key = key
        self.scheme = scheme_of(uri)
        self.artifact_uri = artifact_uri
        self.uri = uri
        self.outage = ""
        self._file: SqliteFile | None = None
        self._server: Database | None = None
        if self.scheme == "sqlite":
            self._file = SqliteFile(uri, key)
            self.uri = self._file.uri
        elif self.scheme in ("http", "https"):
            self.uri = uri.rstrip("/")
            self.outage = self._check_server()
        elif self.scheme in SCHEMES:
            if artifact_uri is None:
                raise ConfigError(
                    f"tracker.artifact_uri: a {self.scheme} database needs one that all nodes "
                    "reach, a folder or s3://…, got null"
                )
            self._server = Database(uri, key)
            self.uri, self.outage = self._server.uri, self._server.outage

    @property
    def mlflow_uri(self) -> str:
        """What MLflow is given; of a file ``prepare`` has made the folder."""
        return self._file.mlflow_uri if self._file is not None else self.uri

    @property
    def database(self) -> Path | None:
        return self._file.path if self._file is not None else None

    def prepare(self) -> None:
        """Makes the folder of an SQLite file, and sees that a file that is there can be written."""
        if self._file is not None:
            self._file.prepare()

    def create(self, make_tables: Callable[[str], None]) -> None:
        """Has MLflow's tables made where they are not, in a place of ours, while others wait.

        Args:
            make_tables: is given a URI.
        """
        keeper = self._file or self._server
        if keeper is not None:
            keeper.create(make_tables)

    def artifacts_of(self, experiment: str) -> str | None:
        """Returns the folder for a new experiment's artifacts; None: the server decides."""
        folder = _folder_name(experiment)
        if self.artifact_uri is not None:
            return f"{self.artifact_uri.rstrip('/')}/{folder}"
        if self._file is not None:
            return (self._file.path.parent / "mlartifacts" / folder).as_uri()
        return None

    @property
    def shown(self) -> str:
        """The URI without the password that may be in it."""
        return without_password(self.uri)

    def ui_command(self, page: str) -> str:
        """Returns how a person opens a page of the MLflow UI; an empty one is the first."""
        if self.scheme in ("http", "https"):
            return f"{self.shown}{page}"
        uri, command, before = self.shown, program("mlflow"), ""
        if self._file is not None and not has_plain_name(self._file.path):
            before = f"cd {shlex.quote(str(self._file.path.parent))} && "
            uri = f"sqlite:///{self._file.path.name}"
            command = shutil.which("mlflow") or str(Path(sys.executable).with_name("mlflow"))
        shown = f"{before}{command} ui --backend-store-uri {shlex.quote(uri)}"
        return f"{shown}\nthen open http://127.0.0.1:5000{page}" if page else shown

    def _check_server(self) -> str:
        """Why it does not answer for now; empty where it does.

        Raises:
            ConfigError: nothing can answer there.
        """
        plain = re.sub(r"//[^/@]*@", "//", self.uri)  # a user is nothing urllib understands
        try:
            request = urllib.request.Request(f"{plain}/health")
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}" if error.code >= 500 else ""
        except (ValueError, http.client.InvalidURL) as error:
            raise ConfigError(f"{self._key}: {self.shown} is no address: {error}") from error
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", error)
            if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
                raise ConfigError(
                    f"{self._key}: {self.shown} is nowhere: {reason.strerror}. Legal: a host that "
                    "is known, sqlite:///outputs/mlflow.db, or tracker=none"
                ) from error
            if not isinstance(reason, ssl.SSLError):  # it answers; MLflow has settings for it
                return str(reason)
        return ""


def check_uri(uri: str, key: str) -> None:
    """Refuses what MLflow keeps no runs in, before anybody is asked.

    Raises:
        ConfigError: the address has no scheme, or one that MLflow does not know; begins with key.
    """
    if not isinstance(uri, str) or not uri.strip():
        raise ConfigError(f"{key} must be an address, got {uri!r}. Legal: {_LEGAL}")
    if "://" not in uri and re.fullmatch(r"[\w.\-]+:\d+(/.*)?", uri):
        raise ConfigError(f"{key}: {uri!r} has no scheme, did you mean http://{uri}?")
    scheme = scheme_of(uri)
    if scheme in ("", "file"):
        source = " (from MLFLOW_TRACKING_URI)" if uri == _from_environment() else ""
        raise ConfigError(
            f"{key}: MLflow no longer writes to a folder, got {uri!r}{source}. Legal: {_LEGAL}"
        )
    plugins = importlib.metadata.entry_points(group="mlflow.tracking_store")
    known = {"sqlite", "http", "https", "databricks", *SCHEMES, *(each.name for each in plugins)}
    if scheme not in known:
        raise ConfigError(
            f"{key}: MLflow keeps nothing in {scheme}://, got {without_password(uri)!r}; "
            f"{suggest(scheme, known)}"
        )
    if scheme != "sqlite":
        check_password(uri, key)
    if scheme in ("http", "https") and not urlsplit(uri).hostname:
        raise ConfigError(f"{key}: {without_password(uri)!r} names no host. Legal: {_LEGAL}")


def _folder_name(experiment: str) -> str:
    """A folder's name for an experiment's artifacts, whatever that is called."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in experiment)
    if name.strip(".") and len(name.encode()) <= _MAX_FOLDER:
        return name
    return f"{name[:40]}-{hashlib.sha256(experiment.encode()).hexdigest()[:8]}"


def _from_environment() -> str | None:
    return os.environ.get("MLFLOW_TRACKING_URI")
