"""The folder of a study: what a run may write in it, and what it removes again."""

import contextlib
import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from yaml import YAMLError  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.command_line import fail
from nasrunner.compose.saved import differences, named_differences, saved_config
from nasrunner.compose.signature import why_not_own
from nasrunner.compose.trackers import files_of
from nasrunner.core.errors import ConfigError
from nasrunner.core.screen.commands import report_command, resume_command
from nasrunner.core.screen.passwords import without_password
from nasrunner.trackers.sweep import sweep_table, swept_studies

_OWN = (
    ".hydra",
    "baseline",
    "children",
    "config.yaml",
    "config.yaml.unfinished",
    "ledger.jsonl",
    "rehearsal",
    "summary.json",
)
"""What a study makes in its folder, beside its log and what its trackers write."""

_LATER = frozenset(("baseline", "children", "multirun.yaml", "summary.json"))
"""What of it is not there, or not known to be empty, before a study has recorded anything."""


class FoldersBefore(metaclass=Singleton):
    """The folders that were there before this command: Hydra makes others, and does not say which.

    One of Hydra's singletons: these travel with a study to the job it runs in.
    """

    def __init__(self) -> None:
        self.paths: frozenset[Path] = frozenset()

    def look(self, folder: Path) -> None:
        """Takes down which of a folder, those above and those in it are there."""
        folder = folder.absolute()
        inside = [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
        above = [each for each in (folder, *folder.parents) if each.is_dir()]
        self.paths = frozenset([*above, *inside])


class LookBefore(Callback):
    """Hydra's callback that looks for folders before Hydra makes any, and tells of a multirun's.

    Args:
        goes_on: whether a multirun continues the one in its folder.
    """

    def __init__(self, goes_on: bool) -> None:
        self.goes_on = goes_on

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Called once for a study that runs alone."""
        with contextlib.suppress(OmegaConfBaseException):  # Hydra tells what refers to nothing
            FoldersBefore().look(_place(config, "hydra.run.dir"))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Called once for a multirun, in the process that launches its studies."""
        try:
            folder = _place(config, "hydra.sweep.dir")
        except OmegaConfBaseException:  # Hydra tells what refers to nothing
            return
        FoldersBefore().look(folder)
        if self.goes_on:
            return
        try:
            check_multirun(folder)
        except ConfigError as error:
            fail("nasrunner", str(error))  # Hydra would make a warning of an exception

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Tells what the studies of a multirun have found, and how they are compared."""
        folder = _place(config, "hydra.sweep.dir")
        if len(studies := swept_studies(folder)) > 1:
            Console(highlight=False, markup=False).print(sweep_table(studies))
        sys.stdout.write(f"Compare them: {report_command(folder)}\n")


def _place(config: DictConfig, key: str) -> Path:
    """A folder in Hydra's configuration, which may refer to other values of it."""
    hydra_config = HydraConfig.instance()
    before = hydra_config.cfg
    hydra_config.set_config(config)
    try:
        return Path(str(OmegaConf.select(config, key)))
    finally:
        hydra_config.cfg = before


def check_multirun(folder: Path) -> None:
    """Refuses a multirun in the folder of another, or where it would write over a user's file.

    Raises:
        ConfigError: names the folder.
    """
    noted = folder / "multirun.yaml"
    if (folder / "ledger.jsonl").is_file():
        raise ConfigError(
            f"hydra.sweep.dir={folder} is a study's folder, which cannot hold a multirun, too; "
            f"nothing was changed. Give another folder, or continue it: {resume_command(folder)}"
        )
    if studies := sorted(path.parent for path in folder.glob("*/ledger.jsonl")):
        raise ConfigError(
            f"hydra.sweep.dir={folder} holds {len(studies)} studies already, {studies[0].name} for "
            "one; nothing was changed. Give another folder, or continue what is there: "
            f"{resume_command(folder if noted.is_file() else studies[0])}"
        )
    begun = noted.read_text(encoding="utf-8", errors="replace") if noted.exists() else "hydra:\n"
    if not begun.startswith("hydra:\n"):
        raise ConfigError(
            f"{noted} is there already, which a multirun would write over: nothing was changed; "
            "give another hydra.sweep.dir, or move it"
        )


class StudyFolder:
    """The place of one study, in which files of others are neither replaced nor removed.

    Args:
        path: the folder.
        log: name of the log file in it.
    """

    def __init__(self, path: Path, log: str) -> None:
        self.path = path
        self._own: tuple[str, ...] = (*_OWN, log)
        self._is_ours = False
        self._held: BinaryIO | None = None

    def claim(self, config: Mapping[str, Any], *, may_go_on: bool = False) -> None:
        """Takes the folder for a study that begins.

        Args:
            config: the study's resolved configuration.
            may_go_on: whether a study of the same configuration that was begun here goes on.

        Raises:
            ConfigError: the folder holds a study, or files that a study would replace.
        """
        self._own += tuple(files_of(config["tracker"]))
        if self.has_begun and (self.path / "config.yaml").is_file():
            found = differences(saved_config(self.path, builds=(), trust=True), config)
            if may_go_on and not found:
                return
            raise ConfigError(self._told(named_differences(found)))
        foreign = (*self._own, "multirun.yaml")  # with it, the study could not be resumed
        there = [name for name in foreign if os.path.lexists(self.path / name)]
        if there and not may_go_on and not self._was_killed_early(there):
            raise ConfigError(
                f"hydra.run.dir={self.path} holds {', '.join(there)} already, which a study would "
                "write over: nothing was changed; give another folder, or move what is there"
            )
        self._is_ours = "children" not in there  # else a study has begun, and its ledger is lost

    def _was_killed_early(self, there: Collection[str]) -> bool:
        """Whether all that lies here is of a study that was killed before it recorded anything.

        A study writes ``.hydra`` only where nothing of others was.
        """
        noted = self.path / ".hydra" / "hydra.yaml"
        later = set(there) & _LATER
        if self._has_empty_baseline():
            later.discard("baseline")
        if later or self.has_begun or not noted.is_file():
            return False
        config = self.path / "config.yaml"
        try:
            if config.exists() and why_not_own(config.read_text(encoding="utf-8")) is not None:
                return False
            made_in = OmegaConf.select(OmegaConf.load(noted), "hydra.runtime.output_dir")
        except (OSError, ValueError, YAMLError):  # not as a study writes them
            return False
        return made_in == str(self.path.absolute()) and self._lock(noted)

    def _has_empty_baseline(self) -> bool:
        """Whether a search was made ready beside the study, and nothing more."""
        made = [each.name for each in (self.path / "baseline").glob("*")]
        begun = self.path / "baseline" / "ledger.jsonl"
        written = {"config.yaml", "config.yaml.unfinished", "ledger.jsonl"}
        return set(made) <= written and not (begun.is_file() and begun.stat().st_size > 0)

    def _lock(self, noted: Path) -> bool:
        """Holds the folder until ``close``; False where another process has it."""
        file = noted.open("rb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._held = file
        return True

    def close(self) -> None:
        """Lets the folder go, as the end of the process would."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def note_call(self, composed: DictConfig, runtime: HydraConf) -> None:
        """Writes down how the study was called, as Hydra does."""
        folder = self.path / ".hydra"
        folder.mkdir(exist_ok=True)
        if self._held is None:
            (folder / "hydra.yaml").touch()
            self._lock(folder / "hydra.yaml")
        for name, noted in (
            ("config.yaml", composed),
            ("hydra.yaml", OmegaConf.create({"hydra": runtime})),
            ("overrides.yaml", runtime.overrides.task),
        ):
            (folder / name).write_text(without_password(OmegaConf.to_yaml(noted)), encoding="utf-8")

    def clear(self) -> None:
        """Removes what a study that did not start left here: its own, and folders made for it."""
        if self.has_begun:
            return
        self._close_log()
        for path in (self.path / name for name in self._own if self._is_ours):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        before = FoldersBefore().paths
        for folder in (self.path, *self.path.parents):
            if not before or folder in before:
                return
            with contextlib.suppress(OSError):  # not empty: others lie there
                folder.rmdir()

    def _close_log(self) -> None:
        """Lets nothing be logged into a folder that is not there: submitit logs how a job ended."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            place = getattr(handler, "baseFilename", None)
            if place is not None and Path(place).parent == self.path.absolute():
                root.removeHandler(handler)
                handler.close()

    @property
    def has_begun(self) -> bool:
        """Whether there is something to go on with."""
        ledger = self.path / "ledger.jsonl"
        return ledger.is_file() and ledger.stat().st_size > 0

    def _told(self, found: str) -> str:
        differs = f", which differs from this one in {found}" if found else ""
        return (
            f"hydra.run.dir={self.path} holds a study already{differs}; nothing was changed. Give "
            f"another folder, or continue that study: {resume_command(self.path)}"
        )
