"""The command ``nasrunner-retrain`` as a user types it, in this process; bad input above all."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from nasrunner.recorded import find_studies
from nasrunner.report.comparison.groups import groups
from nasrunner.report.comparison.tested import scores_sections
from nasrunner.retrain import run
from tests.retrain.conftest import run_study

Retrain = Callable[..., None]
NETWORKS = ("0000-seed0", "0000-seed1", "0001-seed0", "0001-seed1")


def folders(study: Path) -> list[str]:
    return sorted(path.parent.name for path in (study / "retrained").glob("*/tested.json"))


def stamps(study: Path) -> dict[str, int]:
    found = (study / "retrained").glob("*/*.json")
    return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in found}


def test_the_best_are_trained_tested_and_compared_with_scikit_learn(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", "top=2", "seeds=2", "trainer.max_epochs=2")
    assert folders(study) == [*NETWORKS, "mlp_classifier-seed0", "mlp_classifier-seed1"]
    record = json.loads((study / "retrained" / "retrain.json").read_text())
    best, second, sklearn = record["architectures"]
    assert [row["name"] for row in (best, second, sklearn)] == ["0001", "0000", "mlp_classifier"]
    assert best["reward"] > second["reward"]
    assert best["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert sklearn["parameters"] == 64 * 100 + 100 + 100 * 10 + 10
    assert sklearn["metrics"]["test_accuracy"]["mean"] > 0.95
    values = best["metrics"]["test_accuracy"]["values"]
    assert values[0] != values[1]
    tested = json.loads((study / "retrained" / NETWORKS[0] / "tested.json").read_text())
    assert (tested["examples"], tested["weights"], tested["epoch"]) == (360, "last.ckpt", 1)
    out = capsys.readouterr().out
    assert "Trained on train and validation, tested once each on 360 examples" in out


def test_a_second_run_neither_trains_nor_tests_and_says_the_same(
    retrain: Retrain,
    study: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = (f"from={study}", "top=1", "seeds=2", "mlp_classifier=false", "on=train")
    retrain(*given)
    before, table = stamps(study), capsys.readouterr().out.split("Trained on")[1]
    with monkeypatch.context() as patch:
        patch.setattr(run, "construct", None)  # no executor is needed
        retrain(*given)
    out = capsys.readouterr().out
    assert "2 networks, 2 of them done before" in out
    assert out.split("Trained on")[1] == table
    assert stamps(study) == before
    retrain(*given[:2], "seeds=3", *given[3:])
    assert folders(study) == ["0001-seed0", "0001-seed1", "0001-seed2"]
    assert before.items() <= stamps(study).items()


@pytest.mark.slow
def test_the_chosen_child_of_each_study_of_a_sweep_is_tested_once(
    retrain: Retrain, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "multirun.yaml").touch()
    for seed in range(3):
        folder = Path(shutil.copytree(study, sweep / str(seed)))
        first, *rest = (folder / "ledger.jsonl").read_text().splitlines(keepends=True)
        header = json.dumps({**json.loads(first), "seed": seed}) + "\n"
        ended = rest if seed < 2 else rest[:-1]
        (folder / "ledger.jsonl").write_text("".join([header, *ended]))
    retrain(f"from={sweep}")
    assert [folders(sweep / each) for each in "012"] == [["0001-seed0"], ["0001-seed0"], []]
    shown = capsys.readouterr()
    assert f"left out: {sweep / '2'} has not ended" in shown.err
    assert f"nasrunner-report from={sweep}" in shown.out
    before = [stamps(sweep / each) for each in "01"]
    retrain(f"from={sweep}")
    assert [stamps(sweep / each) for each in "01"] == before
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        retrain(f"from={sweep}", "folder=x")
    assert "folder= is for one study: those of a sweep have" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        retrain(f"from={sweep}", "data=digits")
    told = capsys.readouterr().err
    assert f"left out: {sweep / '0'}: data=digits is what the study searched on" in told
    assert f"{sweep} holds no study that has ended with a reward and can be retrained so" in told
    studies = find_studies([sweep])
    (section,) = scores_sections(groups(studies, "settings"), {})
    (row,) = section.parts[0].rows
    scores = [
        json.loads((sweep / each / "retrained/0001-seed0/tested.json").read_text())["metrics"]
        for each in "01"
    ]
    values = [each["test_accuracy"] for each in scores]
    assert row[1] == 2
    assert row[3] == pytest.approx(sum(values) / 2)


@pytest.mark.slow
def test_networks_of_other_settings_are_not_mixed(
    retrain: Retrain, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (f"from={study}", "top=1", "seeds=1", "mlp_classifier=false")
    retrain(*given)
    before = stamps(study)
    for change, message in (
        ("trainer.max_epochs=2", r"with trainer.max_epochs=1, not 2: give folder= another one"),
        ("on=train", r"with on=train_and_validation, not train: give folder= another one"),
    ):
        with pytest.raises(SystemExit):
            retrain(*given, change)
        assert re.search(message, capsys.readouterr().err)
    retrain(*given, "on=train", f"folder={tmp_path / 'other'}", "data.eval_batch_size=100")
    assert (tmp_path / "other" / "0001-seed0" / "best.ckpt").is_file()
    assert stamps(study) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["from=nowhere"], "nowhere is no study's folder: it needs config.yaml and ledger.jsonl"),
        (["top=3"], "top=3 is more than the 2 different architectures with a reward in"),
        (["top=2", "seed=3"], "seed cannot change when a network is retrained"),
        (["top=2", "trainer.max_epochs=abc"], "trainer.max_epochs must be int or null, got 'abc'"),
        (["top=2", "optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["top=2", "executor.threads=0"], r"executor.threads must be int in \[1, 1024\], got 0"),
        (["top=2", "on=train", "trainer.checkpoint=none"], "checkpoint=none keeps no weights"),
        (["top=2", "scheduler=plateau"], "scheduler.monitor=val_loss is not measured with on="),
        (
            ["top=2", "optimizer=sdg"],
            r"there is no optimizer=sdg, did you mean 'sgd'\? Legal: adam, adamw, sgd$",
        ),
        (["top=2", "optimizer.lr=[1"], r"optimizer.lr=\[1 cannot be read: legal are"),
        (["from=runs:/1", "tracking_uri=sqlite:///no.db"], "there is no file .*no.db"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_before_any_training(
    retrain: Retrain,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as exit_:
        retrain(f"from={finished}", *arguments)
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("nasrunner-retrain: ")
    assert error.count("\n") == 1
    assert re.search(message, error.strip()), error
    assert not (finished / "retrained").exists()


def test_a_study_of_a_table_has_nothing_to_retrain(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = study / "config.yaml"
    text = config.read_text()
    table = text.replace("lightning.LightningTrainer", "tabular.TabularTrainer")
    assert table != text
    config.write_text(table)
    with pytest.raises(SystemExit):
        retrain(f"from={study}", "top=1")
    assert "searched a table: nothing was trained in it" in capsys.readouterr().err


def test_a_study_whose_children_all_failed_has_nothing_to_retrain(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = study / "ledger.jsonl"
    events = [json.loads(line) for line in ledger.read_text().splitlines()]
    for event in events:
        if event["event"] == "outcome":
            event.update(status="failed", reward=None, error="it broke")
    ledger.write_text("".join(json.dumps(event) + "\n" for event in events))
    with pytest.raises(SystemExit):
        retrain(f"from={study}", "top=1")
    assert "has no child with a reward to retrain" in capsys.readouterr().err


def test_early_stopping_without_validation_examples_is_left_out_with_a_warning(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain(f"from={study}", "top=1", "seeds=1", "mlp_classifier=false", "trainer.stop_patience=0")
    assert "warning: trainer.stop_patience=0 is left out" in capsys.readouterr().out


def test_a_share_of_the_data_is_left_out_where_all_examples_are_trained_on_and_it_is_written(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = study / "config.yaml"
    config.write_text(config.read_text().replace("train_share: 1.0", "train_share: 0.3"))
    given = (f"from={study}", "top=1", "seeds=1", "mlp_classifier=false")
    said = "warning: data.train_share=0.3 is left out: with on=train_and_validation networks are"
    retrain(*given)
    assert said in capsys.readouterr().out
    settings = study / "retrained" / "retrain.yaml"
    network = study / "retrained" / "0001-seed0" / "config.yaml"
    assert [share_in(path) for path in (settings, network)] == [1.0, 1.0]
    settings.write_text(settings.read_text().replace("train_share: 1.0", "train_share: 0.3"))
    retrain(*given)  # as earlier versions wrote it
    assert "1 of them done before" in capsys.readouterr().out
    kept = study.parent / "kept"
    retrain(*given, "on=train", f"folder={kept}")
    assert "train_share" not in capsys.readouterr().out
    written = (kept / "retrain.yaml", kept / "0001-seed0" / "config.yaml")
    assert [share_in(path) for path in written] == [0.3, 0.3]


def share_in(path: Path) -> float:
    return float(OmegaConf.load(path).data.train_share)


def test_a_network_that_breaks_is_told_and_the_exit_code_says_so(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        retrain(f"from={study}", "top=1", "seeds=1", "mlp_classifier=false", "optimizer.lr=1e30")
    assert exit_.value.code == 1
    out = capsys.readouterr().out
    assert re.search(r"1/1  0001-seed0  failed: FloatingPointError: train_loss is (nan|inf)", out)
    assert "0 (1 failed)" in out


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help_says_how(
    retrain: Retrain, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    retrain(*arguments)
    assert "nasrunner-retrain from=outputs/STUDY/TIME top=3 seeds=3" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_gets_each_network_once_and_keeps_the_children(
    retrain: Retrain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient

    quick = ("executor=serial", "trainer.max_epochs=1", "space.concat=[{affine:{units:10}}]")
    study = run_study(tmp_path, monkeypatch, *quick)
    known = json.loads((study / "mlflow.json").read_text())
    client = MlflowClient(f"sqlite:///{tmp_path / 'outputs' / 'mlflow.db'}")

    def runs(kind: str) -> list[dict[str, str]]:
        found = client.search_runs([known["experiment_id"]], f"tags.`nasrunner.kind` = '{kind}'")
        return [{**run.data.tags, **run.data.metrics} for run in found]

    given = ("top=1", "mlp_classifier=false")
    with monkeypatch.context() as patch:
        patch.setattr("nasrunner.trackers.mlflow.tracker.write_retrained", lambda *_: 1 / 0)
        retrain(f"from={study}", *given, "seeds=1")
    assert "warning: the tracker lacks these networks" in capsys.readouterr().out
    for _ in range(2):
        retrain(f"from=runs:/{known['run_id']}", *given, "seeds=2")
    retrained = runs("retrained")
    assert sorted(run["nasrunner.network"] for run in retrained) == ["0000-seed0", "0000-seed1"]
    tested = json.loads((study / "retrained" / "0000-seed0" / "tested.json").read_text())
    (first,) = (run for run in retrained if run["nasrunner.network"] == "0000-seed0")
    assert first["mlflow.parentRunId"] == known["run_id"]
    assert first["test_accuracy"] == pytest.approx(tested["metrics"]["test_accuracy"])
    assert len(runs("child")) == 1
    assert all("nasrunner.index" not in run for run in retrained)
    assert all("nasrunner.other_data" not in run for run in retrained)
    np.savez(tmp_path / "own.npz", x=np.random.default_rng(0).normal(size=(60, 64)), y=[0, 1] * 30)
    elsewhere = (*given, "seeds=1", "data=arrays", f"data.path={tmp_path / 'own.npz'}")
    retrain(f"from={study}", *elsewhere)
    (last,) = (each for each in runs("retrained") if each not in retrained)
    assert last["nasrunner.network"] == "arrays/0000-seed0"
    assert last["nasrunner.other_data"] == "arrays"


def test_the_best_by_another_reward_are_trained_in_a_folder_of_their_own(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (f"from={study}", "top=1", "seeds=1", "mlp_classifier=false")
    retrain(*asked, "reward=flops")
    record = json.loads((study / "retrained-rescored" / "retrain.json").read_text())
    assert [each["name"] for each in record["architectures"]] == ["0000"]  # of fewer units
    assert record["architectures"][0]["reward"] < -1
    assert record["metric"] == "test_accuracy"
    assert not (study / "retrained").exists()
    told = " ".join(capsys.readouterr().out.split())
    assert "Rewards are re-scored: −flops. The search itself was driven by val_accuracy" in told
    with pytest.raises(SystemExit, match="2"):
        retrain(*asked, "reward=val_loss")
    assert "retrained-rescored" in capsys.readouterr().err
