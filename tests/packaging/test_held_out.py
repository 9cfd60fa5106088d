"""``benchmarks/held_out.py`` tells what failed from what did not, and what is trivial."""

import runpy
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "held_out.py"
HELD_OUT: dict[str, Any] = runpy.run_path(str(SCRIPT))
BY_NAME = {each.name: each for each in HELD_OUT["DATA"]}


def test_there_are_twenty_data_sets_of_several_packages_and_kinds() -> None:
    assert len(BY_NAME) == len(HELD_OUT["DATA"]) >= 20
    assert len({each.package for each in BY_NAME.values()}) >= 5
    kinds = {a for each in BY_NAME.values() for a in each.arguments if a.startswith("data=")}
    assert kinds == {f"data={k}" for k in ("csv", "parquet", "images", "arrays", "huggingface")}


@pytest.mark.parametrize(
    ("returncode", "err", "outcome"),
    [
        (0, "a warning\n", "ok"),
        (2, "nasrunner: data.target=x is no column\n\n", "exit 2: nasrunner: data.target=x is no"),
        (0, "Traceback (most recent call last):\n  …\nKeyError: 3\n", "traceback: KeyError: 3"),
        (1, "", "exit 1: searched"),
    ],
)
def test_a_traceback_fails_whatever_the_exit_code(returncode: int, err: str, outcome: str) -> None:
    found = HELD_OUT["outcome_of"](returncode, "searched\n", err)
    assert found.startswith(outcome)


def test_the_trivial_reward_is_learnt_from_training_alone() -> None:
    y, y_held_out = np.array([0, 1, 1]), np.array([0, 0, 0, 1])
    assert HELD_OUT["trivial_reward"](y, y_held_out) == 0.25
    numbers, held_out = np.array([[1.0, 0], [5, 0]]), np.array([[3.0, 0], [7, 2]])
    assert HELD_OUT["trivial_reward"](numbers, held_out) == -(0 + 0 + (4 / 2) ** 2 + 2**2) / 4


def test_a_line_of_the_table_has_the_command() -> None:
    result = HELD_OUT["Result"](BY_NAME["linnerud"], 20, "ok", -1.23456, None, 9.6)
    cells = HELD_OUT["line_of"](result).strip("| ").split(" | ")
    assert cells[:4] == ["linnerud", "scikit-learn", "20", "3 numbers"]
    assert shlex.split(cells[4].strip("`"))[1:] == list(BY_NAME["linnerud"].arguments)
    assert cells[5:] == ["ok", "-1.235", "", "10"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wine", "linnerud", "GunPoint"])
def test_a_data_set_is_searched_by_its_command(name: str, tmp_path: Path) -> None:
    result = HELD_OUT["search"](BY_NAME[name], tmp_path)
    assert result.outcome == "ok"
    assert result.best is not None
    assert result.trivial is not None
