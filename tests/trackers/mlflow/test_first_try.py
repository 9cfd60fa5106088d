"""A tracker is tried before the first child: what is wrong is one sentence, an outage a warning."""

import http.server
import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nasrunner.core import ConfigError
from nasrunner.trackers.mlflow import connection, writer
from nasrunner.trackers.mlflow.tracker import MlflowTracker
from tests.trackers.fakes import FakeStudy, tracker
from tests.trackers.servers import answering

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Website(http.server.BaseHTTPRequestHandler):
    """A server that is no MLflow: it knows its own pages only."""

    code = 404

    def do_GET(self):
        self.send_response(200 if self.path == "/health" else self.code)
        self.end_headers()
        self.wfile.write(b"<html></html>")

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Locked(Website):
    code = 401


class Overrun(Website):
    code = 503


def opened(tmp_path: Path, uri: str, **changes: object) -> MlflowTracker:
    """A study that begins; nothing of it is trained."""
    study = FakeStudy(tmp_path / "fake" / "2026")
    tracked = tracker(uri, close_timeout_s=0.0, **changes)
    tracked.open(study.info, study.state, study.inspect)
    return tracked


@pytest.mark.parametrize(
    ("server", "reason"), [(Website, "takes no study: .*404"), (Locked, "takes no study: .*401")]
)
def test_what_a_server_refuses_is_told_before_the_first_child(tmp_path, server, reason):
    with (
        answering(server) as uri,
        pytest.raises(ConfigError, match=rf"^tracker\.tracking_uri: MLflow at {uri} {reason}"),
    ):
        opened(tmp_path, f"{uri}/")


@pytest.mark.parametrize("is_there", [True, False], ids=["overrun", "stopped"])
def test_a_server_that_is_away_does_not_keep_a_study_from_starting(
    tmp_path, monkeypatch, caplog, is_there
):
    monkeypatch.setattr(writer, "_FIRST_TRIES_S", 0.1)
    with answering(Overrun) as uri:
        if is_there:
            tracked = opened(tmp_path, uri)
    if not is_there:
        tracked = opened(tmp_path, uri)
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert said[0].startswith(f"MLflow at {uri} does not answer: ")
    assert ("503" if is_there else "refused") in said[0]
    tracked._writer.abandon()


def test_an_mlflow_that_cannot_be_imported_is_told_before_the_first_child(tmp_path, monkeypatch):
    def broken(is_database):
        raise ImportError("cannot import name 'x' from 'google.protobuf'")

    monkeypatch.setattr(connection, "import_mlflow", broken)
    tracker(f"sqlite:///{tmp_path}/x.db").prepare()  # in a thread, whose traceback is an error here
    with pytest.raises(
        ConfigError, match=r"^tracker=mlflow: MLflow cannot be imported: .*protobuf'\. Legal: "
    ):
        opened(tmp_path, f"sqlite:///{tmp_path}/x.db")


@pytest.mark.slow  # a process of its own
def test_a_process_that_ends_while_mlflow_is_imported_waits_for_that(tmp_path):
    """The interpreter would end under a thread that loads extension modules, and abort."""
    (tmp_path / "mlflow.py").write_text(
        "import pathlib, time\n"
        "pathlib.Path('begun').touch()\n"
        "time.sleep(0.5)\n"
        "pathlib.Path('ended').touch()\n"
    )
    program = (
        "import pathlib, sys, threading, time\n"
        "from nasrunner.trackers.mlflow.connection import import_early\n"
        "threading.Thread(target=import_early, args=(False,), daemon=True).start()\n"
        "while not pathlib.Path('begun').exists(): time.sleep(0.01)\n"
        "sys.exit(3)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert ended.returncode == 3
    assert (tmp_path / "ended").exists()


def test_a_database_of_another_mlflow_is_told_before_the_first_child(database, tmp_path):
    with closing(sqlite3.connect(database)) as opened_file:
        opened_file.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
        opened_file.commit()
    with pytest.raises(ConfigError, match=r"takes no study: .*out-of-date database schema"):
        opened(tmp_path, f"sqlite:///{database}")


@pytest.mark.parametrize("place", ["{tmp}/file", "{tmp}/file/below"])
def test_a_place_where_artifacts_cannot_be_is_told_before_the_first_child(
    database, tmp_path, place
):
    (tmp_path / "file").touch()
    uri = place.format(tmp=tmp_path)
    with pytest.raises(
        ConfigError, match=rf"^tracker\.artifact_uri: artifacts cannot be written to .*{uri}/fake/"
    ):
        opened(tmp_path, f"sqlite:///{database}", artifact_uri=uri)
    client = MlflowClient(f"sqlite:///{database}")
    assert not client.search_runs([each.experiment_id for each in client.search_experiments()])


def test_a_place_for_artifacts_that_an_experiment_does_not_have_is_not_ignored(
    database, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{database}"
    for place in ("here", "here/", None, f"{tmp_path}/here"):  # made there, and found there
        opened(tmp_path, uri, artifact_uri=place)._writer.abandon()
    with pytest.raises(
        ConfigError,
        match=r"^tracker\.artifact_uri: experiment 'fake' keeps its artifacts in .*/here/fake, "
        r"where it was made, and not in .*/there/fake\. Legal: null, or another tracker\.exp",
    ):
        opened(tmp_path / "another", uri, artifact_uri="there")
