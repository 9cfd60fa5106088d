"""Small studies whose networks predict."""

from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from nasrunner.command import main as search

QUICK = (
    "executor=serial",
    "tracker=none",
    "searcher=random",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "max_children=1",
)


def run_search(folder: Path, *overrides: str) -> Path:
    """A study in a folder, trained in this process."""
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        patch.setattr("sys.argv", ["nasrunner", *QUICK, f"hydra.run.dir={folder}", *overrides])
        search()
    return folder
