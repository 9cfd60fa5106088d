"""Snapshots of a searcher's state, with which a study is resumed without replaying all of it."""

import functools
import hashlib
import hmac
import inspect
import io
import json
import logging
import pickle
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nasrunner.core.machine.files import replace_file
from nasrunner.core.searcher import Searcher
from nasrunner.study.ledger import Ledger

FILE = "searcher.pkl"
"""Beside the ledger, which it can always be made from."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A searcher as it was after some of the ledger's events.

    Attributes:
        searcher: with that state.
        num_events: after so many.
    """

    searcher: Searcher
    num_events: int


class Snapshots:
    """Writes a searcher's state now and then, and reads it where it can be trusted and fits.

    A snapshot holds a pickle, which runs whatever code it names when it is read. So it is signed
    with a key that this user alone has, and one of a stranger's, of another ledger or of other
    versions is not read: the ledger is replayed instead, to the same state.

    Args:
        folder: the study's.
        sign: the signature of some bytes; None where none can be made, and then nothing is written.
        fingerprints: what the study depends on beside its configuration, a user's source for one.
        every_s: how long the searcher may have worked since the last snapshot before another one
            is written: what replaying would take at most.
    """

    def __init__(
        self,
        folder: Path,
        sign: Callable[[bytes], str | None],
        fingerprints: Mapping[str, str],
        every_s: float = 2.0,
    ) -> None:
        self.path = folder / FILE
        self.every_s = every_s
        self._sign = sign
        self._made_with = {**_versions(), **fingerprints}
        self._worked_s = 0.0

    def worked(self, seconds: float) -> None:
        """Takes how long the searcher has just been at work."""
        self._worked_s += seconds

    @property
    def is_due(self) -> bool:
        """Whether replaying what came after the last one would take long."""
        return self._worked_s >= self.every_s

    def write(self, searcher: Searcher, ledger: Ledger, num_events: int) -> None:
        """Writes the searcher's state; none where it cannot be pickled.

        Args:
            searcher: as it is now.
            ledger: what it has been told all of.
            num_events: how many events that is.
        """
        self._worked_s = 0.0
        try:
            pickled = pickle.dumps(searcher)
        except Exception as error:  # a user's own searcher may hold anything
            _log.info("no snapshot of %s: %s", type(searcher).__name__, error)
            self.every_s = float("inf")
            return
        size = ledger.num_bytes
        head = {
            "events": num_events,
            "bytes": size,
            "ledger": _digest(ledger.path, size),
            "made_with": {**self._made_with, "source": _source_of(searcher)},
        }
        data = json.dumps(head).encode() + b"\n" + pickled
        if (signature := self._sign(data)) is not None:
            with suppress(OSError):  # a full disk is told where it matters: by the ledger
                replace_file(self.path, signature.encode() + b"\n" + data)

    def read(self, ledger: Ledger) -> Found | None:
        """Reads the state that the searcher had after some of the events; None: replay them all."""
        try:
            signature, _, data = self.path.read_bytes().partition(b"\n")
        except OSError:
            return None
        own = self._sign(data)
        if own is None or not hmac.compare_digest(own.encode(), signature):
            return None
        head_line, _, pickled = data.partition(b"\n")
        head = json.loads(head_line)
        source = head["made_with"].pop("source")
        if head["made_with"] != self._made_with or head["bytes"] > ledger.num_bytes:
            return None
        if head["ledger"] != _digest(ledger.path, head["bytes"]):
            return None
        try:
            searcher = pickle.load(io.BytesIO(pickled))
        except Exception as error:  # a class of the user's was renamed
            _log.info("the snapshot is not read: %s", error)
            return None
        is_same = isinstance(searcher, Searcher) and _source_of(searcher) == source
        return Found(searcher, head["events"]) if is_same else None


def _digest(path: Path, size: int) -> str:
    """What tells the beginning of one file from that of another."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(size)).hexdigest()


def _source_of(searcher: Searcher) -> str:
    """What changes with the file that a searcher's class is written in, be it an installed one."""
    try:
        source = Path(inspect.getfile(type(searcher))).read_bytes()
    except (OSError, TypeError):  # typed into an interpreter
        return ""
    return hashlib.sha256(source).hexdigest()


@functools.cache
def _versions() -> dict[str, str]:
    """What a state may depend on beside the events: it is computed anew with other versions."""
    found = {"python": platform.python_version()}
    for package in ("nasrunner", "numpy", "torch", "optuna", "scipy"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
