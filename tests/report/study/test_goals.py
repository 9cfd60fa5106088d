"""The page of a study with several objectives: its front, its hypervolume, and what it says."""

from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import Outcome
from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.recorded import RecordedStudy, read_study
from nasrunner.report.one_study import study_sections
from nasrunner.report.page.parts import Plot, Section, Table
from nasrunner.report.study.evaluations import reward_label
from nasrunner.report.study.goals import goals_of, hypervolumes, objectives_section
from tests.report.recordings import Recording

POINTS = [(0.5, 100.0), (0.7, 300.0), (0.6, 300.0), None, (0.7, 300.0), (0.4, 50.0), (0.9, 900.0)]
LIMITED = {"val_accuracy": "max", "flops": {"goal": "min", "limit": 400.0}}


def recorded(
    folder: Path,
    objectives: Any = LIMITED,
    scalarization: Any = None,
    points: Any = POINTS,
) -> RecordedStudy:
    made = {"objectives": objectives, "scalarization": scalarization}
    goals = read_goals(made)
    assert goals is not None
    study = Recording(folder, **made)
    for units, point in enumerate(points):
        proposal = study.propose(units)
        if point is None:
            study.record(Outcome(proposal, "failed", error="ValueError: bad luck"))
            continue
        metrics = dict(zip(("val_accuracy", "flops", "parameters"), point, strict=False))
        study.record(goals.judged(Outcome(proposal, "completed", point[0], metrics)))
    return read_study(study.end())


def section(study: RecordedStudy) -> Section:
    goals = goals_of(study)
    assert goals is not None
    found = objectives_section(study, goals)
    assert found is not None
    return found


def test_the_front_is_a_table_and_a_figure_and_its_hypervolume_is_named(tmp_path: Path) -> None:
    found = section(recorded(tmp_path / "s"))
    pair, volume, table = found.parts
    assert isinstance(table, Table)
    assert table.columns == ("child", "val_accuracy (max)", "flops (min)", "reward")
    assert list(table.values) == [
        ["0001", 0.7, 300.0, 0.7],
        ["0000", 0.5, 100.0, 0.5],
        ["0005", 0.4, 50.0, 0.4],
    ]
    assert isinstance(pair, Plot)
    assert isinstance(volume, Plot)
    labels = [text.get_text() for text in pair.figure.axes[0].get_legend().get_texts()]
    assert labels == ["beyond a limit", "within", "front"]
    assert "val_accuracy (max), flops (min, limit 400)" in found.text
    assert "3 children of 6 are on the front: within the limits, and no other is" in found.text
    # (0.7 - 0.4) · 100 + (0.5 - 0.4) · 200
    assert "Its hypervolume is 50, from the reference point val_accuracy = 0.4, " in found.text


def test_the_hypervolume_grows_with_the_evaluations(tmp_path: Path) -> None:
    study = recorded(tmp_path / "s")
    goals = goals_of(study)
    assert goals is not None
    numbers, volumes = hypervolumes(study, goals, {"val_accuracy": 0.2, "flops": 400.0})
    assert numbers == [0, 1, 2, 6, 7]
    assert volumes == pytest.approx([0, 0.3 * 300, 110, 120, 120])


def test_three_objectives_have_a_figure_for_each_pair(tmp_path: Path) -> None:
    points = [(0.5, 100.0, 5.0), (0.4, 50.0, 9.0), (0.3, 200.0, 2.0)]
    objectives = {"val_accuracy": "max", "flops": "min", "parameters": "min"}
    found = section(recorded(tmp_path / "s", objectives, points=points))
    assert [part.name for part in found.parts] == [
        "objectives_0_1",
        "objectives_0_2",
        "objectives_1_2",
        "hypervolume",
        "front",
    ]


def test_a_limit_that_nothing_meets_is_said_though_no_child_has_a_reward(tmp_path: Path) -> None:
    study = recorded(tmp_path / "s", {**LIMITED, "flops": {"goal": "min", "limit": 10.0}})
    sections = {each.title: each for each in study_sections(study)}
    assert "Leaderboard" not in sections
    text = sections["Objectives"].text
    assert "No child is within objectives.flops.limit=10: the best has 50." in text


def test_the_axis_of_rewards_says_what_they_are_made_of(tmp_path: Path) -> None:
    study = recorded(tmp_path / "s", LIMITED, "product")
    assert reward_label(study) == "reward (val_accuracy·(flops/400)^-0.07)"
    sections = {each.title: each for each in study_sections(study)}
    assert "Pareto front" not in sections
    text = sections["Objectives"].text
    assert "The reward is val_accuracy·(flops/400)^-0.07." in text
    assert "flops (min, target 400)" in text
    assert "within the limits" not in text
    assert "Targets may be missed." in text
