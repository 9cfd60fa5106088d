"""What is recorded of a study: in its ledger, and in MLflow, which must hold the same."""

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from nasrunner.trackers.mlflow.stores.file import recall

_RUNS = """
SELECT kind.value, number.value, what.value, reward.value, runs.status FROM runs
JOIN tags mine ON mine.run_uuid = runs.run_uuid AND mine.key = 'nasrunner.study'
JOIN tags kind ON kind.run_uuid = runs.run_uuid AND kind.key = 'nasrunner.kind'
LEFT JOIN tags number ON number.run_uuid = runs.run_uuid AND number.key = 'nasrunner.index'
LEFT JOIN tags what ON what.run_uuid = runs.run_uuid AND what.key = 'nasrunner.status'
LEFT JOIN latest_metrics reward ON reward.run_uuid = runs.run_uuid AND reward.key = 'reward'
WHERE mine.value = ?
"""

_TRACKER = Path(__file__).parents[2] / "conf" / "tracker" / "mlflow.yaml"


def tracker() -> dict[str, Any]:
    """The shipped tracker, with the cluster's database and patience at its end."""
    described: dict[str, Any] = yaml.safe_load(_TRACKER.read_text())
    own = {"tracking_uri": f"sqlite:///{database()}", "poll_s": 0.5, "close_timeout_s": 120}
    return described | own


def database() -> Path:
    """That of all studies on a cluster, which is made once: it takes more than a second."""
    return Path(os.environ["SLURM_CONF"]).parents[1] / "mlflow.db"


def outcomes_of(study: Path) -> dict[int, dict[str, Any]]:
    """The outcomes in a ledger, every one of which must be a proposed child's only one."""
    path = study / "ledger.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    proposed = {event["index"] for event in events if event["event"] == "proposed"}
    found = [event for event in events if event["event"] == "outcome"]
    assert max(Counter(event["index"] for event in found).values(), default=1) == 1
    assert {event["index"] for event in found} <= proposed
    return {event["index"]: event for event in found}


def tracked_of(study: Path) -> dict[int, tuple[str, float | None]]:
    """Status and reward of each child in MLflow, every one of which must have one ended run."""
    with contextlib.closing(sqlite3.connect(database())) as opened:
        runs = opened.execute(_RUNS, [recall(study)["study"]]).fetchall()
    assert {status for *_, status in runs} <= {"FINISHED", "FAILED"}, runs
    children = [run for run in runs if run[0] == "child"]
    assert max(Counter(number for _, number, *_ in children).values(), default=1) == 1, runs
    return {int(number): (what, reward) for _, number, what, reward, _ in children}


def assert_tracked(study: Path) -> None:
    """MLflow holds what the ledger does."""
    recorded = {i: (each["status"], each["reward"]) for i, each in outcomes_of(study).items()}
    assert tracked_of(study) == recorded


def assert_complete(study: Path, children: int, failed: Collection[int] = ()) -> None:
    """Ledger and MLflow hold every child once, and none has failed but those that had to."""
    outcomes = outcomes_of(study)
    assert sorted(outcomes) == list(range(children))
    found = {index for index, each in outcomes.items() if each["status"] != "completed"}
    assert found == set(failed), outcomes
    assert_tracked(study)
