"""Weights & Biases: what its files say, and what is refused before training."""

import json
import logging
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import wandb
from hydra.core.global_hydra import GlobalHydra

from nasrunner.command import main
from nasrunner.core import ConfigError, Outcome
from nasrunner.core.errors import TrackingError
from nasrunner.core.tracking import RetrainedNetwork
from nasrunner.trackers import jobs
from nasrunner.trackers.entries import require
from nasrunner.trackers.jobs import JobThread
from nasrunner.trackers.several import SeveralTrackers
from nasrunner.trackers.tensorboard import TensorBoardTracker
from nasrunner.trackers.wandb import Mode, WandbTracker
from tests.trackers.fakes import EPOCHS, FAILED, FakeStudy
from tests.trackers.offline import WandbRun, read_offline
from tests.trackers.test_several import QUICK


def tracker(mode: Mode = "offline", **changes: object) -> WandbTracker:
    settings = {"project": "toys", "entity": None, "close_timeout_s": 20.0, **changes}
    return WandbTracker(mode=mode, **settings)  # type: ignore[arg-type]  # as a YAML file has them


@dataclass
class Run:
    """A run as W&B's server has it: steps that it has are dropped."""

    id: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    url: str = "https://wandb"
    notes: str = ""
    ended_with: int | None = None

    def log(self, row: dict[str, Any], step: int) -> None:
        assert step >= self.step, "W&B would drop it"
        self.rows.append(row)
        self.step = step + 1

    def define_metric(self, name: str, step_metric: str) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        self.ended_with = exit_code


@dataclass
class Server:
    """What of W&B the tracker uses, in the place of ``wandb.init``."""

    runs: dict[str, Run] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    error: Exception | None = None
    takes: int | None = None

    def init(self, **known: Any) -> Run:
        if self.error is not None and self.takes in (None, len(self.runs)):
            raise self.error
        if known["id"] in self.deleted:
            raise wandb.errors.CommError(
                f"returned error 409: run toys/{known['id']} was previously created and deleted"
            )
        if known["resume"] is None:  # offline
            name = f"offline-run-20260101_000000-{known['id']}"
            (Path(known["dir"]) / "wandb" / name).mkdir(parents=True)
        return self.runs.setdefault(known["id"], Run(known["id"]))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr("wandb.init", made.init)
    monkeypatch.setattr("nasrunner.trackers.wandb._is_logged_in", lambda: True)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return made


def session(study: FakeStudy, first: int, last: int, mode: Mode = "online") -> WandbTracker:
    tracked = tracker(mode)
    tracked.open(study.info, study.replay(), study.inspect)
    for index in range(first, last):
        study.record(tracked, index)
    tracked.close(study.summary())
    return tracked


def runs(folder: Path) -> dict[str, WandbRun]:
    """By what follows the study's name."""
    wandb.teardown()
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    found = [read_offline(path) for path in files]
    assert len({run.id for run in found}) == len(found)
    return {run.id.partition("-")[2]: run for run in found}


def test_a_study_is_a_group_of_runs_and_keeps_its_ids(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    ids = []
    for first, last in ((0, 2), (2, 4)):
        tracked = tracker()
        tracked.open(study.info, study.replay(), study.inspect)
        for index in range(first, last):
            study.record(tracked, index)
        tracked.close(study.summary())
        found = runs(study.folder)
        ids.append({name: run.id for name, run in found.items()})
    assert ids[1].items() >= ids[0].items()
    assert {run.group for run in found.values()} == {f"fake {found[''].id}"}
    child = found["0001"]
    assert child.name == "0001 affine(2) → relu → affine(10) | 0.01"
    assert child.config["0/affine/units"] == 2
    assert child.config["hyperparameters/optimizer.lr"] == 0.01
    assert [(row["epoch"], row["val_loss"]) for row in child.history] == [
        (0, 1),
        (1, 0.5),
        (2, 1 / 3),
    ]
    assert (child.summary["reward"], child.summary["cost_s"]) == (1.0, 2.0)
    assert [found[f"{FAILED:04d}"].exit_code, child.exit_code] == [1, 0]
    whole = found[""]
    best = [(row["children"], row["best_reward"]) for row in whole.history if "best_reward" in row]
    assert best == [(1, 0.63), *((step, 1.0) for step in range(2, 5))]
    assert any("best_children/_type" in row for row in whole.history)
    assert "| 0001 | 1 | 101 |" in whole.notes
    assert whole.config["seed"] == 3


def test_disabled_records_nothing(tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    tracked = tracker("disabled")
    tracked.open(study.info, study.state, study.inspect)
    study.record(tracked, 0)
    tracked.close(study.summary())
    tracked.retrained(study.info, [])
    assert not (study.folder / "wandb").exists()
    assert tracked.ui_command is None


def refuse(**_: object) -> bool:
    raise wandb.errors.AuthenticationError("Failed to verify:\nno route to host")


@pytest.mark.parametrize(
    ("login", "message"),
    [
        (
            lambda **_: False,
            r"needs an API key of Weights & Biases: `wandb login` or WAND",
        ),
        (refuse, r"does not answer, or does not know you \(Failed to verify: no route to host\)"),
    ],
)
def test_online_without_a_key_or_a_network_is_refused_in_one_sentence(
    login: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wandb.login", login)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    study = FakeStudy(tmp_path / "study")
    with pytest.raises(ConfigError, match=f"{message}.*; tracker.mode=offline writes"):
        tracker("online").open(study.info, study.state, study.inspect)
    assert list(study.folder.iterdir()) == []
    assert not wandb.setup().settings.silent  # of a notebook's own runs
    (study.folder / "wandb").mkdir()
    (study.folder / "wandb" / "nasrunner.jsonl").write_text('\n{"study": "abc"}')
    with pytest.raises(TrackingError, match=message):
        tracker("online").retrained(study.info, [])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (wandb.errors.CommError("permission denied"), "permission denied"),
        (TimeoutError("90 s"), "90 s"),
    ],
)
def test_a_project_that_takes_no_runs_is_refused_before_training(
    server: Server, error: Exception, told: str, tmp_path: Path
) -> None:
    server.error = error
    study = FakeStudy(tmp_path / "study")
    with pytest.raises(ConfigError, match=rf"tracker.project=toys, .* \({told}\); tracker"):
        tracker("online").open(study.info, study.state, study.inspect)
    assert list(study.folder.iterdir()) == []


def test_a_study_whose_baseline_is_refused_leaves_no_run_open(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    server.error, server.takes = wandb.errors.CommError("no room for another"), 1
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        *(sys, "argv", ["nasrunner", *QUICK, "tracker=wandb", "baseline=random", "study=pair"])
    )
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit):
        main()
    assert "takes no study (no room for another)" in capsys.readouterr().err
    (of_the_study,) = server.runs.values()
    assert of_the_study.ended_with == 1


def test_a_study_that_breaks_off_ends_its_run_and_goes_on_with_it(
    server: Server, tmp_path: Path
) -> None:
    study = FakeStudy(tmp_path / "study")
    tracked = tracker("online")
    tracked.open(study.info, study.replay(), study.inspect)
    study.record(tracked, 0)
    tracked.let_go()
    assert server.runs[study_id(study)].ended_with == 1
    session(study, 1, 2)
    assert server.runs[study_id(study)].ended_with == 0
    assert len(server.runs) == 3  # the study's, and those of two children


def study_id(study: FakeStudy) -> str:
    lines = (study.folder / "wandb" / "nasrunner.jsonl").read_text().splitlines()
    return str(json.loads(lines[1])["study"])


def test_a_study_that_is_resumed_online_goes_on_with_its_runs(
    server: Server, tmp_path: Path
) -> None:
    study = FakeStudy(tmp_path / "study")
    assert session(study, 0, 2).ui_command == "https://wandb"
    ids = list(server.runs)
    session(study, 2, 4)
    assert list(server.runs)[:3] == ids
    assert [run_id.partition("-")[2] for run_id in server.runs] == [
        "",
        "0000",
        "0001",
        "0002",
        "0003",
    ]
    whole, child = server.runs[ids[0]], server.runs[ids[1]]
    assert [row["children"] for row in whole.rows if "children" in row] == [1, 2, 3, 4]
    assert [row["epoch"] for row in child.rows] == list(range(EPOCHS))


def test_a_study_whose_run_was_deleted_is_written_again_as_another(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = FakeStudy(tmp_path / "study")
    session(study, 0, 1)
    (first, *_) = server.runs
    server.deleted, server.runs = {first, f"{first}-0000"}, {}
    session(study, 1, 2)
    (second, *children) = server.runs
    assert second != first
    assert children == [f"{second}-0000", f"{second}-0001"]
    assert f"run {first} was deleted; all is written again" in caplog.text
    server.deleted.add(f"{second}-0002")
    session(study, 2, 4)
    assert list(server.runs)[3:] == [f"{second}-0003"]
    assert "refuses child 2, which stands in the ledger" in caplog.text
    assert "has refused 1 run or point, which" in caplog.text


def network(study: FakeStudy, ended_s: float) -> RetrainedNetwork:
    study.run_child(0)
    outcome = Outcome(study.proposal(0), "completed", metrics={"test_accuracy": 0.5}, cost_s=1.0)
    folder = study.folder / "children" / "0000"
    return RetrainedNetwork("retrained", "0000-seed0", folder, outcome, None, ended_s, {}, {})


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_network_that_is_retrained_again_has_a_run_of_its_own(
    server: Server, mode: Mode, tmp_path: Path
) -> None:
    study = FakeStudy(tmp_path / "study")
    session(study, 0, 0, mode)
    for ended_s in (1.7e9, 1.8e9):
        tracker(mode).retrained(study.info, [network(study, ended_s)])
    _, first, second = server.runs.values()
    assert [first.id[8:], second.id[8:]] == [
        f"-retrained-0000-seed0-1{n}00000000.0" for n in (7, 8)
    ]
    assert [row["epoch"] for row in second.rows] == list(range(EPOCHS))
    offline = [path.name for path in (study.folder / "wandb").glob("offline-run-*-retrained-*")]
    expected = [f"offline-run-20260101_000000-{second.id}"] if mode == "offline" else []
    assert offline == expected


@pytest.mark.parametrize("study_id", ["x/../../..", "abc", "*", ["x"], {"a": 1}])
def test_what_a_strangers_file_names_removes_nothing(
    server: Server, study_id: object, tmp_path: Path
) -> None:
    study = FakeStudy(tmp_path / "study")
    mine = tmp_path / "mine"
    (mine / "offline-run-20260101_000000-x").mkdir(parents=True)
    (study.folder / "wandb").mkdir()
    (study.folder / "wandb" / "offline-run-1-x").mkdir()
    line = json.dumps({"study": study_id})
    (study.folder / "wandb" / "nasrunner.jsonl").write_text(f"[]\n{line}\n")
    session(study, 0, 1, "offline")
    assert re.fullmatch(r"[0-9a-f]{8}", next(iter(server.runs)))
    assert (mine / "offline-run-20260101_000000-x").is_dir()
    assert (study.folder / "wandb" / "offline-run-1-x").is_dir()


def test_a_strangers_link_and_settings_are_not_followed(server: Server, tmp_path: Path) -> None:
    study = FakeStudy(tmp_path / "study")
    (tmp_path / "mine").mkdir()
    folder = study.folder / "wandb"
    folder.mkdir()
    (folder / "nasrunner.jsonl").write_text('{"study": "0123abcd"}')
    (folder / "offline-run-20250101_000000-0123abcd").symlink_to(tmp_path / "mine")
    session(study, 0, 0, "offline")
    assert list(server.runs) == ["0123abcd"]
    assert (tmp_path / "mine").is_dir()
    (folder / "settings").write_text("[default]\nbase_url = http://evil\n")
    with pytest.raises(ConfigError, match="settings may name the server that your API key"):
        session(study, 0, 0)


def test_runs_that_lie_offline_are_told_where_the_study_goes_on_online(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = FakeStudy(tmp_path / "study")
    session(study, 0, 2, "offline")
    (study_id, *_) = server.runs
    session(study, 2, 3)
    (told,) = [each.getMessage() for each in caplog.records if "offline" in each.getMessage()]
    assert told.startswith("2 runs lie offline: ")
    assert f"wandb sync {study.folder}/wandb/offline-run-*-{study_id}-* sends" in told


def test_nothing_is_told_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["nasrunner", "tracking_uri=postgresql://me:s3cr3t@host/db"])
    study = FakeStudy(tmp_path / "study")
    session(study, 0, 1, "offline")
    wandb.teardown()
    files = [path for path in (study.folder / "wandb").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if b"s3cr3t" in path.read_bytes()] == []


def test_two_studies_in_one_process_are_written_side_by_side_with_several_trackers(
    tmp_path: Path,
) -> None:
    studies = [FakeStudy(tmp_path / name) for name in "ab"]
    trackers = [SeveralTrackers({"t": TensorBoardTracker(), "w": tracker()}) for _ in studies]
    for study, tracked in zip(studies, trackers, strict=True):
        tracked.open(study.info, study.replay(), study.inspect)
    for index in range(2):
        for study, tracked in zip(studies, trackers, strict=True):
            study.record(tracked, index)
    for study, tracked in zip(studies, trackers, strict=True):
        tracked.close(study.summary())
    for study in studies:
        found = runs(study.folder)
        assert sorted(found) == ["", "0000", "0001"]
        assert {run.group for run in found.values()} == {f"fake {found[''].id}"}
        folders = sorted(path.name for path in (study.folder / "tensorboard").iterdir())
        assert folders == ["0000", "0001", "study"]


@pytest.mark.slow
def test_a_baseline_is_a_group_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.chdir(tmp_path)
    given = [*QUICK, "tracker=wandb", "tracker.mode=offline", "baseline=random"]
    monkeypatch.setattr(sys, "argv", ["nasrunner", *given])
    main()
    groups = set()
    for folder in (Path("study"), Path("study/baseline")):
        found = runs(folder)
        assert sorted(found) == ["", "0000", "0001"]
        groups |= {run.group for run in found.values()}
    assert len(groups) == 2


def test_a_mere_folder_of_its_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare_folder_of_tests").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"pip install 'nasrunner\[bare_folder_of_tests\]'"):
        require("bare_folder_of_tests")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"project": ""}, "tracker.project must be a name"),
        ({"close_timeout_s": -1}, "tracker.close_timeout_s must be >= 0, got -1"),
    ],
)
def test_settings_that_are_not_legal_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tracker(**changes)  # type: ignore[arg-type]


def test_what_fails_is_tried_again_and_told_with_how_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(**_: object) -> None:
        raise wandb.errors.CommError("no route to host")

    study = FakeStudy(tmp_path / "study")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr("wandb.init", away)
        tracked = tracker(close_timeout_s=0.5)
        tracked.open(study.info, study.replay(), study.inspect)
        study.record(tracked, 0)
        tracked.close(study.summary())
    told = [record.getMessage() for record in caplog.records if "Weights" in record.getMessage()]
    assert told[0] == "Weights & Biases cannot be written, and is tried again: no route to host"
    assert f"resume={study.folder} writes the rest (no route to host)" in told[1]
    tracked = tracker()
    tracked.open(study.info, study.replay(), study.inspect)
    tracked.close(study.summary())
    assert sorted(runs(study.folder)) == ["", "0000"]


REST = "nasrunner resume=study"


class Refused(Exception):
    """What the server will always say."""


def jobs_of_server() -> JobThread:
    return JobThread("Server", lambda error: isinstance(error, Refused))


def be_refused() -> None:
    raise Refused("no such place")


def find_nobody() -> None:
    raise TimeoutError


def test_what_is_refused_lets_the_others_through_and_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_FIRST_PAUSE_S", 0.001)
    done: list[int] = []
    made = jobs_of_server()
    for number in range(4):
        job = be_refused if number % 2 else lambda number=number: done.append(number)
        made.add(f"child {number}", job)
    made.start()
    with caplog.at_level(logging.WARNING):
        made.finish(10, REST)
    assert (done, made.num_refused, made.num_waiting) == ([0, 2], 2, 0)
    assert caplog.messages == [
        "Server refuses child 1, which stands in the ledger; others are counted: no such place"
    ]


def test_a_server_that_is_away_is_waited_for_no_longer_than_its_time() -> None:
    made = jobs_of_server()
    made.add("child 0", find_nobody)
    made.start()
    made.finish(0.3, REST)
    assert (made.num_waiting, made.num_refused, made.last_error) == (1, 0, "TimeoutError")
    assert made.is_abandoned


def test_a_long_end_says_what_it_waits_for_and_ctrl_c_leaves_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(timeout_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "_QUIET_S", -1.0)
    made = jobs_of_server()
    monkeypatch.setattr(made, "is_alive", lambda: True)
    monkeypatch.setattr(made._changed, "wait", interrupt)
    for number in range(8123):
        made.add(f"child {number}", find_nobody)
    with caplog.at_level(logging.WARNING):
        made.finish(60, REST)
    assert caplog.messages == [
        f"Server still takes 8,123 runs and points; Ctrl-C twice leaves them to {REST}"
    ]
    assert (made.is_abandoned, made.last_error) == (True, "interrupted")
