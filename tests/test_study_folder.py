"""The folder of a study among files of others."""

import logging
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nasrunner.compose.config import REQUIRED
from nasrunner.compose.saved import differences
from nasrunner.compose.signature import signed
from nasrunner.core.errors import ConfigError
from nasrunner.study_folder import FoldersBefore, StudyFolder, check_multirun

CONFIG: dict[str, Any] = {
    **{key: {} for key in REQUIRED},
    "study": "toy",
    "seed": 0,
    "max_children": 3,
    "resume": None,
    "executor": {"threads": 1},
    "optimizer": {"lr": 0.1},
    "evaluation": {"repeats": 1, "folds": None},
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def place(folder: Path) -> StudyFolder:
    """A study's folder, as after Hydra has made it."""
    FoldersBefore().look(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return StudyFolder(folder, "nasrunner.log")


def begun(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "ledger.jsonl").write_text("{}\n")
    OmegaConf.save(OmegaConf.create({**CONFIG, **changes}), folder / "config.yaml")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"study already; nothing was changed.*nasrunner resume=\S*study$"),
        ({"max_children": 9, "executor": {"threads": 2}}, "study already; nothing was changed"),
        ({"seed": 1}, r"differs from this one in seed \(1 there, 0 here\); nothing was changed"),
        ({"optimizer": {"lr": 0.2}}, r"optimizer.lr \(0.2 there, 0.1 here\)"),
        ({"optimizer": {"lr": 0.1, "eps": 1}}, r"optimizer.eps \(1 there, None here\)"),
    ],
)
def test_a_study_never_begins_in_the_folder_of_another(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = begun(tmp_path / "study", **changes)
    before = {path: path.read_text() for path in folder.iterdir()}
    study = place(folder)
    with pytest.raises(ConfigError, match=message):
        study.claim(CONFIG)
    study.clear()
    assert {path: path.read_text() for path in folder.iterdir()} == before


def test_a_job_that_is_queued_again_goes_on_with_the_same_configuration_only(
    tmp_path: Path,
) -> None:
    place(begun(tmp_path / "same")).claim(CONFIG, may_go_on=True)
    with pytest.raises(ConfigError, match=r"seed \(1 there, 0 here\)"):
        place(begun(tmp_path / "other", seed=1)).claim(CONFIG, may_go_on=True)


def test_how_a_command_takes_a_study_is_no_part_of_it() -> None:
    """Studies of earlier versions have no ``trust``, and go on all the same."""
    now = {**CONFIG, "resume": None, "trust": False}
    assert differences(CONFIG, now) == {}
    assert differences(now, {**now, "trust": True}) == {}
    assert differences(CONFIG, {**now, "seed": 1}) == {"seed": (0, 1)}


@pytest.mark.parametrize(
    "name", ["config.yaml", "summary.json", "nasrunner.log", ".hydra/config.yaml", "children/x"]
)
def test_a_file_of_the_users_own_is_neither_replaced_nor_removed(tmp_path: Path, name: str) -> None:
    own = tmp_path / "own" / name
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    study = place(tmp_path / "own")
    with pytest.raises(ConfigError, match=rf"holds {Path(name).parts[0]} already.*move what is"):
        study.claim(CONFIG)
    study.clear()
    assert own.read_text() == "mine"


def test_a_study_that_did_not_start_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").touch()
    for folder in ("empty/a/b", "empty", "own", "new/a"):
        study = place(tmp_path / folder)
        study.claim(CONFIG)
        for name in ("config.yaml", "nasrunner.log", "ledger.jsonl"):
            (study.path / name).touch()
        (study.path / ".hydra").mkdir()
        (study.path / "children" / "0000").mkdir(parents=True)
        study.clear()
    assert names(tmp_path) == ["empty", "notes.txt", "own"]


def test_an_empty_folder_that_was_there_is_kept_even_if_nothing_was_claimed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    place(tmp_path / "empty").clear()
    place(tmp_path / "empty" / "a").clear()
    assert names(tmp_path) == ["empty"]


def test_nothing_is_logged_into_a_folder_that_was_removed(tmp_path: Path) -> None:
    study = place(tmp_path / "study")
    study.claim(CONFIG)
    root = logging.getLogger()
    own, other = (
        logging.FileHandler(tmp_path / name, delay=True)
        for name in ("study/nasrunner.log", "other.log")
    )
    try:
        for handler in (own, other):
            root.addHandler(handler)
        study.clear()
        root.error("it ended")
    finally:
        for handler in (own, other):
            root.removeHandler(handler)
            handler.close()
    assert names(tmp_path) == ["other.log"]


def killed_early(folder: Path) -> Path:
    """What a study leaves that is killed while it imports."""
    (folder / ".hydra").mkdir(parents=True)
    noted = {"hydra": {"runtime": {"output_dir": str(folder)}}}
    OmegaConf.save(OmegaConf.create(noted), folder / ".hydra" / "hydra.yaml")
    (folder / "ledger.jsonl").touch()
    (folder / "config.yaml").write_text(signed("study: toy\n"))
    return folder


def test_a_study_begins_where_one_was_killed_before_it_recorded_anything(tmp_path: Path) -> None:
    folder = killed_early(tmp_path / "study")
    first, second = place(folder), place(folder)
    first.claim(CONFIG)
    with pytest.raises(ConfigError, match=r"holds \.hydra, config\.yaml, ledger\.jsonl already"):
        second.claim(CONFIG)  # the first may be importing still
    second.clear()
    first.close()
    assert names(folder) == [".hydra", "config.yaml", "hydra.yaml", "ledger.jsonl"]


@pytest.mark.parametrize("config", ["config.yaml", "config.yaml.unfinished"])
def test_so_does_one_with_a_baseline(tmp_path: Path, config: str) -> None:
    folder = killed_early(tmp_path / "study")
    (folder / "baseline").mkdir()
    for name in (config, "ledger.jsonl"):
        (folder / "baseline" / name).touch()
    study = place(folder)
    study.claim(CONFIG)
    study.close()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", "study: mine\n"),
        ("baseline/ledger.jsonl", "{}\n"),
        ("baseline/summary.json", "{}"),
        ("config.yaml", "\ud800"),
        ("summary.json", "{}"),
        ("children/0000/outcome.json", "{}"),
        (".hydra/hydra.yaml", "hydra: {runtime: {output_dir: /elsewhere}}"),
        (".hydra/hydra.yaml", "[\t"),
        (".hydra/hydra.yaml", "hydra: {runtime: {output_dir: '${nothing}'}}"),
    ],
)
def test_what_a_killed_study_cannot_have_left_is_kept(tmp_path: Path, name: str, text: str) -> None:
    folder = killed_early(tmp_path / "study")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    study = place(folder)
    with pytest.raises(ConfigError, match=r"already, which a study would write over"):
        study.claim(CONFIG)
    study.clear()
    assert (folder / name).read_bytes() == text.encode("utf-8", "surrogatepass")


def test_children_whose_ledger_was_emptied_are_never_removed(tmp_path: Path) -> None:
    folder = begun(tmp_path / "study")
    (folder / "ledger.jsonl").write_text("")
    (folder / "children" / "0000").mkdir(parents=True)
    before = names(folder)
    study = place(folder)
    study.claim(CONFIG, may_go_on=True)
    study.clear()
    assert names(folder) == before


def test_a_study_that_has_begun_is_never_removed(tmp_path: Path) -> None:
    study = place(tmp_path / "study")
    study.claim(CONFIG)
    (study.path / "ledger.jsonl").write_text("{}\n")
    study.clear()
    assert names(tmp_path) == ["ledger.jsonl", "study"]


def test_a_multirun_never_writes_over_another_or_a_file_of_the_users(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    check_multirun(sweep)
    sweep.mkdir()
    (sweep / "multirun.yaml").write_text("hydra:\n  run: {}\n")
    check_multirun(sweep)  # of a multirun none of whose studies began
    begun(sweep / "0")
    with pytest.raises(ConfigError, match=r"holds 1 studies already.*resume=\S*sweep$"):
        check_multirun(sweep)
    with pytest.raises(ConfigError, match=r"0 is a study's folder.*resume=\S*sweep/0$"):
        check_multirun(sweep / "0")
    with pytest.raises(ConfigError, match=r"sweep holds multirun.yaml already"):
        place(sweep).claim(CONFIG)
    own = tmp_path / "own"
    own.mkdir()
    (own / "multirun.yaml").write_text("mine: 1\n")
    with pytest.raises(ConfigError, match=r"own/multirun.yaml is there already"):
        check_multirun(own)
