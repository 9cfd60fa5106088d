"""TensorBoard's event files: what its own readers find in them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.util.tensor_util import make_ndarray

from nasrunner.core import ConfigError, Outcome
from nasrunner.core.tracking import RetrainedNetwork
from nasrunner.trackers.tensorboard import TensorBoardTracker
from tests.trackers import lineages
from tests.trackers.fakes import FAILED, FakeStudy

Points = list[tuple[int, float]]


def opened(study: FakeStudy) -> TensorBoardTracker:
    tracker = TensorBoardTracker()
    tracker.open(study.info, study.replay(), study.inspect)
    return tracker


def run(study: FakeStudy, name: str) -> Any:
    return EventAccumulator(str(study.folder / "tensorboard" / name)).Reload()


def points(found: Any, tag: str) -> Points:
    return [(each.step, float(make_ndarray(each.tensor_proto))) for each in found.Tensors(tag)]


def hparams(found: Any) -> dict[str, Any]:
    content = found.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    known = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in known.items()}


def test_a_childs_run_has_its_curves_figures_and_decisions(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    tracker = opened(study)
    for index in range(9):
        study.record(tracker, index)
    child = run(study, "0008")
    assert points(child, "val_loss") == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert points(child, "reward") == [(2, pytest.approx(0.56))]
    assert points(child, "flops") == [(2, 7.0)]
    chosen = {"0/affine/units": 9.0, "hyperparameters/optimizer.lr": 0.1}
    assert hparams(child).items() >= {**chosen, "nasrunner.status": "completed"}.items()
    (text,) = child.Tensors("architecture")
    assert b"affine(units=9)" in text.tensor_proto.string_val[0]
    failed = run(study, f"{FAILED:04d}")
    assert hparams(failed)["nasrunner.status"] == "failed"
    assert "reward" not in failed.Tags()["tensors"]


def test_the_studys_curve_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    tracker = opened(study)
    for index in range(4):
        study.record(tracker, index)
    (file,) = (study.folder / "tensorboard" / "study").iterdir()
    file.write_bytes(file.read_bytes()[:-5])  # in the point of child 3
    tracker = opened(study)
    study.record(tracker, 4)
    tracker.close(study.summary())
    study.replay()
    opened(study).close(study.summary())
    found = run(study, "study")
    best = [0.63, 1.0, 1.0, 1.0, 1.0]
    assert points(found, "best_reward") == [
        (step, pytest.approx(reward)) for step, reward in enumerate(best, start=1)
    ]
    notes = [each.tensor_proto.string_val[0].decode() for each in found.Tensors("study")]
    assert ["| 0001 | 1 | 101 |" in note for note in notes] == [False, True]


def test_trainings_that_go_on_have_one_curve(tmp_path: Path) -> None:
    study = lineages.LineageStudy(tmp_path / "study")
    tracker = TensorBoardTracker()
    tracker.open(study.info, study.state, study.inspect)
    for index in range(lineages.NUM):
        study.record(tracker, index)
    line = run(study, f"{lineages.ROOT:04d}")
    assert [step for step, _ in points(line, "val_loss")] == [0, 1, 2]
    rewards = [(e, pytest.approx(i / 100)) for e, i in enumerate((4, 7, 9))]
    assert points(line, "reward") == rewards


def test_a_network_that_is_retrained_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    tracker = opened(study)
    outcome = Outcome(study.proposal(0), "completed", metrics={"test_accuracy": 0.5}, cost_s=1.0)
    name, facts = "0000-seed0", {"child": "0", "seed": "3"}
    folder = study.folder / "retrained" / name
    first = RetrainedNetwork("retrained", name, folder, outcome, None, 1.7e9, {}, facts)
    tracker.retrained(study.info, [first])
    tracker.retrained(study.info, [dataclasses.replace(first, ended_s=1.8e9)])
    (file,) = (study.folder / "tensorboard" / "retrained" / name).iterdir()
    assert file.name.endswith(".1800000000.0")
    assert points(run(study, f"retrained/{name}"), "test_accuracy") == [(0, 0.5)]


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'nasrunner\[tensorboard\]'"):
        TensorBoardTracker()
