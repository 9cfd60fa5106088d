import dataclasses
import itertools
import json
import logging
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from xml.etree import ElementTree

import pytest
from mlflow import MlflowClient

from nasrunner.core import ConfigError
from nasrunner.trackers.curves import CurvePoint
from nasrunner.trackers.mlflow import writer as mlflow_writer
from nasrunner.trackers.mlflow.connection import curve_metrics
from nasrunner.trackers.mlflow.runs import StudyRuns
from nasrunner.trackers.mlflow.stores.file import recall, study_id
from tests.trackers.fakes import EPOCHS, FakeStudy, track, tracker
from tests.trackers.servers import Healthy, answering

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NUM_CHILDREN = 12


class Records:
    """What MLflow holds of one study."""

    def __init__(self, uri: str, folder: Path, experiment: str = "fake") -> None:
        self.client = MlflowClient(uri)
        self.experiment_id = self.client.get_experiment_by_name(experiment).experiment_id
        self.folder = folder
        self.study = study_id(folder)

    def runs(self, condition):
        mine = f"tags.`nasrunner.study` = '{self.study}' AND {condition}"
        return self.client.search_runs([self.experiment_id], mine, max_results=5000)

    @property
    def parent(self):
        (run,) = self.runs("tags.`nasrunner.kind` = 'study'")
        return run

    def children(self):
        """Child index -> its run; fails where a child has two."""
        runs = self.runs("tags.`nasrunner.kind` = 'child'")
        by_index = {int(run.data.tags["nasrunner.index"]): run for run in runs}
        assert len(by_index) == len(runs), "a child has two runs"
        return by_index

    def curve(self, run, name):
        history = self.client.get_metric_history(run.info.run_id, name)
        return sorted((metric.step, metric.value) for metric in history)

    def artifact(self, run, name):
        return Path(run.info.artifact_uri.removeprefix("file://"), name).read_text()

    def assert_complete(self, num_children=NUM_CHILDREN):
        children = self.children()
        assert sorted(children) == list(range(num_children))
        for index, run in children.items():
            expected = {3: "FAILED", 5: "KILLED"}.get(index, "FINISHED")
            assert run.info.status == expected, index
            assert run.data.tags["mlflow.parentRunId"] == self.parent.info.run_id
            has_curve = index not in (5, 7)
            assert len(self.curve(run, "val_loss")) == (EPOCHS if has_curve else index == 7)
            assert len(self.curve(run, "cost_s")) == 1
        steps = [step for step, _ in self.curve(self.parent, "best_reward")]
        assert steps == list(range(1, num_children + 1))
        assert self.parent.info.status == "FINISHED"


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A study of twelve children in a database of its own."""
    root = tmp_path_factory.mktemp("tracked")
    uri = f"sqlite:///{root}/outputs/mlflow.db"
    study = track(uri, root / "outputs" / "fake" / "2026", NUM_CHILDREN)
    return study, Records(uri, study.folder)


def test_every_child_is_one_run_under_the_run_of_its_study(tracked):
    _, records = tracked
    records.assert_complete()


def test_decisions_are_params_with_their_values(tracked):
    _, records = tracked
    assert records.children()[8].data.params == {
        "hyperparameters/optimizer.lr": "0.1",
        "0/affine/units": "9",
    }


def test_curves_and_final_figures_are_metrics(tracked):
    _, records = tracked
    child = records.children()[8]
    assert records.curve(child, "val_loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert child.data.metrics["reward"] == 0.56
    assert child.data.metrics["val_accuracy"] == 0.56
    assert child.data.metrics["cost_s"] == 2.0
    assert child.data.metrics["parameters"] == 109
    assert child.data.metrics["flops"] == 7
    assert child.data.metrics["at_reward/val_loss"] == 1 / 3
    assert child.data.metrics["objectives/reward"] == 0.25


def test_a_page_that_compares_children_opens_on_what_they_are_compared_by(tracked):
    _, records = tracked
    assert next(iter(records.children()[8].data.metrics)) in ("reward", "val_accuracy")


def test_the_metrics_of_curves_have_what_children_are_compared_by_first():
    values = {"learning_rate": 0.1, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}
    point = CurvePoint(0, 1, 0.0, values, {"probability/a/b": 1.0})
    names = [metric.key for metric in curve_metrics([point])]
    learnt, *others = names
    assert learnt == "probability/a/b"
    assert others == ["val_accuracy", "val_loss", "train_loss", "learning_rate"]


def test_the_metrics_of_a_reused_outcome_are_its_own_and_a_failed_child_has_no_reward(tracked):
    _, records = tracked
    reused = records.children()[7]
    assert records.curve(reused, "val_loss") == [(0, 1 / EPOCHS)]
    failed = records.children()[3]
    assert "at_reward/val_loss" not in failed.data.metrics


@pytest.mark.parametrize(
    ("condition", "indices"),
    [
        ("tags.`nasrunner.status` = 'failed'", [3]),
        ("tags.`nasrunner.status` = 'invalid'", [5]),
        ("tags.`nasrunner.reused_from` = '4'", [7]),
        ("tags.`nasrunner.changed` = 'true'", [11]),
        ("tags.`nasrunner.parent_child` = '8'", [9]),
        ("tags.`nasrunner.given` = 'true'", [0]),
        ("tags.`nasrunner.index` = '11'", [11]),
        ("tags.`nasrunner.searcher` = 'RegularizedEvolution' AND metrics.reward > 0.9", [1, 9]),
        ("tags.`nasrunner.study_name` = 'fake' AND params.`0/affine/units` = '3'", [2]),
    ],
)
def test_a_filter_finds_children(tracked, condition, indices):
    _, records = tracked
    found = [int(run.data.tags["nasrunner.index"]) for run in records.runs(condition)]
    assert sorted(found) == indices


def test_the_same_architecture_has_the_same_hash(tracked):
    study, records = tracked
    children = records.children()
    architecture = children[4].data.tags["nasrunner.architecture"]
    assert architecture == children[7].data.tags["nasrunner.architecture"]
    assert architecture == study.proposal(4).hash != study.proposal(6).hash


def test_a_person_can_read_a_child(tracked):
    _, records = tracked
    children = records.children()
    assert children[8].info.run_name == "0008 affine(9) → relu → affine(10) | 0.1"
    assert "affine(units=9) → relu" in children[8].data.tags["mlflow.note.content"]
    assert "loss is nan" in children[3].data.tags["mlflow.note.content"]
    assert "child 0004" in children[7].data.tags["mlflow.note.content"]


def test_a_child_has_its_architecture_picture_genotype_and_config_as_artifacts(tracked):
    study, records = tracked
    child = records.children()[8]
    assert records.artifact(child, "architecture.txt").startswith("affine(units=9) → relu")
    assert ElementTree.fromstring(records.artifact(child, "architecture.svg")).tag.endswith("svg")
    assert json.loads(records.artifact(child, "genotype.json")) == study.proposal(8).genotype
    assert records.artifact(child, "config.yaml") == "child: 8\n"
    listed = records.client.list_artifacts(child.info.run_id)
    assert len(listed) == 4


def test_a_study_has_its_config_commit_environment_and_best_so_far(tracked):
    study, records = tracked
    parent = records.parent
    assert parent.data.params["seed"] == "3"
    assert parent.data.tags["nasrunner.python"] == ".".join(map(str, sys.version_info[:3]))
    assert "nasrunner.torch" in parent.data.tags
    best = [value for _, value in records.curve(parent, "best_reward")]
    assert best[:3] == [0.63, 1.0, 1.0]
    assert "seed: 3" in records.artifact(parent, "config.yaml")
    assert records.artifact(parent, "ledger.jsonl") == (study.folder / "ledger.jsonl").read_text()
    assert records.artifact(parent, "summary.json") == "{}"
    note = parent.data.tags["mlflow.note.content"]
    assert "| 0001 | 1 | 101 |" in note
    assert "Best architecture, child 0001:\n\n```\naffine(units=2) → relu" in note
    for command in ("nasrunner-report from=", "nasrunner-retrain from=", "nasrunner-export from="):
        assert f"{command}{study.folder}" in note


def test_times_are_those_of_the_training(tracked):
    _, records = tracked
    child = records.children()[8].info
    assert child.end_time - child.start_time == pytest.approx(2000, abs=1)
    assert abs(child.end_time / 1000 - time.time()) < 300
    parent = records.parent.info
    assert parent.start_time <= child.end_time <= parent.end_time


def test_artifacts_lie_beside_the_database(tracked):
    study, records = tracked
    assert study.folder.parents[1].joinpath("mlartifacts", "fake").is_dir()
    assert records.parent.info.artifact_uri.startswith(f"file://{study.folder.parents[1]}")


def test_the_folder_says_where_the_study_is(tracked):
    study, records = tracked
    kept = recall(study.folder)
    assert kept["run_id"] == records.parent.info.run_id
    assert kept["page"].startswith(f"/#/experiments/{records.experiment_id}/runs?workflowType=mach")
    (key,) = urllib.parse.parse_qs(kept["page"].partition("?")[2])["viewStateShareKey"]
    tags = records.client.get_experiment(records.experiment_id).tags
    view = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    assert view["selectedColumns"][0] == view["orderByKey"] == "metrics.`reward`"
    matching = records.client.search_runs([records.experiment_id], view["searchFilter"])
    assert {run.info.run_id for run in matching} == {
        run.info.run_id for run in records.children().values()
    }


def test_a_better_child_is_in_the_description_before_the_study_ends(tmp_path):
    study = FakeStudy(tmp_path / "fake" / "2026")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracked = tracker(uri, poll_s=0.05)
    tracked.open(study.info, study.state, study.inspect)
    for index in range(2):
        study.record(tracked, index)
    records = Records(uri, study.folder)
    until = time.monotonic() + 30
    while "| 0001 | 1 |" not in (note := records.parent.data.tags["mlflow.note.content"]):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert note.startswith("Runs: 2 children recorded.")
    tracked.close(study.summary())


def test_the_best_children_are_looked_at_once_and_may_be_unknown(tmp_path, caplog):
    looked = []

    def inspect(given):
        looked.append(given)
        if len(looked) > 3:
            raise AttributeError("the module is another")
        return study.inspect(given)

    def end(index, blueprint):
        outcome = study.outcome(index)
        study.append(outcome)
        writer.ended(outcome, blueprint)

    study = FakeStudy(tmp_path / "study")
    for index in range(3):
        study.append(study.outcome(index))
    runs = StudyRuns(None, "fake", study.info, "fake/2026")
    writer = mlflow_writer.Writer(runs, study.state, inspect, poll_s=5.0, max_waiting=256)
    for index in (8, 9, 11):  # each is among the best
        end(index, study.inspect(study.proposal(index).genotype))
    assert len(looked) == 3
    assert "| 0011 | 0.66 |" in writer._note
    for index in (6, 50):  # the second has no blueprint, either
        end(index, None)
    assert [each.getMessage() for each in caplog.records] == [
        "MLflow's note lacks the best children: the module is another"
    ]
    assert "| 0006 |" not in writer._note


def test_a_resumed_study_writes_only_what_is_missing_or_unfinished(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    folder = tmp_path / "fake" / "2026"
    track(uri, folder, NUM_CHILDREN)
    records = Records(uri, folder)
    before = records.children()
    records.client.delete_run(before[6].info.run_id)
    records.client.update_run(before[8].info.run_id, status="RUNNING")
    records.client.update_run(records.parent.info.run_id, status="RUNNING")
    resumed = FakeStudy(folder)
    again = tracker(uri)
    again.open(resumed.info, resumed.replay(), resumed.inspect)
    resumed.record(again, NUM_CHILDREN)
    again.close(resumed.summary())
    records.assert_complete(NUM_CHILDREN + 1)
    after = records.children()
    kept = [i for i in before if before[i].info.run_id == after[i].info.run_id]
    assert kept == list(before)  # that of child 6 was in MLflow's trash
    assert resumed.num_inspected == 1 + 2  # child 8 once, the new one twice


@pytest.mark.slow
def test_a_child_that_was_sent_twice_is_written_once(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    folder = tmp_path / "fake" / "2026"
    track(uri, folder, 2)
    records = Records(uri, folder)
    first = records.children()[1]
    records.client.create_run(records.experiment_id, tags=first.data.tags)
    resumed = FakeStudy(folder)
    again = tracker(uri)
    again.open(resumed.info, resumed.replay(), resumed.inspect)
    again.close(resumed.summary())
    assert records.children()[1].info.run_id == first.info.run_id


@pytest.mark.parametrize("is_done", [True, False], ids=["answer lost", "request lost"])
def test_requests_that_fail_are_repeated_without_a_trace(tmp_path, monkeypatch, is_done):
    failed = []

    def unreliable(method, period):
        calls = itertools.count(1)

        def call(*args, **kwargs):
            fails = next(calls) % period == 0
            result = None if fails and not is_done else method(*args, **kwargs)
            if fails:
                failed.append(method.__name__)
                raise ConnectionError("made to fail")
            return result

        return call

    periods = {"create_run": 3, "log_batch": 4, "set_terminated": 5}
    for name, period in periods.items():
        method = getattr(MlflowClient, name)
        monkeypatch.setattr(MlflowClient, name, unreliable(method, period))
    monkeypatch.setattr(mlflow_writer, "_FIRST_PAUSE_S", 0.0)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    study = track(uri, tmp_path / "fake" / "2026", NUM_CHILDREN)
    assert set(failed) == set(periods)
    monkeypatch.undo()
    Records(uri, study.folder).assert_complete()


@pytest.mark.slow
def test_a_server_that_comes_back_while_the_study_closes_is_not_missed(tmp_path, monkeypatch):
    """However long it was away, and so the pauses have become."""
    real, attempts, is_away = StudyRuns.connect, itertools.count(1), threading.Event()

    def connect(runs):
        number = next(attempts)
        is_away.set()
        if number <= 3:  # twice after the study has ended
            raise ConnectionError("the server is away")
        real(runs)

    monkeypatch.setattr(StudyRuns, "connect", connect)
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(mlflow_writer, name, 600.0)
    monkeypatch.setattr(mlflow_writer, "_FIRST_TRIES_S", 0.0)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    study = FakeStudy(tmp_path / "fake" / "2026")
    tracked = tracker(uri)
    tracked.open(study.info, study.state, study.inspect)
    assert is_away.wait(60)
    for index in range(NUM_CHILDREN):
        study.record(tracked, index)
    tracked.close(study.summary())
    Records(uri, study.folder).assert_complete()


@pytest.mark.slow
def test_a_child_that_mlflow_refuses_does_not_hold_up_the_others(tmp_path, monkeypatch, caplog):
    real = MlflowClient.set_terminated

    def refuse(client, run_id, *args):
        if client.get_run(run_id).data.tags.get("nasrunner.index") == "2":
            raise ValueError("refused")
        real(client, run_id, *args)

    monkeypatch.setattr(MlflowClient, "set_terminated", refuse)
    monkeypatch.setattr(mlflow_writer, "_FIRST_PAUSE_S", 0.0)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with caplog.at_level(logging.WARNING, "nasrunner"):
        study = track(uri, tmp_path / "fake" / "2026", NUM_CHILDREN)
    assert "MLflow refuses child 2, which stands in the ledger: refused" in caplog.text
    assert "lacks up to 1 children" in caplog.text
    children = Records(uri, study.folder).children()
    assert [i for i, run in children.items() if run.info.status == "RUNNING"] == [2]


def test_curves_of_a_running_child_appear_before_it_ends(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    study = FakeStudy(tmp_path / "fake" / "2026")
    tracked = tracker(uri, poll_s=0.05)
    tracked.open(study.info, study.state, study.inspect)
    study.propose(study.proposal(0))
    tracked.started(study.proposal(0), study.inspect(study.proposal(0).genotype))
    study.run_child(0)
    curves = study.folder / "children" / "0000" / "curves.jsonl"
    whole = curves.read_text()
    curves.write_text(whole[:-20])  # the last line is being written
    assert tracked._writer is not None
    wait_until(lambda: tracked._writer.runs.is_connected)
    records = Records(uri, study.folder)
    wait_until(lambda: records.children() and records.curve(records.children()[0], "val_loss"))
    live = records.children()[0]
    assert live.info.status == "RUNNING"
    assert live.data.tags["nasrunner.status"] == "running"
    assert records.curve(live, "val_loss") == [(0, 1.0), (1, 0.5)]
    curves.write_text(whole)
    study.append(study.outcome(0))
    tracked.recorded(study.outcome(0), study.inspect(study.proposal(0).genotype))
    tracked.close(study.summary())
    ended = records.children()[0]
    assert ended.info.run_id == live.info.run_id
    assert ended.info.status == "FINISHED"
    assert ended.data.tags["nasrunner.status"] == "completed"
    assert records.curve(ended, "val_loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_a_study_is_killed_by_an_interruption_failed_without_a_child_and_else_finished(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    study = FakeStudy(tmp_path / "fake" / "2026")
    why = "no child was completed: 3 failed"
    for reason, failure, status in (
        ("interrupted", None, "KILLED"),
        ("max_children=3 is spent", why, "FAILED"),
        ("the space is exhausted", None, "FINISHED"),
    ):
        tracked = tracker(uri)
        tracked.open(study.info, study.state, study.inspect)
        study.record(tracked, len(study.outcomes))
        tracked.close(dataclasses.replace(study.summary(reason), failure=failure))
        parent = Records(uri, study.folder).parent
        assert parent.info.status == status
        assert (why in parent.data.tags["mlflow.note.content"]) == (failure is not None)


@pytest.mark.slow
def test_a_server_that_goes_away_stops_nothing_and_resuming_writes_the_rest(tmp_path, caplog):
    study = FakeStudy(tmp_path / "fake" / "2026")
    with answering(Healthy) as uri:
        tracked = tracker(uri, max_waiting=2, close_timeout_s=0.3)
    tracked.open(study.info, study.state, study.inspect)
    start = time.monotonic()
    for index in range(NUM_CHILDREN):
        study.record(tracked, index)
    assert sum(ended.blueprint is not None for ended in tracked._writer._waiting) == 2
    with caplog.at_level(logging.WARNING, "nasrunner"):
        tracked.close(study.summary())
    assert time.monotonic() - start < 5
    assert "lacks up to 12 children: the study is complete in its ledger" in caplog.text
    assert f"nasrunner resume={study.folder}" in caplog.text
    database = f"sqlite:///{tmp_path}/mlflow.db"
    resumed = FakeStudy(study.folder)
    again = tracker(database)
    again.open(resumed.info, resumed.replay(), resumed.inspect)
    again.close(resumed.summary())
    Records(database, study.folder).assert_complete()


@pytest.mark.parametrize(
    ("name", "value"), [("poll_s", 0), ("max_waiting", 0), ("close_timeout_s", -1)]
)
def test_a_setting_out_of_range_names_itself(tmp_path, name, value):
    with pytest.raises(ConfigError, match=rf"tracker\.{name} must be >= "):
        tracker(f"sqlite:///{tmp_path}/x.db", **{name: value})


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://me@127.0.0.1:1/db"])
@pytest.mark.parametrize(
    ("name", "value"), [("poll_s", 0), ("max_waiting", 0), ("close_timeout_s", -1)]
)
def test_a_setting_is_checked_before_anybody_is_asked_at_the_address(monkeypatch, uri, name, value):
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("asked the network"))
    monkeypatch.setattr("importlib.util.find_spec", lambda *args: pytest.fail("asked for drivers"))
    with pytest.raises(ConfigError, match=rf"tracker\.{name} must be >= "):
        tracker(uri, artifact_uri="artifacts", **{name: value})


def test_constructing_a_tracker_neither_imports_mlflow_nor_creates_anything(tmp_path):
    code = (
        "import sys; from tests.trackers.fakes import tracker;"
        f"tracker('sqlite:///{tmp_path}/outputs/mlflow.db');"
        "sys.exit('mlflow' in sys.modules or 'sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert not list(tmp_path.iterdir())


def test_the_ui_command_names_the_absolute_database(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    command = f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/outputs/mlflow.db"
    assert tracker("sqlite:///outputs/mlflow.db").ui_command == command


def test_the_ui_command_can_be_typed_where_mlflow_is_not_on_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: None)
    executable = tracker("sqlite:///outputs/mlflow.db").ui_command.split()[0]
    assert (tmp_path / executable).resolve().name == "mlflow"
    assert (tmp_path / executable).is_file()


def wait_until(condition, timeout_s=60):
    """Polls what a thread or a process does; no test takes the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def session(uri, folder, first=0, last=NUM_CHILDREN):
    """Part of a study in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.trackers.fakes", uri, str(folder), str(first), str(last)]
    )


@pytest.mark.slow
def test_studies_that_start_at_once_share_a_fresh_database(tmp_path):
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    folders = [tmp_path / "outputs" / f"{number}" / "2026" for number in range(6)]
    sessions = [session(uri, folder) for folder in folders]
    assert {s.wait(280) for s in sessions} == {0}
    for folder in folders:
        Records(uri, folder).assert_complete()


@pytest.mark.slow
def test_a_study_killed_while_its_database_is_made_leaves_no_half_a_database(tmp_path):
    uri, folder = f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "study" / "2026"
    first = session(uri, folder)
    wait_until((tmp_path / "mlflow.db.unfinished" / "mlflow.db").exists)
    kill_and_resume(first, uri, folder)
    assert not (tmp_path / "mlflow.db.unfinished").exists()


def kill_and_resume(first, uri, folder):
    first.kill()
    first.wait()
    ledger = folder / "ledger.jsonl"  # not there yet where no child was begun
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    recorded = len([line for line in lines if line.endswith("}")])
    assert session(uri, folder, recorded, NUM_CHILDREN).wait(120) == 0
    Records(uri, folder).assert_complete()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [3, 7])
def test_a_study_killed_at_any_moment_is_written_once_when_resumed(tmp_path, moment):
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    folder = tmp_path / "outputs" / "fake" / "2026"
    first = session(uri, folder)
    wait_until(folder.exists)
    time.sleep(0.6 * moment)  # before MLflow is imported, within its migrations, within a child
    kill_and_resume(first, uri, folder)
