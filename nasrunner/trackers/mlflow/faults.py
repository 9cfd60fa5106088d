"""Tells what MLflow refuses from what is away for now, and asks again at once where that helps."""

import errno
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_AT_ONCE = 3
_QUICK_S = 1.0
_MAY_PASS = {408, 429, 499}
"""HTTP's codes for a client's mistake that are none: too slow, too many, cancelled."""
_DENIED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
_MISTAKES_IN_SQL = {"IntegrityError", "DataError", "ProgrammingError", "NoSuchModuleError"}


class ArtifactError(Exception):
    """Artifacts cannot be written, wherever they go."""


def is_refusal(error: BaseException) -> bool:
    """Tells whether the answer will be no however often one asks; else MLflow may be away for now.

    A reply that was cut, a server that is stopped or overrun, a database that is locked and a
    disk that is full are no refusals. An artifact that cannot be written is one only where the
    reason is known to stay.
    """
    if isinstance(error, ArtifactError):
        return any(_is_denied(cause) for cause in _causes(error))
    cause = error.__cause__
    if cause is not None and _is_of_sql(cause):
        return is_refusal(cause)
    if _is_of_sql(error):
        return bool(_names(error) & _MISTAKES_IN_SQL)
    if (status := _status(error)) is not None:
        # What a database's own tables say has no code: they are of another MLflow.
        return (400 <= status < 500 and status not in _MAY_PASS) or "schema" in str(error)
    if isinstance(error, OSError):  # those of requests, too
        return _is_denied(error)
    return not isinstance(error, MemoryError)


def at_once(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Makes a request that can be repeated without harm; again where its reply was lost quickly."""
    for _ in range(_AT_ONCE - 1):
        started = time.monotonic()
        try:
            return call(*args, **kwargs)
        except Exception as error:
            if is_refusal(error) or time.monotonic() - started > _QUICK_S:
                raise
    return call(*args, **kwargs)


class Persistent:
    """MLflow's client, whose requests are repeated ``at_once``, but for those that make something.

    Args:
        client: an ``MlflowClient``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name.startswith("create_"):
            return method
        return lambda *args, **kwargs: at_once(method, *args, **kwargs)


def _is_denied(error: BaseException) -> bool:
    """Whether a place for files cannot be written whatever one waits for."""
    status = _status(error)
    is_client_error = status is not None and 400 <= status < 500 and status not in _MAY_PASS
    is_denied = isinstance(error, OSError) and error.errno in _DENIED
    return is_denied or is_client_error or isinstance(error, ImportError)


def _status(error: BaseException) -> int | None:
    """The HTTP code that an error of MLflow or of requests has."""
    if (ask := getattr(error, "get_http_status_code", None)) is not None:
        return int(ask())
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _is_of_sql(error: BaseException) -> bool:
    return "SQLAlchemyError" in _names(error)


def _names(error: BaseException) -> set[str]:
    """The names of an error's classes: nothing of MLflow is imported to tell them."""
    return {each.__name__ for each in type(error).__mro__}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error's causes, the nearest first."""
    seen: set[int] = set()
    found = error.__cause__ or error.__context__
    while found is not None and id(found) not in seen:
        yield found
        seen.add(id(found))
        found = found.__cause__ or found.__context__
