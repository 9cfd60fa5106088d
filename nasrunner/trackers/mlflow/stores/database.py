"""MLflow's runs in a database server, without an MLflow server before it: PostgreSQL above all."""

import contextlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from nasrunner.core.errors import ConfigError
from nasrunner.core.screen.passwords import without_password

SCHEMES = ("postgresql", "mysql", "mssql")
_TIMEOUT_S = 8
_LOCK = "nasrunner"
# What drivers say of a server that is stopped, starting, cut off or overrun: they have no class for
# it. One that has a name nobody knows, or says no, is not waited for.
_AWAY = re.compile(
    "refused|timed out|timeout expired|starting up|shutting down|recovery mode|too many|"
    "unreachable|No route to host|reset by peer|closed the connection|gone away|"
    "Temporary failure in name resolution|try again",
    re.IGNORECASE,
)


class Database:
    """A database that answers, and in which MLflow's tables are or can be made.

    Args:
        uri: in SQLAlchemy's form. A password is better kept in ``~/.pgpass`` or ``PGPASSWORD``,
            which PostgreSQL's client library reads, than in it.
        key: the configuration key it stands under.

    Attributes:
        uri: the same; of PostgreSQL's drivers the one that is installed.
        outage: why it does not answer for now; empty where it does.

    Raises:
        ConfigError: it has no driver, refuses, or is nowhere.
    """

    def __init__(self, uri: str, key: str) -> None:
        self.uri = with_driver(uri, key)
        self._scheme = scheme_of(uri)
        self.outage = ""
        try:
            self._engine = self._make_engine()
            with self._engine.connect() as connection:
                self._check_rights(connection, key)
        except ConfigError:
            raise
        except ImportError as error:
            raise ConfigError(
                f"{key}: {self.shown} needs a driver: {error}. With it installed, name it: "
                f"{self._scheme}+driver://…"
            ) from error
        except Exception as error:  # SQLAlchemy's, and whatever a driver raises
            if _AWAY.search(str(error)):
                self.outage = self._told(error)
                return
            raise ConfigError(f"{key}: {self.shown} cannot be used: {self._told(error)}") from error

    @property
    def shown(self) -> str:
        """The URI without the password that may be in it."""
        return without_password(self.uri)

    def create(self, make_tables: Callable[[str], None]) -> None:
        """Has MLflow's tables made where they are not.

        Args:
            make_tables: is given the URI.
        """
        with self._alone():
            make_tables(self.uri)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds off other studies: MLflow's migrations of a fresh database must not collide.

        The lock belongs to a connection and goes with it, also where this process is killed.
        Of other databases than PostgreSQL and MySQL two studies must not be the first at once.
        """
        from sqlalchemy import text

        take = {
            "postgresql": "SELECT pg_advisory_lock(hashtext(:name))",
            "mysql": "SELECT GET_LOCK(:name, 600)",
        }.get(self._scheme)
        if take is None:
            yield
            return
        with self._engine.connect() as connection:
            connection.execute(text(take), {"name": _LOCK})
            connection.commit()
            yield

    def _make_engine(self) -> Any:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        timeout = {} if self._scheme == "mssql" else {"connect_timeout": _TIMEOUT_S}
        return create_engine(self.uri, poolclass=NullPool, connect_args=timeout)

    def _check_rights(self, connection: Any, key: str) -> None:
        """Sees before training that MLflow's tables can be made where they are not yet."""
        from sqlalchemy import inspect, text

        if self._scheme != "postgresql" or inspect(connection).has_table("experiments"):
            return
        may = text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
        if not connection.execute(may).scalar():
            raise ConfigError(
                f"{key}: {self.shown} cannot be used: its user may not create tables in it, as "
                "MLflow must; the owner of a database may (createdb --owner=…)"
            )

    def _told(self, error: Exception) -> str:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        if password := urlsplit(self.uri).password:
            for secret in (password, unquote(password)):
                reason = reason.replace(secret, "…")
        if self._scheme == "postgresql" and "password" in reason:
            reason += ". PostgreSQL's passwords are read from ~/.pgpass, PGPASSWORD or the URI"
        if self._scheme == "postgresql" and "does not exist" in reason:
            reason += ". createdb makes one"
        return reason


def scheme_of(uri: str) -> str:
    """Returns what kind of store a URI names, without the driver that may follow; empty where
    none.
    """
    if uri == "databricks":  # MLflow's word for the workspace of this user's default profile
        return uri
    found = re.match(r"([a-zA-Z][\w.\-]*)(\+\w+)?:", uri)
    return found[1].lower() if found else ""


def check_password(uri: str, key: str) -> None:
    """Refuses an address that its password's special characters damage.

    Raises:
        ConfigError: does not tell the password; begins with ``key``.
    """
    try:
        parts = urlsplit(uri)
        is_database = scheme_of(uri) in SCHEMES
        is_damaged = parts.netloc.count("@") > 1 or (is_database and "@" in parts.path)
        if not is_database:  # SQLAlchemy finds the end of a password with # or ? in it
            _ = parts.port
    except ValueError:  # what stands where a port belongs is none
        is_damaged = "@" in uri
    if is_damaged:
        raise ConfigError(
            f"{key}: a password's special characters must be written %2F for /, %40 for @, %3A "
            "for :, %23 for #, %3F for ?"
        )


def with_driver(uri: str, key: str) -> str:
    """Returns a PostgreSQL URI with a driver that is installed: SQLAlchemy 2.0 and 2.1 prefer
    another.

    Raises:
        ConfigError: there is none.
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "postgresql":
        return uri
    for driver in ("psycopg2", "psycopg"):
        if importlib.util.find_spec(driver):
            return f"postgresql+{driver}://{rest}"
    raise ConfigError(f"{key}: PostgreSQL needs a driver: pip install 'nasrunner[postgresql]'")
