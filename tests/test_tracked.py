"""Where trackers have a recorded study, whichever folder it is asked from."""

import json
from pathlib import Path
from typing import Any

import pytest

from nasrunner.compose.trackers import shipped_records, usual_settings
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.tracker_addresses import addresses_of, folder_at, located, own_reader
from tests.report.recordings import recorded

MLFLOW = {**usual_settings("mlflow"), "tracking_uri": "sqlite:///outputs/mlflow.db"}
TABLE = {"_target_": "nasrunner.trackers.table.CsvTracker"}


def several(mlflow: dict[str, Any]) -> dict[str, Any]:
    held = {"csv": TABLE, "mlflow": mlflow}
    return {"_target_": "nasrunner.trackers.several.SeveralTrackers", "trackers": held}


@pytest.fixture
def study(tmp_path: Path) -> RecordedStudy:
    """Recorded by several trackers, from ``tmp_path``."""
    folder = recorded(tmp_path / "outputs" / "a", [0.5], tracker=several(MLFLOW))
    facts = {"run_id": "12", "tracking_uri": f"sqlite:///{tmp_path}/outputs/mlflow.db"}
    (folder / "mlflow.json").write_text(json.dumps(facts), encoding="utf-8")
    return read_study(folder)


def test_a_relative_place_is_where_the_study_was_begun(
    study: RecordedStudy, tmp_path: Path
) -> None:
    there = {**MLFLOW, "tracking_uri": f"sqlite:///{tmp_path}/outputs/mlflow.db"}
    assert located(study.config["tracker"], study) == several(there)
    assert located(MLFLOW, study) == there  # one of several, alone
    elsewhere = {**MLFLOW, "tracking_uri": "sqlite:///mine.db"}
    assert located(several(elsewhere), study) == several(elsewhere)
    assert located(TABLE, study) == TABLE


def test_a_study_is_found_by_its_address_in_one_of_its_trackers(
    study: RecordedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = shipped_records()["mlflow"]
    assert list(addresses_of(study)) == [(records, "runs:/12")]
    monkeypatch.chdir(tmp_path)
    found = folder_at(records, "runs:/12")
    assert found is not None
    assert found.resolve() == study.folder
    assert folder_at(records, "runs:/1") is None


def test_a_strangers_study_is_looked_for_where_this_users_settings_are(
    study: RecordedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///usual.db")
    path = study.folder / "config.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(each for each in lines if not each.startswith("#")), encoding="utf-8")
    assert located(study.config["tracker"], study) == several(usual_settings("mlflow"))
    assert usual_settings("mlflow")["tracking_uri"] == "sqlite:///usual.db"


def test_a_strangers_account_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_ENTITY", "me")
    usual = usual_settings("wandb")
    theirs = {**usual, "entity": "evil", "project": "evil", "mode": "offline"}
    folder = recorded(tmp_path / "a", [0.5], tracker={"_target_": TABLE["_target_"], "a": theirs})
    assert located(theirs, read_study(folder)) == theirs  # my own
    path = folder / "config.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(each for each in lines if not each.startswith("#")), encoding="utf-8")
    study = read_study(folder)
    assert located(theirs, study) == usual
    assert located({**theirs, "project": "mine"}, study) == {**usual, "project": "mine"}


def test_a_study_without_such_a_tracker_is_read_only_where_the_user_says(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "a", [0.5], tracker=TABLE)
    study, records = read_study(folder), shipped_records()["mlflow"]
    assert list(addresses_of(study)) == []
    assert own_reader(records, study, None) is None
