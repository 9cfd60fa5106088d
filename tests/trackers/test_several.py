"""Several trackers of one study, a user's own among them."""

import contextlib
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from nasrunner.command import main
from nasrunner.compose.construct import construct
from nasrunner.core import (
    Blueprint,
    ConfigError,
    Outcome,
    Proposal,
    StudyInfo,
    Summary,
    Tracker,
)
from nasrunner.core.errors import TrackingError
from nasrunner.study.loop import Study
from nasrunner.trackers.none import NoTracker
from nasrunner.trackers.several import SeveralTrackers
from nasrunner.trackers.table import CsvTracker
from tests.study.test_loop import Run, with_rules

Command = Callable[..., None]

MINE = '''
from nasrunner.trackers.none import NoTracker

class Told(NoTracker):
    """A user's own tracker: a line for each outcome that it is told of."""

    files = ("told.txt",)

    def __init__(self, word):
        self.word = word
        self.ui_command = f"cat {word}"

    def open(self, info, state, inspect):
        self.path = info.folder / "told.txt"
        self.path.touch()
        self._tell("open", len(state.history.outcomes))

    def recorded(self, outcome, blueprint):
        self._tell(outcome.proposal.index, outcome.status)

    def _tell(self, *what):
        with self.path.open("a", encoding="utf-8") as file:
            print(self.word, *what, file=file)
'''
QUICK = (
    "executor=serial",
    "trainer.max_epochs=1",
    "max_children=2",
    "space=figure1",
    "space.concat.0.conv2d.filters.oneof=[2,4]",
    "hydra.run.dir=study",
)
SEVERAL = ("tracker=several", "tracker@tracker.trackers.mlflow=none")
ONE_MORE = "+tracker@tracker.trackers.mine=mine"
OWN = ("--config-dir", "my_conf")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs nasrunner beside a user's own tracker."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("my_tracker_of_tests.py").write_text(MINE, encoding="utf-8")
    Path("my_conf/tracker").mkdir(parents=True)
    option = "_target_: my_tracker_of_tests.Told\nword: mine\n"
    Path("my_conf/tracker/mine.yaml").write_text(option, encoding="utf-8")

    def run(*arguments: str) -> None:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["nasrunner", *arguments])
        main()

    return run


def in_table(folder: Path) -> list[str]:
    with (folder / "children.csv").open(newline="", encoding="utf-8") as file:
        return [row["index"] for row in csv.DictReader(file, strict=True)]


def told(folder: Path) -> list[str]:
    return (folder / "told.txt").read_text(encoding="utf-8").splitlines()


def test_a_study_is_recorded_by_several_a_users_own_among_them(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*OWN, *QUICK, *SEVERAL, ONE_MORE, "tracker.trackers.mine.word=hello")
    assert in_table(Path("study")) == ["0", "1"]
    assert told(Path("study")) == ["hello open 0", "hello 0 completed", "hello 1 completed"]
    assert "Look at it: less -S study/children.csv\ncat hello\n" in capsys.readouterr().out


@pytest.mark.slow
def test_trackers_are_exchanged_added_and_told_of_everything_at_resume(command: Command) -> None:
    command(*QUICK, "tracker=none")
    folder = Path("study")
    assert not (folder / "children.csv").exists()
    without = "+tracker@tracker.trackers.mlflow=none"
    command("resume=study", "max_children=3", "tracker=several", without)
    assert in_table(folder) == ["0", "1", "2"]
    command(*OWN, "resume=study", "max_children=4", ONE_MORE, "tracker.trackers.mine.word=late")
    assert in_table(folder) == ["0", "1", "2", "3"]
    assert told(folder) == ["late open 3", "late 3 completed"]
    saved = OmegaConf.load(folder / "config.yaml")
    assert list(saved.tracker.trackers) == ["mlflow", "csv", "mine"]
    command("resume=study", "max_children=5", "tracker=csv")
    assert in_table(folder) == ["0", "1", "2", "3", "4"]
    assert len(told(folder)) == 2


@pytest.mark.slow
def test_each_study_of_a_multirun_has_them(command: Command) -> None:
    command("-m", *OWN, *QUICK[:-1], "seed=0,1", *SEVERAL, ONE_MORE, "hydra.sweep.dir=sweep")
    for number in range(2):
        assert in_table(Path(f"sweep/{number}")) == ["0", "1"]
        assert told(Path(f"sweep/{number}"))[0] == "mine open 0"


def test_a_file_that_a_users_tracker_writes_is_not_written_over(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("study").mkdir()
    Path("study/told.txt").write_text("of somebody else", encoding="utf-8")
    with pytest.raises(SystemExit):
        command(*OWN, *QUICK, "tracker=mine")
    assert "study holds told.txt already, which a study would" in capsys.readouterr().err
    assert told(Path("study")) == ["of somebody else"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["tracker=[csv,none]"], "all in one study is tracker=several"),
        ([*SEVERAL, ONE_MORE, "tracker@tracker.trackers.csv=mine"], "csv and mine both write told"),
        ([*SEVERAL, "tracker.trackers.csv=hello"], "tracker.trackers.csv must be a tracker with a"),
        (["+tracker@tracker.trackers.mine=mine", "tracker=csv"], "takes no 'trackers'"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    command: Command, capsys: pytest.CaptureFixture[str], given: list[str], expected: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        command(*OWN, *QUICK, *given)
    assert exit_.value.code == 2
    assert expected in capsys.readouterr().err
    assert not Path("study").exists()


def test_an_option_goes_nowhere_but_into_its_group_at_resume(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*QUICK, "tracker=none")
    before = Path("study/config.yaml").read_bytes()
    with pytest.raises(SystemExit):
        command("resume=study", "+tracker@executor.tracker=csv")
    assert "legal are tracker=option and +tracker@tracker.…" in capsys.readouterr().err
    assert Path("study/config.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_tracker_added_to_a_strangers_study_does_not_trust_those_it_has(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    command(*OWN, *QUICK, *SEVERAL, ONE_MORE)
    lines = Path("study/config.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    unsigned = "".join(line for line in lines if not line.startswith("#"))
    Path("study/config.yaml").write_text(unsigned, encoding="utf-8")
    with pytest.raises(SystemExit):
        command("resume=study", "+tracker@tracker.trackers.more=none")
    err = capsys.readouterr().err
    assert "tracker.trackers.mine._target_ names 'my_tracker_of_tests.Told', which could" in err
    command("resume=study", "max_children=3", "tracker=csv")
    assert in_table(Path("study")) == ["0", "1", "2"]


class Failing(NoTracker):
    """Notes what it is given, and fails at it."""

    def __init__(self, ui_command: str | None = None, fails_at: Sequence[str] = ()) -> None:
        self.ui_command = ui_command
        self.fails_at = fails_at
        self.was_told: list[str] = []

    def started(self, proposal: Proposal, blueprint: Blueprint | None) -> None:
        self._tell(f"started {proposal.index}")

    def recorded(self, outcome: Outcome, blueprint: Blueprint | None) -> None:
        self._tell(f"recorded {outcome.proposal.index}")

    def close(self, summary: Summary) -> None:
        self._tell("close")

    def retrained(self, info: StudyInfo, networks: Any) -> None:
        self._tell("retrained")

    def _tell(self, what: str) -> None:
        self.was_told.append(what)
        if what in self.fails_at:
            raise RuntimeError(f"cannot take {what}\nbecause")


def test_one_that_fails_keeps_no_other_from_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [Failing(fails_at=("close", "retrained")) for _ in range(2)]
    failing[1].ui_command = "look here"
    several = SeveralTrackers({"a": failing[0], "b": NoTracker(), "c": failing[1]})
    several.close(Summary("it is over", {}, [], 0.0, 0.0))
    assert caplog.messages == [
        f"tracker.trackers.{name} could not be closed: RuntimeError: cannot take close"
        for name in "ac"
    ]
    with pytest.raises(TrackingError, match="cannot take retrained\nbecause; cannot take retr"):
        several.retrained(StudyInfo("a", tmp_path, {}, None), [])
    assert [each.was_told for each in failing] == [["close", "retrained"]] * 2
    assert several.ui_command == "look here"


@pytest.mark.parametrize("is_one_of_several", [True, False])
@pytest.mark.parametrize("fails_at", [("started 1",), ("recorded 1", "close")])
def test_one_that_fails_in_a_study_is_told_nothing_more_and_named_at_the_end(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    fails_at: Sequence[str],
    is_one_of_several: bool,
) -> None:
    failing, other = Failing(fails_at=fails_at), Failing()
    name = "tracker.trackers.mine" if is_one_of_several else "tracker Failing"
    trackers: list[Tracker] = [failing, other]
    if is_one_of_several:
        trackers = [SeveralTrackers({"mine": failing, "other": other})]
    study = Run(tmp_path, rules=with_rules(max_children=3)).study
    study = Study(
        space=study.space,
        searcher=study.searcher,
        trainer=study.trainer,
        executor=study.executor,
        trackers=trackers,
        ledger=study.ledger,
        rules=study.rules,
        info=study.info,
    )
    with contextlib.closing(study.ledger):
        assert study.run().counts == {"completed": 3}
    everything = [f"{what} {index}" for index in range(3) for what in ("started", "recorded")]
    assert other.was_told == [*everything, "close"]
    assert failing.was_told == [*everything[: everything.index(fails_at[0]) + 1], "close"]
    warned = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warned == [
        f"{name} failed at child 1 and is told nothing more; the study goes on: RuntimeError: "
        f"cannot take {fails_at[0]}",
        f"{name} has recorded nothing from child 1 on",
    ]


def test_the_terminal_shows_a_users_tracker_that_fails(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("my_tracker_of_tests.py")
    path.write_text(MINE.replace("self._tell(outcome.", "self._tel(outcome."), encoding="utf-8")
    sys.modules.pop("my_tracker_of_tests", None)
    command(*OWN, *QUICK, *SEVERAL, ONE_MORE)
    assert in_table(Path("study")) == ["0", "1"]
    out = capsys.readouterr().out
    assert out.count("warning: tracker.trackers.mine") == 2
    assert "failed at child 0 and is told nothing more; the study goes on: AttributeError" in out
    assert "warning: tracker.trackers.mine has recorded nothing from child 0 on" in out
    assert "Ended: max_children=2 is spent" in out


@pytest.mark.parametrize(
    ("trackers", "message"),
    [
        ({}, "tracker.trackers needs at least one; tracker=none"),
        ({"a": CsvTracker(), "b": CsvTracker()}, r"a and b both write children\.csv in the study"),
        ({"a": None}, "tracker.trackers.a must be a tracker with a _target_, got None"),
    ],
)
def test_several_must_be_trackers_that_do_not_disturb_one_another(
    trackers: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SeveralTrackers(trackers)


def test_a_list_is_refused() -> None:
    target = "nasrunner.trackers.several.SeveralTrackers"
    with pytest.raises(
        ConfigError, match=r"tracker\.trackers must be mapping of PublicTracker, got"
    ):
        construct({"_target_": target, "trackers": ["csv"]}, "tracker")
