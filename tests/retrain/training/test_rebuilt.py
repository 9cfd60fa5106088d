"""Networks that are retrained with other values than they were searched with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from nasrunner.core import ConfigError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.export.trained import find
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.retrain.request import parse
from nasrunner.retrain.training.rebuilt import carried, rebuilt
from tests.retrain.conftest import QUICK, run_study

Retrain = Callable[..., None]
STACK = "space.concat.0.cell_stack"
QUICKLY = ("top=1", "seeds=1", "trainer.max_epochs=1", "executor=serial", "tracker=none")


def test_fixed_values_change_and_answers_stay(recorded: RecordedStudy) -> None:
    found = rebuilt(recorded, ["space.concat.2.affine.units=20", "trainer.max_epochs=3"])
    assert found.space.freeze({"0/affine/units": 1}).text() == (
        "affine(units=8) → relu → affine(units=20)"
    )
    assert {**found.config, "space": None} == {**recorded.config, "space": None}
    assert rebuilt(recorded, ["trainer.max_epochs=3"]) is recorded


def test_a_decision_may_become_a_fixed_value(recorded: RecordedStudy) -> None:
    found = rebuilt(recorded, ["space.concat.0.affine.units=32"])
    assert found.space.size() == 1
    assert carried({"0/affine/units": 1}, found.space) == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "space.concat.0.affine.units.oneof=[4,16]",
            r"the options of '0/affine/units' were \[4, 8\]",
        ),
        (
            "+space.concat.0.affine.bias.oneof=[true,false]",
            "'0/affine/bias' would be a new decision",
        ),
        (
            "space.concat.0.affine.unit=3",
            "there is no key 'space.concat.0.affine.unit', did you mean",
        ),
        ("space.concat.0.affine.units=1,2", "legal are key=value and"),
    ],
)
def test_what_nothing_that_was_found_answers_is_refused(
    recorded: RecordedStudy, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        rebuilt(recorded, [override])


def test_an_architecture_that_took_another_option_is_refused() -> None:
    from nasrunner.spaces.language.parsing import parse_space

    inner = {"oneof": [1, 2]}
    space = parse_space({"concat": [{"affine": {"units": {"oneof": [inner, 3]}}}]})
    with pytest.raises(ConfigError, match="does not answer '0/affine/units/0', which the changed"):
        carried({"0/affine/units": 0}, space)


def test_weights_of_the_search_are_none_of_a_changed_network() -> None:
    with pytest.raises(ConfigError, match=r"legal with space\.… is start=scratch"):
        parse(["from=a", "start=child", "space.concat.0.affine.units=3"])


def test_equal_networks_are_trained_once(
    retrain: Retrain, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        retrain(f"from={study}", "top=2", "space.concat.0.affine.units=6")
    assert "top=2 is more than the 1 different architectures" in capsys.readouterr().err


def test_a_changed_network_is_told_from_others_and_exported(retrain: Retrain, study: Path) -> None:
    retrain(f"from={study}", *QUICKLY, "mlp_classifier=false", "space.concat.0.affine.units=6")
    (folder,) = (study / "retrained").glob("*-seed0")
    assert json.loads((folder / "proposal.json").read_text())["genotype"] == {}
    assert find(str(folder), None).frozen.text() == "affine(units=6) → relu → affine(units=10)"
    settings = yaml.safe_load((study / "retrained" / "retrain.yaml").read_text())
    assert settings["space"]["concat"][0] == {"affine": {"units": 6}}
    with pytest.raises(SystemExit):
        retrain(f"from={study}", *QUICKLY, "mlp_classifier=false")


@pytest.mark.slow
def test_a_cell_is_rebuilt_deeper_and_wider(
    retrain: Retrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = (f"{STACK}.filters=2", f"{STACK}.times=1")
    (tmp_path / "search").mkdir()
    study = run_study(
        *(tmp_path / "search", monkeypatch, *QUICK, "searcher=random", "max_children=1"),
        *("data=digits", "space=darts_cnn", *small),
    )
    wide = (f"{STACK}.filters=4", f"{STACK}.times=2", f"{STACK}.path_dropout=0.2")
    retrain(f"from={study}", *QUICKLY, *wide)
    (folder,) = (study / "retrained").glob("*-seed0")
    outcome = ChildFolder(folder).read_record("outcome.json")
    assert outcome is not None
    assert outcome["status"] == "completed"
    found = find(str(folder), None).frozen.network
    searched = read_study(study)
    genotype = searched.children[0].proposal.genotype
    before = searched.space.freeze(genotype).network
    cells = [each.modules[0] for each in (before, found)]
    assert [len(each.cells) for each in cells] == [5, 8]
    assert [each.filters for each in cells] == [2, 4]
    assert cells[0].normal == cells[1].normal
    assert cells[0].reduction == cells[1].reduction
