"""TensorBoard's event files: what its own readers find in them."""

import dataclasses
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a full disk, the first bytes beyond are not written, nor those after them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_full_disk_cuts_off_is_written_again(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    tracker = opened(study)
    study.record(tracker, 0)
    (file,) = (study.folder / "tensorboard" / "study").iterdir()
    before, summary = file.read_bytes(), study.summary()
    with files_no_larger_than(len(before) + 20):
        tracker.close(summary)
    assert file.read_bytes() == before
    study.record(tracker, 1)
    tracker.close(summary)
    found = run(study, "study")
    assert [step for step, _ in points(found, "best_reward")] == [1, 2]
    assert len(found.Tensors("study")) == 2


def test_a_trial_is_another_in_each_study(tmp_path: Path) -> None:
    groups = set()
    for name in "ab":
        study = FakeStudy(tmp_path / name)
        study.record(opened(study), 0)
        content = run(study, "0000").PluginTagToContent("hparams")
        started = content[metadata.SESSION_START_INFO_TAG]
        groups.add(metadata.parse_session_start_info_plugin_data(started).group_name)
    assert len(groups) == 2


def test_the_last_validation_of_an_epoch_is_its_point(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    study.run_child(0)
    lines = [
        {"epoch": step // 2, "step": step, "time": 1.7e9 + step, "val_loss": step / 4}
        for step in range(4)
    ]
    curves = study.folder / "children" / "0000" / "curves.jsonl"
    curves.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    study.append(study.outcome(0))
    opened(study)
    assert points(run(study, "0000"), "val_loss") == [(0, 0.25), (1, 0.75)]


def test_estimates_are_numbered_by_their_arrival_in_whatever_session(tmp_path: Path) -> None:
    study = lineages.LineageStudy(tmp_path / "study")
    tracker = opened(study)
    study.record(tracker, 2)
    tracker = opened(study)
    study.record(tracker, 1)
    tracker.close(study.summary())
    opened(study).close(study.summary())
    estimates = points(run(study, "study"), "estimate")
    assert estimates == [(1, pytest.approx(0.02)), (2, pytest.approx(0.01))]


def test_the_command_shows_a_baseline_too(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    assert f"tensorboard --logdir {study.folder}\n" in str(opened(study).ui_command)


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
