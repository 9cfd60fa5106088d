"""MLflow's runs in a database server, without an MLflow server before it: PostgreSQL above all."""

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from nasrunner.core.errors import ConfigError
from nasrunner.core.passwords import without_password

SCHEMES = ("postgresql", "mysql", "mssql")
_TIMEOUT_S = 8
_LOCK = "nasrunner"


class Database:
    """A database that answers, and in which MLflow's tables are or can be made.

    Args:
        uri: in SQLAlchemy's form. A password is better kept in ``~/.pgpass`` or ``PGPASSWORD``,
            which PostgreSQL's client library reads, than in it.
        key: the configuration key it stands under.

    Attributes:
        uri: the same; of PostgreSQL's drivers the one that is installed.

    Raises:
        ConfigError: it has no driver, does not answer, or refuses.
    """

    def __init__(self, uri: str, key: str) -> None:
        self.uri = with_driver(uri, key)
        self._scheme = scheme_of(uri)
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
            raise ConfigError(f"{key}: {self.shown} cannot be used: {self._told(error)}") from error

    @property
    def shown(self) -> str:
        """The URI without the password that may be in it."""
        return without_password(self.uri)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
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
    """What kind of store a URI names; without the driver that may follow."""
    return urlsplit(uri).scheme.partition("+")[0]


def with_driver(uri: str, key: str) -> str:
    """A PostgreSQL URI with a driver that is installed: SQLAlchemy 2.0 and 2.1 prefer another.

    Raises:
        ConfigError: there is none, or the URI is damaged by a password's special characters.
    """
    scheme, _, rest = uri.partition("://")
    if "@" in urlsplit(uri).path:  # the password's own characters end it
        raise ConfigError(
            f"{key}: a {scheme} password's special characters must be written %2F for /, %40 for "
            "@, %3A for :"
        )
    if scheme != "postgresql":
        return uri
    for driver in ("psycopg2", "psycopg"):
        if importlib.util.find_spec(driver):
            return f"postgresql+{driver}://{rest}"
    raise ConfigError(f"{key}: PostgreSQL needs a driver: pip install 'nasrunner[postgresql]'")
