"""What trains children on its way to their jobs: a file for all of a study."""

import hashlib
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from nasrunner.core import NasRunnerError, Train


class TrainFiles:
    """Writes what trains children, once for a study, with where this process imports from."""

    def __init__(self) -> None:
        self._written: set[Path] = set()
        self._pickled: tuple[Train, bytes] | None = None

    def write(self, train: Train, shared: Path) -> Path:
        """Writes the file, unless it was written before.

        Args:
            train: the same object for a whole study.
            shared: the folder that the study's jobs share.

        Raises:
            NasRunnerError: ``train`` cannot be pickled.
        """
        if self._pickled is None or self._pickled[0] is not train:
            try:
                self._pickled = (train, cloudpickle.dumps(train))
            except Exception as error:
                raise NasRunnerError(
                    f"what trains children must be picklable to be sent to a job: {error}"
                ) from error
        pickled = self._pickled[1]
        path = shared / f"train-{hashlib.sha256(pickled).hexdigest()[:12]}.pkl"
        if path not in self._written:  # one that lies there may be a stranger's
            shared.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"{path.name}.{os.getpid()}")
            unfinished.write_bytes(pickle.dumps((sys.path, pickled)))
            unfinished.replace(path)
        self._written.add(path)
        return path

    def remove(self) -> None:
        """Removes the files, and the folders in which nothing else is left."""
        for path in self._written:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # not empty: logs of children that failed
                path.parent.rmdir()
        self._written.clear()


def read_train(path: Path) -> Train:
    """Reads in a job what was written for it."""
    with path.open("rb") as file:
        places, pickled = pickle.load(file)
    _import_from(places)
    train: Train = pickle.loads(pickled)
    return train


def _import_from(places: Sequence[str]) -> None:
    sys.path += [place for place in places if place not in sys.path]
