"""The studies that a calibration trains: begun, gone on with, and read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrunner.compose.launch import run_study
from nasrunner.compose.saved import STUDY_GROUPS, saved_config
from nasrunner.compose.trust import GROUPS
from nasrunner.compose.upgrade import upgraded
from nasrunner.core.errors import NasRunnerError
from nasrunner.core.screen.commands import short
from nasrunner.recorded import RecordedStudy, read_study


@dataclass(frozen=True)
class Studies:
    """Runs and reads studies.

    Attributes:
        trust: whether a stranger's study is taken with all that it names.
        tell: is given a sentence that the user should know.
    """

    trust: bool
    tell: Callable[[str], object]

    def run(self, config: dict[str, Any], folder: Path, whole: Path | None = None) -> None:
        """Runs a study, or goes on with the one in its folder.

        Args:
            config: the study's.
            folder: its folder.
            whole: the folder that the command is to go on with; None: the same.

        Raises:
            NasRunnerError: it has failed, or was stopped.
        """
        summary = run_study(config, folder)
        if summary.failure is not None:
            raise NasRunnerError(f"{folder}: {summary.failure}")
        if summary.reason == "interrupted":
            again = f"nasrunner-calibrate from={short(whole or folder)} what=…"
            raise NasRunnerError(f"stopped; go on with {again}")

    def go_on(self, folder: Path, whole: Path | None = None) -> None:
        """Goes on with a study that was broken off; leaves one that has ended as it is.

        Args:
            folder, whole: as of ``run``.
        """
        if self.read(folder).reason in (None, "interrupted"):
            self.run(self.config(folder), folder, whole)

    def config(self, folder: Path) -> dict[str, Any]:
        """Returns the configuration that a study in a folder would be gone on with."""
        saved = saved_config(folder, builds=GROUPS, trust=self.trust)
        return dict(upgraded(saved, STUDY_GROUPS, self.tell))

    def read(self, folder: Path) -> RecordedStudy:
        """Returns what was recorded of the study in a folder."""
        return read_study(folder, builds=GROUPS, trust=self.trust)
