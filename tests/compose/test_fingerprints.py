"""What a study depends on beside its configuration."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nasrunner.compose.fingerprints
from nasrunner.compose.fingerprints import fingerprints
from nasrunner.study.beginning import fingerprint_changes


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's, with modules that import one another and a data set."""
    for name, text in {
        "fp_data.py": "import os, torch\nfrom fp_helper import load\nclass Mine: pass\n",
        "fp_helper.py": "import fp_data\n",
        "fp_other.py": "",
        "fp_package/__init__.py": "",
        "fp_package/nets/blocks.py": "from .. import nets\n",
        "fp_folder/models.py": "import torch\n",
        "1/part.npy": "6",
        "2/part.npy": "7",
        "data/train.csv": "1,2\n",
        "data/deep/test.csv": "3,4\n",
        "alone.npy": "5",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def config(place: Path) -> dict[str, Any]:
    return {
        "data": {
            "_target_": "fp_data.Mine",
            "root": f"{place}/data",
            "more": {"file": f"{place}/alone.npy"},
            "parts": [f"{place}/1/part.npy", f"{place}/2/part.npy"],
        },
        "space": {
            "concat": [
                {"_target_": "fp_package.nets.blocks.Block"},
                {"_target_": "fp_folder.models.B"},
            ],
            "hyperparameters": {"data.file": {"oneof": [f"{place}/alone.npy", "none"]}},
        },
        "optimizer": {"_target_": "torch.optim.SGD"},
        "task": {"_target_": "nasrunner.children.tasks.tasks.Classification"},
    }


def test_source_of_the_users_own_and_files_of_data_are_looked_at(place: Path) -> None:
    assert sorted(fingerprints(config(place))) == [
        "data.file.oneof.0 alone.npy",
        "data.more.file alone.npy",
        "data.parts.0 part.npy",
        "data.parts.1 part.npy",
        "data.root deep/test.csv",
        "data.root train.csv",
        "module fp_data",
        "module fp_folder",
        "module fp_helper",
        "module fp_package",
    ]
    assert "fp_data" not in sys.modules  # Lightning would be imported with it


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda place: None, []),
        (lambda place: (place / "fp_other.py").write_text("1"), []),
        (lambda place: (place / "fp_helper.py").write_text("1"), ["module fp_helper is another"]),
        (
            lambda place: (place / "fp_package" / "nets" / "new.py").write_text("1"),
            ["module fp_package is another"],
        ),
        (
            lambda place: (place / "fp_folder" / "models.py").write_text("1"),
            ["module fp_folder is another"],
        ),
        (
            lambda place: (place / "2" / "part.npy").write_text("8"),
            ["data.parts.1 part.npy is another"],
        ),
        (
            lambda place: (place / "data" / "train.csv").write_text("1,3\n"),
            ["data.root train.csv is another"],
        ),
        (
            lambda place: (place / "data" / "train.csv").rename(place / "data" / "more.csv"),
            ["data.root more.csv is new", "data.root train.csv is gone"],
        ),
    ],
)
def test_a_change_is_told_in_words(
    place: Path, change: Callable[[Path], object], told: list[str]
) -> None:
    before = fingerprints(config(place))
    change(place)
    assert fingerprint_changes(before, fingerprints(config(place))) == told


@pytest.mark.parametrize("text", ["2,2\n", "1,2;", "1,2\n\n"])
def test_of_a_large_file_both_ends_and_the_size_are_looked_at(
    place: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(nasrunner.compose.fingerprints, "_MAX_BYTES", 2)
    before = fingerprints(config(place))
    (place / "data" / "train.csv").write_text(text)
    after = fingerprints(config(place))
    assert fingerprint_changes(before, after) == ["data.root train.csv is another"]


def test_of_very_many_files_sizes_and_times_are_looked_at(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nasrunner.compose.fingerprints, "_MAX_FILES", 1)
    before = fingerprints(config(place))
    assert "data.root data" in before
    (place / "data" / "train.csv").write_text("longer")
    after = fingerprints(config(place))
    assert fingerprint_changes(before, after) == ["data.root data is another"]


@pytest.mark.parametrize("text", ["", "def (", "\0", "import no_such_module_of_anyones"])
def test_source_that_is_no_python_has_a_fingerprint_all_the_same(place: Path, text: str) -> None:
    (place / "fp_data.py").write_text(text)
    assert "module fp_data" in fingerprints(config(place))
