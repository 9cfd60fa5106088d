"""``nasrunner-report`` shows studies by another reward than they were searched with."""

import csv
import sys
from pathlib import Path

import pytest

from nasrunner.core import ConfigError
from nasrunner.recorded import find_studies, read_study
from nasrunner.report import command
from nasrunner.report.comparison.groups import check_comparable
from tests.report.recordings import EVOLUTION, Recording, recorded
from tests.rescoring.test_scoring import f1_study

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Ran:
    """What ``nasrunner-report`` has printed."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        *arguments: str,
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["nasrunner-report", *arguments])
        self.code: object = 0
        try:
            command.main()
        except SystemExit as stopped:
            self.code = stopped.code
        self.out, self.err = capsys.readouterr()


TOLD = (
    "Rewards are re-scored: val_f1, the best of a child's epochs. The search itself was driven by "
    "val_accuracy, and may have proposed others for these."
)


def test_a_page_says_by_what_rewards_are_re_scored_and_ranks_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f1_study(tmp_path / "study").end()
    ran = Ran(monkeypatch, capsys, f"from={folder}", "reward=val_f1", "reward.mode=max")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{folder}/report-rescored/report.html\n{TOLD}\n"
    page = (folder / "report-rescored" / "report.html").read_text()
    assert TOLD in page.replace("&#x27;", "'").replace("&#39;", "'")
    assert "re-scored by val_f1 · written" in page
    assert "reward (val_f1)" in page
    with (folder / "report-rescored" / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["child"], float(row["reward"])) for row in rows] == [
        ("0002", 0.9),
        ("0000", 0.6),
        ("0001", 0.5),
    ]
    assert not (folder / "report").exists()


@pytest.mark.slow
def test_comparisons_are_of_the_other_reward_and_name_the_study_that_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        for name, searcher in (("evolution", EVOLUTION), ("random", None)):
            changes = {"seed": seed} | ({} if searcher is None else {"searcher": searcher})
            study = Recording(tmp_path / "sweep" / f"{name}{seed}", **changes)
            better = 0.2 if name == "random" else 0.0
            for child in range(4):
                study.child(0.5 - better, metrics={"val_f1": 0.5 + better + child / 100})
            study.end()
    asked = (f"from={tmp_path / 'sweep'}", "reward=val_f1", "reward.mode=max", "budgets=4")
    ran = Ran(monkeypatch, capsys, *asked)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("Rewards are re-scored: val_f1. The search itself was driven by val_") == 1
    with (tmp_path / "sweep" / "report-rescored" / "budgets.csv").open() as file:
        rows = {row["searcher"]: row for row in csv.DictReader(file)}
    assert float(rows["random"]["mean best reward"]) == pytest.approx(0.73)
    assert float(rows["evolution"]["minus random"]) == pytest.approx(-0.2)
    lacking = recorded(tmp_path / "sweep" / "random2", [0.5, 0.6], seed=2)
    ran = Ran(monkeypatch, capsys, *asked)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        f"nasrunner-report: {lacking}: reward.metric: 'val_f1' was recorded of none of 2 children; "
    )


@pytest.mark.slow
def test_studies_of_different_rewards_are_compared_by_a_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path / "a", [0.5, 0.6])
    recorded(tmp_path / "b", [0.5, 0.7], task__reward__metric="val_auroc")
    ran = Ran(monkeypatch, capsys, f"from={tmp_path}")
    assert "their rewards differ" in ran.err
    ran = Ran(monkeypatch, capsys, f"from={tmp_path}", "reward=flops", "baseline=random")
    assert ran.code == 2  # searched with other rewards, they are no repetitions of one search
    assert "baseline=random" in ran.err
    ran = Ran(monkeypatch, capsys, f"from={tmp_path}", "reward=flops")
    assert (ran.code, ran.err) == (0, "")
    page = (tmp_path / "report-rescored" / "report.html").read_text()
    assert "The search itself was driven by val_accuracy" in page
    assert "The search itself was driven by val_auroc" in page


def test_studies_with_different_scalarizations_are_not_compared(tmp_path: Path) -> None:
    objectives = {"val_accuracy": "max", "flops": {"goal": "min", "limit": 300.0}}
    recorded(tmp_path / "a", [0.5], objectives=objectives, scalarization="product")
    recorded(tmp_path / "b", [0.5], objectives=objectives)
    with pytest.raises(ConfigError, match=r"their rewards differ: .*scalarization"):
        check_comparable(find_studies([tmp_path]))
    assert read_study(tmp_path / "a").reward_text == "val_accuracy·(flops/300)^-0.07"
