import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import nasrunner.study.rehearsal
from nasrunner.core import ConfigError, Hear, OneByOne, Outcome, Proposal, Train
from nasrunner.study.rehearsal import rehearse
from tests.toys import ToyExecutor, no_mistake


class OnAnotherMachine(ToyExecutor):
    """Children see an empty folder where the driver has the study's."""

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        def elsewhere(proposal: Proposal) -> Outcome:
            probe = dataclasses.replace(train.train.probe, path=folders[0] / "elsewhere")
            return dataclasses.replace(train.train, probe=probe)(proposal)

        super().submit(OneByOne(elsewhere), proposals, folders)


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
