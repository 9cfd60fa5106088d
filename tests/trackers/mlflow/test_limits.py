"""What is longer than MLflow takes, or no number, is recorded as far as it can be."""

import dataclasses
import math
from typing import Any

import pytest

from nasrunner.core import StudyInfo
from nasrunner.trackers.mlflow.stores.database import with_driver
from tests.trackers.fakes import FakeStudy, tracker
from tests.trackers.mlflow.test_tracker import Records

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LONG = "ö" * 9000
KEY = "k" * 400
METRICS = {"nan": math.nan, "high": math.inf, "low": -math.inf, KEY: 1.0, "ünï(x)": 2.0}


@dataclasses.dataclass
class Excessive(FakeStudy):
    """A study with names and values of any length."""

    @property
    def info(self) -> StudyInfo:
        config = {**super().info.config, "note": LONG, KEY: {KEY: "deep"}}
        return dataclasses.replace(super().info, name="n" * 300, config=config)

    def inspect(self, given: Any) -> Any:
        blueprint = super().inspect(given)
        return dataclasses.replace(
            blueprint, text=LONG, values={**blueprint.values, KEY: LONG, "ü/x": [LONG]}
        )

    def outcome(self, index: int) -> Any:
        outcome = super().outcome(index)
        if index == 3:
            return dataclasses.replace(outcome, error=LONG * 2)
        return dataclasses.replace(outcome, reward=list(METRICS.values())[index], metrics=METRICS)


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql])]
)
def test_nothing_is_too_long_or_too_large_for_mlflow(request, tmp_path, caplog, kind):
    if kind == "sqlite":
        uri = f"sqlite:///{request.getfixturevalue('database')}"
    else:
        uri = with_driver(request.getfixturevalue("postgresql").new_database("limits"), "")
    place = str(tmp_path / "artifacts ö")
    for name in ("one", "two"):  # two studies of one name in one experiment
        study = Excessive(tmp_path / name / ("f" * 255))
        tracked = tracker(uri, experiment="limits", artifact_uri=place)
        tracked.open(study.info, study.state, study.inspect)
        for index in range(4):
            study.record(tracked, index)
        tracked.close(study.summary())
        assert not caplog.records
        records = Records(uri, study.folder, "limits")
        check(records)
        assert records.parent.info.artifact_uri.startswith(f"{place}/limits/")


def check(records: Records) -> None:
    parent, children = records.parent, records.children()
    assert parent.info.status == "FINISHED"
    assert len(parent.info.run_name) == 250
    assert len(parent.data.params["note"]) == 6000
    assert "deep" in parent.data.params.values()
    assert [children[i].info.status for i in range(4)] == ["FINISHED"] * 3 + ["FAILED"]
    child = children[0]
    assert len(child.info.run_name) == 80
    assert sorted(map(len, child.data.params.values()))[-2:] == [6000, 6000]
    found = child.data.metrics
    assert math.isnan(found["nan"])
    assert found["high"] > 1e308
    assert found["low"] < -1e308
    assert [name for name in found if name.startswith("kkkk") and len(name) <= 250]
    assert 2.0 in found.values()
    assert math.isnan(found["reward"])
    assert len(records.artifact(children[3], "error.txt")) == 18_000
    assert len(children[3].data.tags["nasrunner.error"]) == 5000
