"""Small studies whose networks predict."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from nasrunner.command import main as search
from nasrunner.data.own.images import ImageFolder
from nasrunner.data.own.tables import CsvFile, ParquetFile

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


_USUAL: dict[str, Any] = {
    "batch_size": 8,
    "eval_batch_size": 8,
    "drop_last": False,
    "validation_examples": 0.2,
    "split_seed": 0,
}


def csv_of(path: Path) -> CsvFile:
    """The data set of a CSV file that a network was trained on."""
    return CsvFile(path=str(path), target="y", **_USUAL)


def parquet_of(path: Path) -> ParquetFile:
    """Likewise, of a Parquet file."""
    return ParquetFile(path=str(path), target="y", **_USUAL)


def images_of(root: Path, **settings: Any) -> ImageFolder:
    """Likewise, of a folder of images."""
    return ImageFolder(root=str(root), **_USUAL, **settings)
