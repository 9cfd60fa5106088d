"""What is asked of configured trackers before one is built."""

import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nasrunner.compose.trackers import (
    anchored,
    check_jobs,
    files_of,
    records_at,
    records_of,
    shipped_places,
    shipped_records,
    shipped_trackers,
)
from nasrunner.core import ConfigError
from nasrunner.trackers.mlflow.stores import sqlite as mlflow_sqlite

MLFLOW = {
    "_target_": "nasrunner.trackers.mlflow.tracker.MlflowTracker",
    "tracking_uri": "sqlite:///outputs/mlflow.db",
    "artifact_uri": None,
}
TABLE = {"_target_": "nasrunner.trackers.table.CsvTracker"}


def several(**trackers: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "nasrunner.trackers.several.SeveralTrackers", "trackers": trackers}


def test_files_and_places_are_those_of_all_that_it_holds(tmp_path: Path) -> None:
    config = several(a=MLFLOW, b=several(c=TABLE))
    assert files_of(config) == ["mlflow.json", "children.csv"]
    there = anchored(config, tmp_path)
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    assert there == several(a={**MLFLOW, "tracking_uri": uri}, b=several(c=TABLE))
    assert config["trackers"]["a"] == MLFLOW


@pytest.mark.parametrize("nested", [False, True])
def test_only_the_place_that_jobs_write_is_resolved_and_checked(
    nested: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_sqlite, "MOUNTS", tmp_path / "mounts")
    (tmp_path / "mounts").write_text(f"server:/home {tmp_path} nfs4 rw 0 0\n", encoding="utf-8")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    open_ = {**MLFLOW, "experiment": "${oc.env:SET_BY_NO_ONE}", "tracking_uri": "${place}"}
    tracker = several(a=TABLE, b=open_) if nested else open_
    with pytest.raises(ConfigError, match=r"lies on a network file system \(nfs4\)"):
        check_jobs(OmegaConf.create({"place": uri, "tracker": tracker}))
    check_jobs(OmegaConf.create({"place": "http://server", "tracker": tracker}))
    check_jobs(OmegaConf.create({"tracker": "???"}))


def test_an_address_is_known_by_its_scheme() -> None:
    assert set(shipped_trackers()) == {path.stem for path in Path("conf/tracker").glob("*.yaml")}
    found = records_at("runs:/0123")
    assert found is not None
    assert (found[0], found[1].name) == ("mlflow", "MLflow")
    assert records_at("outputs/runs:/0123") is None
    assert records_at("mlflow") is None  # may be a folder
    schemes = [records.scheme for records in shipped_records().values()]
    assert len(set(schemes)) == len(schemes)


def test_what_a_shipped_tracker_takes_from_the_environment_is_a_place_of_its_own() -> None:
    found = {}
    for path in Path("conf/tracker").glob("*.yaml"):
        raw = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(raw, dict)
        if names := {name for name, value in raw.items() if "${oc.env:" in str(value)}:
            found[path.stem] = names
    assert {"mlflow", "wandb"} <= set(found)
    assert all(names <= {*shipped_places()[option]} for option, names in found.items())


def test_a_strangers_class_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_tracker.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert records_of({"_target_": "evil_tracker.Evil"}, may_import=False) is None
    assert "evil_tracker" not in sys.modules
    assert records_of(MLFLOW, may_import=False) is shipped_records()["mlflow"]
    assert records_of({"_target_": "nowhere.at.All"}) is None
