"""Weights & Biases: what its files say, and what is refused before training."""

import logging
from pathlib import Path

import pytest
import wandb

from nasrunner.core import ConfigError
from nasrunner.core.errors import TrackingError
from nasrunner.trackers.wandb import Mode, WandbTracker
from tests.trackers.fakes import FAILED, FakeStudy
from tests.trackers.offline import WandbRun, read_offline


def tracker(mode: Mode = "offline", **changes: object) -> WandbTracker:
    settings = {"project": "toys", "entity": None, "close_timeout_s": 20.0, **changes}
    return WandbTracker(mode=mode, **settings)  # type: ignore[arg-type]  # as a YAML file has them


def runs(study: FakeStudy) -> dict[str, WandbRun]:
    """By what follows the study's name."""
    wandb.teardown()
    files = sorted((study.folder / "wandb").glob("offline-run-*/*.wandb"))
    found = [read_offline(path) for path in files]
    assert len({run.id for run in found}) == len(found)
    return {run.id.partition("-")[2]: run for run in found}


def test_a_study_is_a_group_of_runs_and_keeps_its_ids(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    ids = []
    for first, last in ((0, 2), (2, 4)):
        tracked = tracker()
        tracked.open(study.info, study.replay(), study.inspect)
        for index in range(first, last):
            study.record(tracked, index)
        tracked.close(study.summary())
        found = runs(study)
        ids.append({name: run.id for name, run in found.items()})
    assert ids[1].items() >= ids[0].items()
    assert {run.group for run in found.values()} == {f"fake {found[''].id}"}
    child = found["0001"]
    assert child.name == "0001 affine(2) → relu → affine(10) | 0.01"
    assert child.config["0/affine/units"] == 2
    assert child.config["hyperparameters/optimizer.lr"] == 0.01
    assert [(row["epoch"], row["val_loss"]) for row in child.history] == [
        (0, 1),
        (1, 0.5),
        (2, 1 / 3),
    ]
    assert (child.summary["reward"], child.summary["cost_s"]) == (1.0, 2.0)
    assert [found[f"{FAILED:04d}"].exit_code, child.exit_code] == [1, 0]
    whole = found[""]
    best = [(row["children"], row["best_reward"]) for row in whole.history if "best_reward" in row]
    assert best == [(1, 0.63), *((step, 1.0) for step in range(2, 5))]
    assert any("best_children/_type" in row for row in whole.history)
    assert "| 0001 | 1 | 101 |" in whole.notes
    assert whole.config["seed"] == 3


def test_disabled_records_nothing(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    tracked = tracker("disabled")
    tracked.open(study.info, study.state, study.inspect)
    study.record(tracked, 0)
    tracked.close(study.summary())
    tracked.retrained(study.info, [])
    assert not (study.folder / "wandb").exists()
    assert tracked.ui_command is None


def refuse(**_: object) -> bool:
    raise wandb.errors.AuthenticationError("Failed to verify:\nno route to host")


@pytest.mark.parametrize(
    ("login", "message"),
    [
        (
            lambda **_: False,
            r"needs an API key of Weights & Biases: `wandb login` or WAND",
        ),
        (refuse, r"does not answer, or does not know you \(Failed to verify: no route to host\)"),
    ],
)
def test_online_without_a_key_or_a_network_is_refused_in_one_sentence(
    login: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wandb.login", login)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    study = FakeStudy(tmp_path / "study")
    with pytest.raises(ConfigError, match=f"{message}.*; tracker.mode=offline writes"):
        tracker("online").open(study.info, study.state, study.inspect)
    assert list(study.folder.iterdir()) == []
    (study.folder / "wandb").mkdir()
    (study.folder / "wandb" / "nasrunner.jsonl").write_text('\n{"study": "abc"}')
    with pytest.raises(TrackingError, match=message):
        tracker("online").retrained(study.info, [])


def test_a_project_that_takes_no_runs_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_run(**_: object) -> None:
        raise wandb.errors.CommError("permission denied")

    monkeypatch.setattr("wandb.login", lambda **_: True)
    monkeypatch.setattr("wandb.init", refuse_run)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    study = FakeStudy(tmp_path / "study")
    with pytest.raises(ConfigError, match=r"tracker.project=toys, .* \(permission denied\); track"):
        tracker("online").open(study.info, study.state, study.inspect)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"project": ""}, "tracker.project must be a name"),
        ({"close_timeout_s": -1}, "tracker.close_timeout_s must be >= 0, got -1"),
    ],
)
def test_settings_that_are_not_legal_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tracker(**changes)  # type: ignore[arg-type]


def test_what_fails_is_tried_again_and_told_with_how_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(**_: object) -> None:
        raise wandb.errors.CommError("no route to host")

    study = FakeStudy(tmp_path / "study")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr("wandb.init", away)
        tracked = tracker(close_timeout_s=0.5)
        tracked.open(study.info, study.replay(), study.inspect)
        study.record(tracked, 0)
        tracked.close(study.summary())
    told = [record.getMessage() for record in caplog.records if "Weights" in record.getMessage()]
    assert told[0] == "Weights & Biases cannot be written, and is tried again: no route to host"
    assert f"resume={study.folder} writes the rest (no route to host)" in told[1]
    tracked = tracker()
    tracked.open(study.info, study.replay(), study.inspect)
    tracked.close(study.summary())
    assert sorted(runs(study)) == ["", "0000"]
