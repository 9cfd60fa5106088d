"""The folder that networks are retrained in: one process at a time, with one configuration."""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrunner.compose.config import leaves
from nasrunner.compose.signature import signed
from nasrunner.core.errors import ConfigError, NasRunnerError
from nasrunner.core.machine.files import keep_file
from nasrunner.recorded import retrain_settings

_ADDED = {"start": "scratch"}
"""What earlier versions do not say of their networks."""

_NOT_COMPARED = ("data.root", "data.eval_batch_size", "trainer.checkpoint_every_s")
"""Settings that change no network."""


@dataclass(frozen=True)
class RetrainFolder:
    """The folder of a retraining; ``retrain.yaml`` in it says how its networks are trained."""

    folder: Path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second retraining out; removes the folder if nothing was put there.

        Raises:
            NasRunnerError: another process trains networks in it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder, os.O_RDONLY)
        try:
            self._lock(lock)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # not empty: networks are there
                    self.folder.rmdir()
        finally:
            os.close(lock)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NasRunnerError(
                f"{self.folder} is in use: its networks are still being trained"
            ) from error

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuses to mix networks of different settings.

        Raises:
            ConfigError: those that are there were trained with others; names the first key. Or
            files of others lie where results would go.
        """
        if not self._path.is_file():
            self._check_empty()
            return
        before = {**_ADDED, **dict(leaves(retrain_settings(self._path)))}
        if before.get("on") == "train_and_validation" and before.get("data.train_share"):
            before["data.train_share"] = 1.0  # earlier versions wrote the search's
        now = {**_ADDED, **dict(leaves(settings))}
        for key in dict.fromkeys([*now, *before]):
            if before.get(key) != now.get(key) and key not in _NOT_COMPARED:
                raise ConfigError(
                    f"{self.folder} holds networks that were trained with {key}={before.get(key)}, "
                    f"not {now.get(key)}: give folder= another one, or remove it"
                )

    def save(self, settings: Mapping[str, Any]) -> None:
        """Writes how the networks are trained: all of it or nothing new.

        It is signed as a study's configuration is, for classes that it names and the study does
        not.
        """
        keep_file(self._path, signed(OmegaConf.to_yaml(OmegaConf.create(dict(settings)))))

    def _check_empty(self) -> None:
        """Refuses a folder in which files of others lie where a retraining writes its own."""
        own = re.compile(r"retrain\.(json|csv)|grid|(\d{4,}|mlp_classifier)-seed\d+")
        if others := sorted(
            each.name for each in self.folder.iterdir() if own.fullmatch(each.name)
        ):
            raise ConfigError(
                f"folder={self.folder} holds {', '.join(others[:3])}, but no {self._path.name} of "
                "a retraining: give folder= another one, or move what is there"
            )

    @property
    def _path(self) -> Path:
        return self.folder / "retrain.yaml"
