"""Which cheaper trainings a calibration makes, as found before the first one."""

from pathlib import Path
from typing import Any

import pytest

from nasrunner.calibrate.arguments import parse
from nasrunner.calibrate.planning import CheaperTrainings, plan
from nasrunner.compose.saved import saved_config
from nasrunner.core.errors import ConfigError
from tests.children.studies import make_study

SPACE = {"concat": [{"affine": {"units": {"oneof": [4, 8]}}}, "relu", {"affine": {"units": 10}}]}
INHERITED_ALONE = CheaperTrainings({}, inherits=True)


def planned(folder: Path, what: str, *overrides: str) -> tuple[CheaperTrainings, list[str]]:
    config: dict[str, Any] = saved_config(make_study(folder, *overrides, space=SPACE))
    said: list[str] = []
    return plan(parse([f"what={what}"]), config, said.append), said


def test_usual_fidelities_whose_data_are_too_few_are_said_before_any_training(
    tmp_path: Path,
) -> None:
    found, said = planned(tmp_path, "fidelities", "data.batch_size=200", "trainer.max_epochs=4")
    fidelities = {"epochs": [1, 3], "data": [0.3], "width": [0.25, 0.5], "resolution": [4]}
    assert found == CheaperTrainings(fidelities, inherits=False)
    (left_out,) = said
    assert left_out.startswith("data=0.1 is left out: data.batch_size must be at most 114, ")


def test_inherited_weights_are_planned_with_all_and_alone(tmp_path: Path) -> None:
    assert planned(tmp_path / "a", "inherited") == (INHERITED_ALONE, [])
    found, said = planned(tmp_path / "b", "all")
    assert found.inherits
    assert found.fidelities
    assert not said
    assert planned(tmp_path / "c", "predictors") == (CheaperTrainings({}, inherits=False), [])


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trainer.checkpoint=none", "trainer.checkpoint=none keeps no weights for others"),
        ("evaluation.repeats=2", "evaluation: a child of several trainings is neither paused"),
    ],
)
def test_trainings_that_cannot_inherit_are_refused_or_left_out(
    tmp_path: Path, override: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        planned(tmp_path / "a", "inherited", override)
    found, said = planned(tmp_path / "b", "all", override)
    assert not found.inherits
    (left_out,) = said
    assert left_out.startswith(f"inherited weights are left out: {reason}")


def test_a_training_of_one_epoch_has_no_first_ones_to_inherit_in(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs=1 leaves none before the end"):
        planned(tmp_path, "inherited", "trainer.max_epochs=1")
