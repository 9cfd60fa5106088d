"""Architectures that were found on one data set and are trained on another one."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nasrunner.core import ConfigError
from nasrunner.export.trained import find
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.retrain.request import parse
from nasrunner.retrain.retrain_folder import RetrainFolder
from nasrunner.retrain.training import network
from nasrunner.retrain.training.other_data import SameDataError, _check_is_other
from nasrunner.retrain.training.rebuilt import rebuilt
from nasrunner.show_space import found_space
from tests.retrain.conftest import QUICK, run_study

Retrain = Callable[..., None]
QUICKLY = ("top=1", "seeds=1", "trainer.max_epochs=1", "executor=serial", "tracker=none")


def arrays(path: Path, side: int = 6, num_classes: int = 4) -> Path:
    """Writes 80 small images of a few classes."""
    rng = np.random.default_rng(side)
    y = np.arange(80) % num_classes
    x = rng.normal(size=(80, 1, side, side)) + y[:, None, None, None]
    np.savez(path, x=x.astype("float32"), y=y)
    return path


def at(path: Path) -> tuple[str, str]:
    """The overrides that choose these arrays."""
    return ("data=arrays", f"data.path={path}")


def trained_record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "retrain.json").read_text())
    return found


def test_networks_end_in_the_outputs_of_other_data_and_say_what_these_are(
    retrain: Retrain, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (f"from={study}", *QUICKLY, *at(arrays(tmp_path / "own.npz")))
    retrain(*given, "data.batch_size=16")
    out = capsys.readouterr().out
    assert "train and validation of arrays, tested once each on 16 examples" in out
    assert "reward in the search" in " ".join(out.split())
    place = study / "retrained-arrays"
    record = trained_record(place)
    (best, sklearn) = record["architectures"]
    assert (record["other_data"], best["name"], sklearn["name"]) == (
        *("arrays", "0001"),
        "mlp_classifier",
    )
    assert best["parameters"] == 36 * 8 + 8 + 8 * 4 + 4
    settings = yaml.safe_load((place / "retrain.yaml").read_text())
    assert (settings["other_data"], settings["data"]["in_shape"]) == ("arrays", [1, 6, 6])
    assert (settings["data"]["batch_size"], settings["data"]["num_outputs"]) == (16, 4)
    trained = find(str(place / "0001-seed0"), None)
    assert trained.other_data == "arrays"
    assert trained.frozen.text() == "affine(units=8) → relu → affine(units=4)"
    assert trained.in_shape == (1, 6, 6)
    assert not (study / "retrained").exists()
    retrain(*given, "data.batch_size=16")
    assert "2 networks, 2 of them done before" in capsys.readouterr().out
    for change in ("data.batch_size=8", f"data.path={arrays(tmp_path / 'other.npz', 7)}"):
        with pytest.raises(SystemExit):
            retrain(*given, change)
        assert "give folder= another one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=digits"], "data=digits is what the study searched on, and networks are tested on"),
        (["data=digits", "data.split_seed=3"], "data=digits is what the study searched on"),
        (["data=arrays"], "data.path must be given with data=arrays: data.path="),
        (["data=mnst"], "there is no data=mnst, did you mean 'mnist'"),
        (["data=mnist", "data.pad=4"], "there is no key 'data.pad', legal: batch_size, drop_last"),
        (["data=mnist", "task=regression"], "task cannot change when a network is retrained"),
        (["data=mnist", "start=child"], r"legal with data=… is start=scratch, as the papers"),
        (["data=mnist", "data.batch_size={oneof: [8, 16]}"], "data.batch_size is a decision"),
        (["data={_target_: mine.Data}"], "legal is one data=option"),
        (["data=mnist,cifar10", "folder=x"], "data=a,b have a folder each"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_trained_on_other_data_is_one_sentence(
    retrain: Retrain,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit):
        retrain(f"from={finished}", *QUICKLY, *arguments)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not list(finished.glob("retrained*"))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"_target_": "nasrunner.data.mnist.Mnist", "root": "a"}, {"root": "b"}),
        (
            {"_target_": "nasrunner.data.wine_quality.WineQuality", "colour": "both"},
            {"colour": "red"},
        ),
        ({"_target_": "mine.Data", "root": "a"}, {"root": "b"}),
        (
            {"_target_": "nasrunner.data.own.tables.CsvFile", "digest": "1", "path": "a"},
            {"path": "b"},
        ),
    ],
)
def test_other_parts_and_other_places_are_the_same_data(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    with pytest.raises(SameDataError, match="data=it is what the study searched on"):
        _check_is_other(before, {**before, **now}, "it")
    _check_is_other(before, {**before, "_target_": "mine.Other"}, "it")
    if "digest" in before:
        _check_is_other(before, {**before, "digest": "2"}, "it")
        unknown = {**before, "digest": None}
        _check_is_other(unknown, {**unknown, **now}, "it")


def test_data_of_another_task_or_with_no_use_for_a_network_are_refused(
    retrain: Retrain, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (f"from={finished}", *QUICKLY, *at(arrays(tmp_path / "own.npz")))
    for change, message in (
        ("data.target_kind=numbers", "target_kind=numbers does not go with the task, which wants"),
        (
            "space.concat.2.affine.units=9",
            r"data=arrays: child 0001 cannot be rebuilt for it: .* \(4,\)",
        ),
    ):
        with pytest.raises(SystemExit):
            retrain(*given, change)
        assert re.search(message, error := capsys.readouterr().err), error


def test_what_refers_to_the_data_follows_the_other_ones(study: Path, tmp_path: Path) -> None:
    """Also what is no number of outputs; where that is a decision's, nothing answers it."""
    given = at(arrays(tmp_path / "own.npz"))
    assert rebuilt(read_study(study), given).space.network.text().endswith("affine(units=4)")
    noted = study / ".hydra" / "config.yaml"
    raw = yaml.safe_load(noted.read_text())
    raw["space"]["concat"][0]["affine"]["units"]["oneof"][1] = "${data.in_shape.1}"
    raw["optimizer"]["eps"] = "${div:1}"  # nobody can resolve it, and it is left alone
    noted.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"were \[4, 8\] in the search and cannot be \[4, 6\]"):
        rebuilt(read_study(study), given)
    chosen = rebuilt(read_study(study), [*given, "space.concat.0.affine.units=6"])
    assert chosen.space.network.text() == "affine(units=6) → relu → affine(units=4)"
    raw["task"]["label_smoothing"] = "${data.mine}"
    raw["data"]["mine"] = 0.0
    noted.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=r"task.label_smoothing refers to \$\{data.mine\}, which"):
        rebuilt(read_study(study), given)


def test_references_of_a_strangers_study_are_not_resolved(study: Path, tmp_path: Path) -> None:
    (study / "config.yaml").write_text((study / "config.yaml").read_text().rpartition("# sig")[0])
    noted = study / ".hydra" / "config.yaml"
    raw = yaml.safe_load(noted.read_text())
    raw["space"]["concat"][0]["affine"]["units"]["oneof"][1] = "${data.in_shape.1}"
    noted.write_text(yaml.safe_dump(raw))
    found = rebuilt(read_study(study), at(arrays(tmp_path / "own.npz")))
    assert found.config["space"]["concat"][0]["affine"]["units"] == {"oneof": [4, 8]}
    assert found.space.network.text().endswith("affine(units=4)")


def test_each_of_several_data_sets_is_a_request_of_its_own() -> None:
    request = parse(["from=a", "data=mnist,cifar10", "data.batch_size=9"])
    assert [each.other_data for each in request.for_each_data()] == ["mnist", "cifar10"]
    assert [each.overrides[1] for each in request.for_each_data()] == ["data.batch_size=9"] * 2
    alone = parse(["from=a", "data.batch_size=9"])
    assert alone.for_each_data() == [alone]
    assert alone.other_data is None


def test_the_same_file_elsewhere_is_the_data_that_were_searched_on(
    recorded: RecordedStudy, tmp_path: Path
) -> None:
    first = rebuilt(recorded, at(arrays(tmp_path / "own.npz")))
    copy = Path(shutil.copy(tmp_path / "own.npz", tmp_path / "copy.npz"))
    with pytest.raises(ConfigError, match="data=arrays is what the study searched on"):
        rebuilt(first, at(copy))
    other = rebuilt(first, at(arrays(tmp_path / "other.npz", 5, 3)))
    assert other.space.network.text().endswith("affine(units=3)")


CELLS = """
concat:
- cell_stack:
    normal: &cell
      block_cell:
        blocks: 1
        inputs: distinct
        output: all
        operation: {or: [empty, {average_pool: {kernel_size: 3, stride: 1, padding: same}}]}
    reduction: *cell
    filters: 2
    times: 1
- global_pool
- affine: {units: "${data.num_outputs}"}
"""


@pytest.mark.slow
def test_a_cell_trains_on_other_data_as_it_does_when_written_as_a_space(
    retrain: Retrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf, path = tmp_path / "conf" / "space", arrays(tmp_path / "own.npz", 12)
    conf.mkdir(parents=True)
    (conf / "cells.yaml").write_text(CELLS)
    own = ("--config-dir", str(conf.parent))
    for name in ("search", "direct"):
        (tmp_path / name).mkdir()
    study = run_study(
        *(tmp_path / "search", monkeypatch, *own, *QUICK, "searcher=random", "max_children=2"),
        "space=cells",
    )
    (conf / "found.yaml").write_text(found_space(study, None))
    direct = run_study(
        *(tmp_path / "direct", monkeypatch, *own, *QUICK, "searcher=exhaustive", "space=found"),
        *(*at(path), "max_children=null"),
    )
    (child,) = read_study(direct).children
    seed = child.proposal.seed
    assert seed is not None
    monkeypatch.setattr(network, "repetition_seed", lambda *_: seed)
    monkeypatch.chdir(tmp_path)
    retrain(f"from={study}", *QUICKLY, *at(path), "on=train")
    (folder,) = (study / "retrained-arrays").glob("*-seed0")
    curves = [(each / "curves.jsonl").read_text() for each in (folder, child.folder)]
    losses = [json.loads(each.splitlines()[-1])["val_loss"] for each in curves]
    assert losses[0] == losses[1]
    assert find(str(folder), None).frozen.text() == find(str(child.folder), None).frozen.text()


def test_an_export_takes_a_class_that_this_user_has_trained_on(study: Path) -> None:
    """It names what the study's own configuration does not."""
    place = study / "retrained-mine"
    folder = Path(shutil.copytree(study / "children" / "0001", place / "0001-seed0"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["_target_"] = "mine.Data"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with RetrainFolder(place).locked():
        RetrainFolder(place).save({"data": config["data"], "other_data": "mine"})
    assert find(str(folder), None).other_data == "mine"
    settings = place / "retrain.yaml"
    settings.write_text(settings.read_text().replace("# signed", "# singed"))
    with pytest.raises(ConfigError, match=r"data\._target_ names 'mine\.Data', which could"):
        find(str(folder), None)
