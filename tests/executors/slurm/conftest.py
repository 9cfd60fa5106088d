"""A SLURM whose commands are made up, and a study's folder."""

from pathlib import Path

import pytest

from nasrunner.executors.slurm import gathered as slurm_module
from tests.executors.slurm.fake import FakeSlurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(slurm_module, "new_name", lambda index: f"nasrunner-{index:04d}-aaaaaa")
    return FakeSlurm(tmp_path / "bin", monkeypatch)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return tmp_path / "study"
