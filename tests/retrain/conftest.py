"""A finished study of tiny networks on digits, made once for all tests here."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from nasrunner import command as nasrunner
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.retrain import command

SPACE = "space={concat:[{affine:{units:{oneof:[4,8]}}},relu,{affine:{units:10}}]}"
QUICK = ("executor=serial", "tracker=none", "trainer.max_epochs=1")


def run_study(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    """Runs nasrunner in a folder and returns the study's."""
    monkeypatch.chdir(folder)
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["nasrunner", *arguments])
    nasrunner.main()
    (ledger,) = folder.glob("outputs/*/*/ledger.jsonl")
    return ledger.parent


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("study")
        return run_study(folder, patch, *QUICK, "searcher=exhaustive", "~space", f"+{SPACE}")


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished study that a test may write to."""
    return Path(shutil.copytree(finished, tmp_path / "study"))


@pytest.fixture
def recorded(finished: Path) -> RecordedStudy:
    return read_study(finished)


@pytest.fixture
def retrain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs nasrunner-retrain in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> None:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["nasrunner-retrain", *arguments])
        command.main()

    return run
