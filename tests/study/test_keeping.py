"""Whose checkpoints stay once children have ended."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from nasrunner.compose.config import keeping_from
from nasrunner.compose.launch import run_study
from nasrunner.core import ConfigError, Outcome, Proposal, child_folder
from nasrunner.core.ledger.ranking import Ranking
from nasrunner.recorded import read_study
from nasrunner.study.keeping import Keeping, Weights
from tests.children.studies import make_study
from tests.study.test_power_cut import saved_config_of

CHECKPOINTS = ("best.ckpt", "last.ckpt", "trainings/0/best.ckpt", "trainings/1/last.ckpt")


class Kept:
    """A study whose children are folders with checkpoints, recorded one after the other."""

    def __init__(self, folder: Path, weights: Weights) -> None:
        self.folder = folder
        self.ranking = Ranking()
        self.outcomes: list[Outcome] = []
        self.keeping = Keeping(folder, weights)

    def start(self, index: int) -> None:
        for name in (*CHECKPOINTS, "best.ckpt.unfinished", "curves.jsonl"):
            path = child_folder(self.folder, index) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("weights")

    def end(
        self, index: int, reward: float | None, units: int | None = None, needs: Sequence[int] = ()
    ) -> list[int]:
        """The children that have checkpoints once this one is recorded, with all of theirs."""
        self.start(index)
        proposal = Proposal(index, {"units": index if units is None else units})
        outcome = Outcome(proposal, "failed" if reward is None else "completed", reward)
        self.ranking.add(outcome)
        self.outcomes.append(outcome)
        self.keeping.recorded(outcome, self.ranking, needs)
        return self.left()

    def left(self) -> list[int]:
        found = []
        for folder in sorted((self.folder / "children").iterdir()):
            assert (folder / "curves.jsonl").exists()
            there = [(folder / name).exists() for name in (*CHECKPOINTS, "best.ckpt.unfinished")]
            assert all(there) or not any(there)
            found += [int(folder.name)] if all(there) else []
        return found


def test_all_checkpoints_stay(tmp_path: Path) -> None:
    study = Kept(tmp_path, "all")
    assert [study.end(index, reward) for index, reward in enumerate([0.5, None])][-1] == [0, 1]


def test_no_checkpoints_stay_but_those_of_a_child_that_runs(tmp_path: Path) -> None:
    study = Kept(tmp_path, "none")
    study.start(7)
    assert study.end(0, 0.5) == [7]
    assert study.end(1, None) == [7]


def test_the_best_keep_theirs_until_another_surpasses_them(tmp_path: Path) -> None:
    study = Kept(tmp_path, 2)
    rewards = [0.5, 0.4, 0.3, 0.6, 0.5, math.nan, None]
    left = [study.end(index, reward) for index, reward in enumerate(rewards)]
    assert left == [[0], [0, 1], [0, 1], [0, 3], [0, 3], [0, 3], [0, 3]]


def test_of_equal_ones_the_first_proposed_keep_theirs_in_whatever_order_they_end(
    tmp_path: Path,
) -> None:
    study = Kept(tmp_path, 1)
    assert [study.end(index, 0.5) for index in (4, 6, 2)] == [[4], [4], [2]]


def test_a_mean_that_falls_gives_the_place_to_another_whose_weights_are_gone(
    tmp_path: Path,
) -> None:
    study = Kept(tmp_path, 1)
    assert study.end(0, 0.9) == [0]
    assert study.end(1, 0.8) == [0]
    assert study.end(2, 0.1, units=0) == []  # 0.5 in the mean: child 1 is the best now
    assert study.end(3, 0.7) == []
    assert study.end(4, 0.81) == [4]


def test_children_that_are_needed_keep_theirs_as_long_as_they_are(tmp_path: Path) -> None:
    study = Kept(tmp_path, 1)
    assert study.end(0, 0.5, needs=[0]) == [0]
    assert study.end(1, 0.6, needs=[0]) == [0, 1]
    assert study.end(2, 0.4, needs=[0, 2]) == [0, 1, 2]
    assert study.end(3, 0.3, needs=[2]) == [1, 2]
    assert study.end(4, 0.2) == [1]


def test_a_repeated_outcome_touches_no_folder(tmp_path: Path) -> None:
    study = Kept(tmp_path, "none")
    study.start(1)
    repeated = Outcome(Proposal(1, {"units": 0}), "completed", 0.5, reused_from=0)
    study.keeping.recorded(repeated, study.ranking)
    assert study.left() == [1]


@pytest.mark.parametrize(("weights", "left"), [("all", [0, 1, 2, 9]), (1, [1, 9]), ("none", [9])])
def test_a_resumed_study_applies_it_to_what_is_there(
    tmp_path: Path, weights: Weights, left: list[int]
) -> None:
    study = Kept(tmp_path, "all")
    study.start(9)  # in flight
    for index, reward in enumerate([0.5, 0.7, None]):
        study.end(index, reward)
    study.keeping = Keeping(tmp_path, weights)
    study.keeping.resumed(study.outcomes, study.ranking, needs=[])
    assert study.left() == left
    expected = {"all": [0, 1, 2, 3, 9], 1: [3, 9], "none": [9]}
    assert study.end(3, 0.8) == expected[weights]


def test_what_cannot_be_removed_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Kept(tmp_path, "none")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with caplog.at_level(logging.WARNING):
        study.end(0, 0.5)
        study.end(1, 0.5)
    assert [record.getMessage()[:46] for record in caplog.records] == [
        "checkpoints of children could not be removed: "
    ]


@pytest.mark.parametrize("value", ["best", "best:0", "best:-1", "best:1.5", "some", "", None, 3])
def test_an_illegal_rule_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match="keep_weights must be all, none or best:N with N >= 1"):
        keeping_from({"keep_weights": value}, tmp_path)


def test_a_study_keeps_the_weights_of_its_best_children(tmp_path: Path) -> None:
    folder = make_study(
        tmp_path / "study",
        "executor=serial",
        "searcher=random",
        "max_children=5",
        "trainer.max_epochs=1",
        "trainer.checkpoint=all",
        "keep_weights=best:2",
    )
    config = saved_config_of(folder)
    run_study(config, folder)

    def left() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in sorted(folder.glob("children/*/*.ckpt")):
            found.setdefault(path.parent.name, []).append(path.name)
        return found

    best = [f"{child.proposal.index:04d}" for child in read_study(folder).best(2)]
    assert left() == {name: ["best.ckpt", "last.ckpt"] for name in sorted(best)}
    run_study({**config, "keep_weights": "best:1"}, folder)
    assert list(left()) == best[:1]
    run_study({**config, "keep_weights": "none", "max_children": 6}, folder)
    assert left() == {}
    assert len(list(folder.glob("children/*/curves.jsonl"))) == 6
