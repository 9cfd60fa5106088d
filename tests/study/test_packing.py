"""Studies of many children in few files; here "many" is more than two, and a group is of three."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from nasrunner import child
from nasrunner.compose.config import keeping_from
from nasrunner.compose.launch import run_study
from nasrunner.compose.saved import saved_config
from nasrunner.core import ConfigError, Outcome, Proposal, child_folder
from nasrunner.core.machine import child_packs
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.export.trained import find, read_weights
from nasrunner.recorded import read_study
from nasrunner.report.one_study import study_sections
from nasrunner.rescoring.measured import read_curve
from nasrunner.study.packing import Packing
from tests.children.studies import make_study
from tests.study.test_power_cut import saved_config_of


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_packs, "GROUP", 3)


def searched(folder: Path, *overrides: str, num_children: int = 5) -> dict[str, Any]:
    """The configuration of a study of the digits that has ended."""
    make_study(
        folder,
        "executor=serial",
        "searcher=random",
        "trainer.max_epochs=1",
        f"max_children={num_children}",
        *overrides,
    )
    config = saved_config_of(folder)
    run_study(config, folder)
    return config


def in_children(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "children"))


def ended(folder: Path, index: int) -> None:
    path = child_folder(folder, index)
    path.mkdir(parents=True)
    for name in ("proposal.json", "outcome.json"):
        (path / name).write_text(f"{index}")


def test_a_group_is_packed_once_all_of_it_have_ended_in_any_order(tmp_path: Path) -> None:
    packing = Packing(tmp_path, above=0)
    left = []
    for index in (1, 5, 0, 4, 2, 3):
        ended(tmp_path, index)
        packing.recorded(index)
        left.append(in_children(tmp_path))
    assert left[3] == ["0000", "0001", "0004", "0005"]
    assert left[4] == ["0000-0002.zip", "0004", "0005"]
    assert left[5] == ["0000-0002.zip", "0003-0005.zip"]


def test_nothing_is_packed_until_more_than_so_many_have_ended(tmp_path: Path) -> None:
    packing = Packing(tmp_path, above=7)
    for index in range(7):
        ended(tmp_path, index)
        packing.recorded(index)
    assert len(in_children(tmp_path)) == 7
    packing.recorded(7)  # which was never trained: it has no folder
    assert in_children(tmp_path) == ["0000-0002.zip", "0003-0005.zip", "0006"]


def test_a_resumed_study_packs_what_is_there_but_no_group_with_a_child_in_flight(
    tmp_path: Path,
) -> None:
    for index in range(8):
        ended(tmp_path, index)
    Packing(tmp_path, above=7).resumed([0, 1, 2, 3, 5, 6, 7])
    assert len(in_children(tmp_path)) == 8
    packing = Packing(tmp_path, above=6)
    packing.resumed([0, 1, 2, 3, 5, 6, 7])
    assert in_children(tmp_path) == ["0000-0002.zip", "0003", "0004", "0005", "0006", "0007"]
    packing.recorded(4)
    assert in_children(tmp_path) == ["0000-0002.zip", "0003-0005.zip", "0006", "0007"]


def test_what_cannot_be_packed_is_told_once_and_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packing = Packing(tmp_path, above=0)
    for index in range(6):
        ended(tmp_path, index)
        (tmp_path / "children" / f"000{index // 3 * 3}-000{index // 3 * 3 + 2}.zip").mkdir(
            exist_ok=True
        )
        packing.recorded(index)
    assert len(list(tmp_path.glob("children/*/outcome.json"))) == 6
    (record,) = caplog.records
    assert record.getMessage().startswith("the small files of children could not be packed: ")


@pytest.mark.parametrize("value", [-1, 1.5, "all", True])
def test_an_illegal_number_is_refused(tmp_path: Path, value: object) -> None:
    config = {"keep_weights": "all", "pack_children_above": value}
    with pytest.raises(ConfigError, match=r"pack_children_above must be int >= 0 or null, got"):
        keeping_from(config, tmp_path)


@pytest.mark.slow
def test_a_study_that_is_packed_is_shown_exported_and_resumed_as_before(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "study"
    config = searched(folder, "keep_weights=best:1")
    assert in_children(folder) == ["0000", "0001", "0002", "0003", "0004"]
    study = read_study(folder)
    curves = [read_curve(each) for each in study.children]
    titles = [section.title for section in study_sections(study)]
    best = study.best(1)[0].proposal.index

    run_study({**config, "pack_children_above": 2}, folder)
    kept = [f"{best:04d}"] if best < 3 else []
    assert in_children(folder) == sorted(["0000-0002.zip", *kept, "0003", "0004"])
    study = read_study(folder)
    assert [read_curve(each) for each in study.children] == curves
    assert all(len(curve) == 1 for curve in curves)
    assert [section.title for section in study_sections(study)] == titles
    trained = find(str(folder), None)
    assert trained.folder == child_folder(folder, best)
    weights = read_weights(trained)
    assert weights is not None
    trained.build(trained.frozen)[0].load_state_dict(weights.state)
    without = 0 if best else 1
    other = find(str(child_folder(folder, without)), None)
    assert other.proposal == study.children[without].proposal
    assert other.record("outcome.json")["reward"] == study.children[without].outcome.reward
    assert read_weights(other) is None
    assert other.kept_by == "keep_weights=best:1"

    run_study({**config, "pack_children_above": 2, "max_children": 6}, folder)
    assert {"0000-0002.zip", "0003-0005.zip"} <= set(in_children(folder))
    assert len(in_children(folder)) == 3  # and the best one's weights


def test_a_packed_child_is_trained_again_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    settings = ("keep_weights=none", "pack_children_above=2", "trainer.checkpoint=all")
    config = searched(folder, *settings, num_children=3)
    assert in_children(folder) == ["0000-0002.zip"]
    before = read_study(folder).children[1]
    monkeypatch.setattr(sys, "argv", ["nasrunner.child", str(child_folder(folder, 1))])
    with pytest.raises(SystemExit) as end:
        child.main()
    assert end.value.code == 0
    assert {"proposal.json", "outcome.json", "best.ckpt"} <= set(os.listdir(before.folder))
    again = ChildFolder(before.folder).outcome(before.proposal)
    assert isinstance(again, Outcome)
    assert again.reward == before.outcome.reward
    run_study({**config, "max_children": 4}, folder)
    assert in_children(folder) == ["0000-0002.zip", "0001", "0003"]
    assert ChildFolder(before.folder).outcome(before.proposal) == again


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own
@pytest.mark.slow
def test_mlflow_gets_what_it_missed_from_the_pack(tmp_path: Path) -> None:
    folder, uri = tmp_path / "study", f"sqlite:///{tmp_path}/mlflow.db"
    config = searched(folder, "pack_children_above=2", num_children=3)
    assert in_children(folder) == ["0000", "0000-0002.zip", "0001", "0002"]
    assert os.listdir(folder / "children" / "0000") == ["best.ckpt"]
    texts = [ChildFolder.of(folder, index).text("config.yaml") for index in range(3)]
    tracker = {
        "_target_": "nasrunner.trackers.mlflow.tracker.MlflowTracker",
        "tracking_uri": uri,
        "experiment": "packed",
        "artifact_uri": str(tmp_path / "artifacts"),
        "poll_s": 5,
        "max_waiting": 256,
        "close_timeout_s": 60,
    }
    run_study({**config, "tracker": tracker}, folder)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("packed")
    runs = client.search_runs([experiment.experiment_id], "tags.`nasrunner.kind` = 'child'")
    assert len(runs) == 3
    for run in runs:
        index = int(run.data.tags["nasrunner.index"])
        place = Path(run.info.artifact_uri.removeprefix("file://"))
        assert (place / "config.yaml").read_text() == texts[index]
        assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 1


def test_the_packed_outcome_of_another_architecture_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    searched(folder, "pack_children_above=2", num_children=3)
    place = ChildFolder.of(folder, 0)
    assert place.outcome(read_study(folder).children[0].proposal) is not None
    assert place.outcome(Proposal(0, {"of": 7})) is None
    assert saved_config(folder)["pack_children_above"] == 2
