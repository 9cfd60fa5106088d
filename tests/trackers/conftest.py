"""What costs seconds to make, once for each process of pytest-xdist: databases, a server."""

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasrunner.trackers.mlflow.address import TrackingAddress
from nasrunner.trackers.mlflow.connection import Connection
from tests.services import missing
from tests.trackers import databases
from tests.trackers.databases import PASSWORD, Postgresql, postgresql_programs


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables and nothing in them."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        address = TrackingAddress(f"sqlite:///{file}", None)
        Connection(address, "Default", "nobody", {})
    return file


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    """A copy of that file: a second less than a new one."""
    return Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Postgresql]:
    programs = postgresql_programs()
    if programs is None:
        missing("postgresql", "PostgreSQL is not installed: apt-get install postgresql")
    with databases.postgresql(programs) as server:
        yield server


@pytest.fixture
def postgresql(postgresql_server: Postgresql, monkeypatch: pytest.MonkeyPatch) -> Postgresql:
    """The server, with its password in the environment."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgresql_server
