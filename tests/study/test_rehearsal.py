import dataclasses
import re
from pathlib import Path

import pytest

import nasrunner.study.rehearsal
from nasrunner.core import ConfigError, Outcome, Proposal, Train
from nasrunner.study.rehearsal import rehearse
from tests.toys import ToyExecutor, no_mistake


class OnAnotherMachine(ToyExecutor):
    """Children see an empty folder where the driver has the study's."""

    def submit(self, train: Train, proposal: Proposal, folder: Path) -> None:
        def elsewhere(proposal: Proposal) -> Outcome:
            probe = dataclasses.replace(train.probe, path=folder / "elsewhere")
            return dataclasses.replace(train, probe=probe)(proposal)

        super().submit(elsewhere, proposal, folder)


def refuse() -> None:
    raise ConfigError("optimizer.lr must be > 0")


def test_a_folder_that_workers_do_not_see_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(nasrunner.study.rehearsal, "_SHARED_WITHIN_S", 0.0)
    message = (
        r"^hydra.run.dir must lie on a file system that all nodes share: the study's folder "
        rf"{re.escape(str(tmp_path))} is not the same on \S+$"
    )
    with pytest.raises(ConfigError, match=message):
        rehearse(no_mistake, OnAnotherMachine(slots=1, seed=0), tmp_path)


def test_a_rehearsal_leaves_nothing_behind(tmp_path):
    rehearse(no_mistake, ToyExecutor(slots=1, seed=0), tmp_path)
    with pytest.raises(ConfigError, match=r"^optimizer\.lr must be > 0$"):
        rehearse(refuse, ToyExecutor(slots=1, seed=0), tmp_path)
    assert list(tmp_path.iterdir()) == []
