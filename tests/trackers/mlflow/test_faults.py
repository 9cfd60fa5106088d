"""MLflow that loses replies, has a full disk or was tidied up by somebody: nothing is lost."""

import errno
import http.client
import http.server
import itertools
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, TEMPORARILY_UNAVAILABLE
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from nasrunner.trackers.mlflow import writer as mlflow_writer
from nasrunner.trackers.mlflow.runs import StudyRuns
from tests.trackers.fakes import FakeStudy, track, tracker
from tests.trackers.mlflow.test_tracker import NUM_CHILDREN, Records, wait_until
from tests.trackers.servers import answering, free_port, mlflow_server

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FILES = {"architecture.svg", "architecture.txt", "config.yaml", "genotype.json"}


@pytest.fixture
def uri(database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of an empty database, which is tried again without a pause."""
    monkeypatch.setattr(mlflow_writer, "_FIRST_PAUSE_S", 0.0)
    return f"sqlite:///{database}"


def session(uri: str, folder: Path, last: int, **changes: Any) -> FakeStudy:
    """A study that begins or goes on, up to a child."""
    study = FakeStudy(folder)
    tracked = tracker(uri, **changes)
    tracked.open(study.info, study.replay(), study.inspect)
    for index in range(len(study.outcomes), last):
        study.record(tracked, index)
    tracked.close(study.summary())
    return study


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Artifacts can be written while it is set: there is room."""
    has_room = threading.Event()
    real = LocalArtifactRepository.log_artifacts

    def log_artifacts(repository: Any, *args: Any) -> None:
        if not has_room.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(repository, *args)

    monkeypatch.setattr(LocalArtifactRepository, "log_artifacts", log_artifacts)
    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", log_artifacts)
    return has_room


def artifacts_of(records: Records) -> dict[int, set[str]]:
    return {
        index: {item.path for item in records.client.list_artifacts(run.info.run_id)}
        for index, run in records.children().items()
    }


def assert_has_all_artifacts(records: Records) -> None:
    found = artifacts_of(records)
    assert len(found) == NUM_CHILDREN
    for index, files in found.items():
        expected = {3: FILES | {"error.txt"}, 5: {"genotype.json", "error.txt"}}
        assert files == expected.get(index, FILES - ({"config.yaml"} if index == 7 else set()))
    assert len(records.client.list_artifacts(records.parent.info.run_id)) == 3
    tags = [run.data.tags for run in records.children().values()]
    assert not any("nasrunner.artifacts" in each for each in tags)


@pytest.mark.slow
def test_artifacts_are_written_when_the_disk_has_room_again(uri, disk, tmp_path, caplog):
    study = FakeStudy(tmp_path / "fake" / "2026")
    tracked = tracker(uri)
    tracked.open(study.info, study.state, study.inspect)
    for index in range(NUM_CHILDREN):
        study.record(tracked, index)
    wait_until(lambda: tracked._writer.num_bare == NUM_CHILDREN)
    records = Records(uri, study.folder)
    assert records.children()[8].info.status == "FINISHED", "figures wait for no picture"
    disk.set()
    tracked.close(study.summary())
    records.assert_complete()
    assert_has_all_artifacts(records)
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    assert "MLflow artifacts cannot be written, and are added later: " in caplog.text


def test_artifacts_of_a_full_disk_are_completed_by_resuming(uri, disk, tmp_path, caplog):
    folder = tmp_path / "fake" / "2026"
    session(uri, folder, NUM_CHILDREN)
    assert "lacks the artifacts of 12 children and those of the study: the study" in caplog.text
    assert caplog.records[-1].message.endswith("No space left on device)")
    records = Records(uri, folder)
    records.assert_complete()
    assert not any(artifacts_of(records).values())
    before = points_of(records)
    disk.set()
    resumed = session(uri, folder, NUM_CHILDREN)
    records.assert_complete()
    assert_has_all_artifacts(records)
    assert points_of(records) == before
    assert resumed.num_inspected == NUM_CHILDREN


def points_of(records: Records) -> dict[tuple[str, str], list[tuple[int, int, float]]]:
    """Every point of every metric of a study and its children."""
    found = {}
    for run in (records.parent, *records.children().values()):
        for name in run.data.metrics:
            history = records.client.get_metric_history(run.info.run_id, name)
            found[run.info.run_id, name] = [(p.step, p.timestamp, p.value) for p in history]
    return found


def leave(records: Records) -> None:
    pass


def rename(records: Records) -> None:
    records.client.rename_experiment(records.experiment_id, "another")


def delete_experiment(records: Records) -> None:
    records.client.delete_experiment(records.experiment_id)


def delete_study(records: Records) -> None:
    records.client.delete_run(records.parent.info.run_id)


def delete_all(records: Records) -> None:
    for run in (*records.children().values(), records.parent):
        records.client.delete_run(run.info.run_id)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "tidy",
    [
        pytest.param(leave, marks=SLOW),
        rename,
        pytest.param(delete_experiment, marks=SLOW),
        pytest.param(delete_study, marks=SLOW),
        delete_all,
    ],
)
def test_resuming_finds_a_study_by_its_ids_and_writes_nothing_twice(uri, tmp_path, tidy):
    folder = tmp_path / "fake" / "2026"
    session(uri, folder, NUM_CHILDREN)
    records = Records(uri, folder)
    runs, points = {records.parent.info.run_id}, points_of(records)
    runs |= {run.info.run_id for run in records.children().values()}
    tidy(records)
    session(uri, folder, NUM_CHILDREN)
    records.assert_complete()
    assert points_of(records) == points
    client = MlflowClient(uri)
    everywhere = [each.experiment_id for each in client.search_experiments(ViewType.ALL)]
    found = client.search_runs(everywhere, run_view_type=ViewType.ALL)
    assert {run.info.run_id for run in found} == runs
    assert all(run.info.lifecycle_stage == "active" for run in found)


@pytest.mark.slow
def test_resuming_with_another_experiment_writes_the_study_there(uri, tmp_path):
    folder = tmp_path / "fake" / "2026"
    session(uri, folder, 2)
    session(uri, folder, NUM_CHILDREN, experiment="another")
    Records(uri, folder, "another").assert_complete()


@pytest.mark.slow
@pytest.mark.parametrize("tidy", [delete_experiment, delete_study, delete_all])
def test_what_is_put_in_the_trash_while_a_study_runs_is_taken_out_of_it(uri, tmp_path, tidy):
    study = FakeStudy(tmp_path / "fake" / "2026")
    tracked = tracker(uri)
    tracked.open(study.info, study.state, study.inspect)
    for index in range(4):
        study.record(tracked, index)
    wait_until(lambda: not tracked._writer._waiting)
    records = Records(uri, study.folder)
    tidy(records)
    for index in range(4, NUM_CHILDREN):
        study.record(tracked, index)
    tracked.close(study.summary())
    assert MlflowClient(uri).get_experiment(records.experiment_id).lifecycle_stage == "active"
    if tidy is not delete_all:  # of what is complete, nothing is looked at again but by resuming
        records.assert_complete()
    session(uri, study.folder, NUM_CHILDREN)
    records.assert_complete()


@pytest.mark.parametrize(
    "code", [TEMPORARILY_UNAVAILABLE, pytest.param(INTERNAL_ERROR, marks=SLOW)]
)
def test_what_is_no_refusal_is_tried_for_as_long_as_it_takes(uri, tmp_path, monkeypatch, code):
    """A database whose disk is full can be read: every answer but to writing is as it should be."""
    real, calls = MlflowClient.set_terminated, itertools.count()

    def set_terminated(client, *args):
        if next(calls) < 40:
            raise MlflowException("(sqlite3.OperationalError) database or disk is full", code)
        real(client, *args)

    monkeypatch.setattr(MlflowClient, "set_terminated", set_terminated)
    study = track(uri, tmp_path / "fake" / "2026", NUM_CHILDREN)
    assert next(calls) > 40
    Records(uri, study.folder).assert_complete()


@pytest.mark.slow
def test_a_child_that_makes_the_server_fail_holds_up_neither_the_others_nor_the_end(
    uri, tmp_path, monkeypatch, caplog
):
    real = MlflowClient.set_terminated

    def fail(client, run_id, *args):
        if client.get_run(run_id).data.tags.get("nasrunner.index") == "2":
            raise MlflowException("Internal server error", INTERNAL_ERROR)
        real(client, run_id, *args)

    monkeypatch.setattr(MlflowClient, "set_terminated", fail)
    monkeypatch.setattr(mlflow_writer, "_CLOSING_PAUSE_S", 0.0)
    study = track(uri, tmp_path / "fake" / "2026", NUM_CHILDREN)
    assert "lacks up to 1 children" in caplog.text
    records = Records(uri, study.folder)
    children = records.children()
    assert [i for i, run in children.items() if run.info.status == "RUNNING"] == [2]
    assert records.parent.info.status == "FINISHED"
    monkeypatch.undo()
    session(uri, study.folder, NUM_CHILDREN)
    records.assert_complete()


def test_what_is_being_done_is_waited_for_and_only_what_fails_is_given_up(
    uri, tmp_path, monkeypatch
):
    """As where twenty studies wait for one of them to make MLflow's tables."""
    real, may = StudyRuns.connect, threading.Event()

    def connect(runs):
        assert may.wait(60)
        real(runs)

    monkeypatch.setattr(StudyRuns, "connect", connect)
    monkeypatch.setattr("nasrunner.trackers.mlflow.tracker._FIRST_TRY_S", 0.0)
    closing = threading.Timer(1.0, may.set)
    closing.start()
    started = time.monotonic()
    study = track(uri, tmp_path / "fake" / "2026", NUM_CHILDREN, close_timeout_s=0.1)
    assert time.monotonic() - started >= 1.0
    closing.join()
    Records(uri, study.folder).assert_complete()


def cutting(target: str, is_cut: Callable[[], bool]) -> type[http.server.BaseHTTPRequestHandler]:
    """A proxy before a server, which cuts some of its replies in the middle."""
    place = urlsplit(target)

    class Cutting(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            server = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
            headers = {n: v for n, v in self.headers.items() if n.lower() != "host"}
            server.request(self.command, self.path, body, headers)
            reply = server.getresponse()
            content = reply.read()
            server.close()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.getheader("Content-Type") or "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.path != "/health" and is_cut():
                content = content[: len(content) // 2]
                self.close_connection = True
            with suppress(OSError):
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            pass

    return Cutting


@pytest.mark.slow
def test_a_study_loses_nothing_where_a_third_of_the_replies_is_cut(tmp_path, caplog):
    numbers = itertools.count()
    cut = []

    def is_cut() -> bool:
        if (number := next(numbers)) * 7 % 10 < 3:  # 3 of 10, two of them never in a row
            cut.append(number)
            return True
        return False

    with (
        mlflow_server(free_port(), tmp_path / "mlflow.db", tmp_path / "log") as server,
        answering(cutting(server, is_cut)) as uri,
    ):
        study = FakeStudy(tmp_path / "fake" / "2026")
        tracked = tracker(uri, poll_s=0.2)
        tracked.open(study.info, study.state, study.inspect)
        for index in range(NUM_CHILDREN):
            study.record(tracked, index)
        tracked.close(study.summary())
        records = Records(server, study.folder)
        records.assert_complete()
        assert_has_all_artifacts(records)
    assert len(cut) > 30
    assert "refuses" not in caplog.text
    assert "lacks" not in caplog.text
