"""``nasrunner-retrain grid=…`` as a user types it: stopped, killed, resumed, and its results."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from nasrunner.core import ConfigError
from nasrunner.data.digits import Digits
from nasrunner.export.trained import find
from nasrunner.recorded import study_folders
from nasrunner.retrain import run
from nasrunner.retrain.show import PointLines
from nasrunner.study.loop import Study
from tests.retrain.conftest import run_study

Retrain = Callable[..., None]
GRID = "grid={optimizer.lr: [1e-5, 0.02, 0.01], optimizer.weight_decay: [0, 0.001]}"
GIVEN = ("top=1", "seeds=1", "mlp_classifier=false", GRID)


class Killed(BaseException):
    """What kill -9 leaves behind, without the process's death."""


def outcomes(study: Path, child: str = "0001") -> list[dict[str, Any]]:
    ledger = study / "retrained" / "grid" / child / "ledger.jsonl"
    lines = ledger.read_text().splitlines() if ledger.is_file() else []
    return [event for event in map(json.loads, lines) if event["event"] == "outcome"]


def results(study: Path) -> dict[str, Any]:
    return dict(json.loads((study / "retrained" / "retrain.json").read_text()))


def files(study: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in study.rglob("*/children/*/outcome.json")}


def networks_of(study: Path) -> list[str]:
    return sorted(path.parent.name for path in study.glob("retrained/*/tested.json"))


def test_the_best_point_trains_the_network_that_is_tested(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", *GIVEN, "seeds=2")
    out = capsys.readouterr().out
    assert "6 points of the grid, then 2 networks: 8 trainings" in out
    assert re.search(r"6/6  0001/0005  reward 0\.\d+ .* optimizer\.lr=0\.01 optimizer\.weight", out)
    rewards = [event["reward"] for event in outcomes(study)]
    (grid,) = results(study)["grids"]
    best = rewards.index(max(rewards))
    assert best >= 2  # a rate of 1e-5 learns nothing in an epoch
    assert [point["reward"] for point in grid["points"]] == rewards
    assert (grid["best"], grid["num_points"]) == (best, 6)
    assert grid["settings"] == grid["points"][best]["settings"]
    assert grid["settings"]["optimizer.lr"] in (0.02, 0.01)
    for network in ("0001-seed0", "0001-seed1"):
        config = yaml.safe_load((study / "retrained" / network / "config.yaml").read_text())
        chosen = {f"optimizer.{key}": config["optimizer"][key] for key in ("lr", "weight_decay")}
        assert chosen == grid["settings"]
    header, first, _ = (study / "retrained" / "retrain.csv").read_text().splitlines()
    assert ",optimizer.lr,optimizer.weight_decay," in header
    assert f",{grid['settings']['optimizer.lr']}," in first
    assert "Grid of child 0001: 6 of 6 points" in out


def test_a_point_is_trained_as_in_the_search_and_the_test_is_read_after_all_of_them(
    retrain: Retrain, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []
    setup, test_dataloader = Digits.setup, Digits.test_dataloader

    def told(self: Digits, stage: str) -> None:
        read.append((stage, sum(len(outcomes(study, each)) for each in ("0000", "0001"))))
        setup(self, stage)

    def test_told(self: Digits) -> Any:
        read.append(("test", sum(len(outcomes(study, each)) for each in ("0000", "0001"))))
        return test_dataloader(self)

    monkeypatch.setattr(Digits, "setup", told)
    monkeypatch.setattr(Digits, "test_dataloader", test_told)
    retrain(f"from={study}", *GIVEN, "top=2")
    stages = [stage for stage, _ in read]
    assert stages.count("test") >= 2
    assert {num_points for stage, num_points in read if stage == "test"} == {12}
    assert all("val_accuracy" in event["metrics"] for event in outcomes(study))
    assert not any(name.startswith("test") for each in outcomes(study) for name in each["metrics"])
    assert not list((study / "retrained" / "grid").rglob("*.ckpt"))
    curves = study / "retrained" / "grid" / "0001" / "children" / "0000" / "curves.jsonl"
    num_steps = json.loads(curves.read_text().splitlines()[0])["step"]
    assert num_steps == -(-1150 // 32)  # 1,797 digits less 360 to test and 287 to validate


def test_a_second_run_trains_nothing_and_says_the_same(
    retrain: Retrain,
    study: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrain(f"from={study}", *GIVEN)
    before, table = files(study), capsys.readouterr().out.split("Grid of child 0001: ")[1]
    with monkeypatch.context() as patch:
        patch.setattr(run, "construct", None)  # no executor is needed
        retrain(f"from={study}", *GIVEN)
    out = capsys.readouterr().out
    assert "6 points of the grid (6 done before), then 1 network" in out
    assert out.split("Grid of child 0001: ")[1] == table
    assert files(study) == before
    retrain(f"from={study}", *GIVEN, "top=2", "seeds=2")
    assert networks_of(study) == ["0000-seed0", "0000-seed1", "0001-seed0", "0001-seed1"]
    assert before.items() <= files(study).items()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["before it is recorded", "after"])
def test_a_grid_that_was_killed_goes_on_as_if_it_had_not_been(
    retrain: Retrain, study: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    taken, take = [], Study.take

    def killed(self: Study, outcome: Any) -> None:
        taken.append(outcome)
        if len(taken) == 3 and where == "before it is recorded":
            raise Killed
        take(self, outcome)
        if len(taken) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Study, "take", killed)
        with pytest.raises(Killed):
            retrain(f"from={study}", *GIVEN)
    before = files(study)
    assert len(before) == 3
    assert networks_of(study) == []
    retrain(f"from={study}", *GIVEN)
    assert before.items() <= files(study).items()  # a point that had ended is not trained again
    retrain(f"from={study}", *GIVEN, f"folder={study / 'whole'}")
    whole = json.loads((study / "whole" / "retrain.json").read_text())
    for mine, other in zip(results(study)["grids"], whole["grids"], strict=True):
        assert [each["reward"] for each in mine["points"]] == [p["reward"] for p in other["points"]]
        assert mine["settings"] == other["settings"]
    assert results(study)["architectures"] == whole["architectures"]


def test_ctrl_c_ends_with_the_point_that_runs_and_tests_nothing(
    retrain: Retrain,
    study: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = PointLines.recorded

    def interrupted(self: PointLines, *outcome: Any) -> None:
        told(self, *outcome)
        if len(outcomes(study)) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(PointLines, "recorded", interrupted)
        with pytest.raises(SystemExit) as exit_:
            retrain(f"from={study}", *GIVEN, "top=2")
    assert exit_.value.code == 130
    assert "Interrupted: the same command goes on" in capsys.readouterr().out
    assert len(outcomes(study)) == 2
    assert not (study / "retrained" / "grid" / "0000").exists()
    (first, second) = results(study)["grids"]
    assert (len(first["points"]), first["settings"], second["points"]) == (2, None, [])
    assert networks_of(study) == []
    retrain(f"from={study}", *GIVEN, "top=2")
    assert networks_of(study) == ["0000-seed0", "0001-seed0"]


def test_a_point_that_fails_is_an_outcome_and_the_others_decide(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", *GIVEN[:-1], "grid={optimizer.lr: [1e30, 0.01]}", "on=train")
    assert [each["status"] for each in outcomes(study)] == ["failed", "completed"]
    assert results(study)["grids"][0]["settings"] == {"optimizer.lr": 0.01}
    assert (study / "retrained" / "0001-seed0" / "best.ckpt").is_file()  # on=train
    assert "1/2  0001/0000  failed: FloatingPointError" in capsys.readouterr().out


def test_where_every_point_fails_nothing_is_tested_and_the_exit_code_says_so(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        retrain(f"from={study}", *GIVEN[:-1], "grid={optimizer.lr: [1e30]}")
    assert exit_.value.code == 1
    told = "child 0001 is not trained: no point of its grid has a reward"
    assert told in capsys.readouterr().out
    assert networks_of(study) == []


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{optimizer.lr: [0.1, -1]}", r"Invalid learning rate: -1 \(with optimizer.lr=-1 of the"),
        ("{optimizer.weight_decay: [0, -1]}", r"Invalid weight_decay value: -1 \(with optimizer"),
        ("{trainer.batch_norm_epsilon: [1, 0]}", "must be float > 0 or null, got 0 "),
        ("{trainer.devices: [1, 2]}", "tests each network on one device, not with .*devices=2"),
        ("{trainer.checkpoint: [best, nune]}", "trainer.checkpoint=nune"),
        ("nasrll", r"there is no grid=nasrll, did you mean 'nasrl'\?"),
        ("{optimizer.lr: [1", "nasrunner-retrain: .*"),
        (
            "{scheduler: [{_target_: torch.optim.lr_scheduler.MultiStepLR, _partial_: true, "
            "milestones: [0]}]}",
            "scheduler.milestones must be epochs >= 1, got 0",
        ),
        (
            "{scheduler: [{_target_: nasrunner.children.settings.schedulers.Plateau, "
            "_partial_: true, "
            "monitor: val_loss, mode: min, factor: 0.1, patience: 1, threshold: 0, cooldown: 0, "
            "min_lr: 0}]}",
            "scheduler.monitor=val_loss is not measured with on=train_and_validation",
        ),
    ],
)
def test_bad_input_is_one_sentence_before_any_training(
    retrain: Retrain,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    grid: str,
    message: str,
) -> None:
    with pytest.raises(SystemExit) as exit_:
        retrain(f"from={finished}", *GIVEN[:-1], f"grid={grid}")
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (finished / "retrained").exists()


def test_what_only_the_points_need_is_tried_before_anything_is_written(
    retrain: Retrain, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("trainer.stop_patience=1", "trainer.limit_val_batches=0")
    with pytest.raises(SystemExit):
        retrain(f"from={finished}", *GIVEN, *changes)
    told = capsys.readouterr()
    assert "trainer.stop_patience=1 is left out, but for the points of the grid: with" in told.out
    assert "trainer.limit_val_batches=0 leaves no validation example" in told.err
    assert not (finished / "retrained").exists()


def test_grids_and_architectures_are_not_mixed(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", *GIVEN[:-1], "grid={optimizer.lr: [0.01]}")
    for change, message in (
        ("grid={optimizer.lr: [0.02]}", r"with grid.optimizer.lr=\[0.01\], not \[0.02\]: give fol"),
        ("trainer.max_epochs=3", r"with trainer.max_epochs=1, not 3"),
    ):
        with pytest.raises(SystemExit):
            retrain(f"from={study}", *GIVEN[:-1], "grid={optimizer.lr: [0.01]}", change)
        assert re.search(message, capsys.readouterr().err)
    known = study / "retrained" / "grid" / "0001" / "proposal.json"
    other = {**json.loads(known.read_text()), "genotype": {"0/affine/units": 0}}
    known.write_text(json.dumps(other))
    with pytest.raises(SystemExit):
        retrain(f"from={study}", *GIVEN[:-1], "grid={optimizer.lr: [0.01]}")
    assert "holds the grid of another architecture" in capsys.readouterr().err


def test_neither_a_report_nor_an_export_takes_a_grid_for_a_search(
    retrain: Retrain, study: Path
) -> None:
    retrain(f"from={study}", *GIVEN[:-1], "grid={optimizer.lr: [0.01]}")
    assert (study / "retrained" / "grid" / "0001" / "ledger.jsonl").is_file()
    assert study_folders([study]) == [study]
    with pytest.raises(ConfigError, match=r"is a point of a grid, whose weights are not kept"):
        find(str(study / "retrained" / "grid" / "0001" / "children" / "0000"), None)


def test_points_that_differ_in_nothing_are_told_before(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = (
        "grid={trainer.batch_norm_epsilon: [0.1], scheduler: [{_target_: "
        "torch.optim.lr_scheduler.MultiStepLR, _partial_: true, milestones: [4]}]}"
    )
    retrain(f"from={study}", *GIVEN[:-1], grid)
    out = capsys.readouterr().out.split("1 point of the grid")[0]
    assert "ends training before scheduler.milestones [[4]]" in out
    assert "child 0001 has no batch normalization" in out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_gets_each_point_once_with_its_settings(
    retrain: Retrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    quick = ("executor=serial", "trainer.max_epochs=1", "space.concat=[{affine:{units:10}}]")
    study = run_study(tmp_path, monkeypatch, *quick)
    known = json.loads((study / "mlflow.json").read_text())
    client = MlflowClient(f"sqlite:///{tmp_path / 'outputs' / 'mlflow.db'}")
    for seeds in (1, 2):
        retrain(f"from={study}", *GIVEN, f"seeds={seeds}")
    found = {
        kind: client.search_runs([known["experiment_id"]], f"tags.`nasrunner.kind` = '{kind}'")
        for kind in ("grid", "retrained")
    }
    points = {run.data.tags["nasrunner.network"]: run for run in found["grid"]}
    assert len(points) == len(found["grid"]) == 6
    assert len(found["retrained"]) == 2
    best = max(points.values(), key=lambda run: float(run.data.metrics["reward"]))
    rate = "hyperparameters/optimizer.lr"
    assert {run.data.params[rate] for run in points.values()} == {"1e-05", "0.02", "0.01"}
    assert all(run.data.params[rate] == best.data.params[rate] for run in found["retrained"])
    parents = {run.data.tags["mlflow.parentRunId"] for each in found.values() for run in each}
    assert parents == {known["run_id"]}
