"""A PostgreSQL server for the session: each process of pytest-xdist has its own."""

from collections.abc import Iterator

import pytest

from tests.services import missing
from tests.trackers import databases
from tests.trackers.databases import PASSWORD, Postgresql, postgresql_programs


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
