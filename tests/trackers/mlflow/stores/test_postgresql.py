"""MLflow's runs in a real PostgreSQL: directly, and behind an MLflow server that goes away."""

import importlib.util
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from nasrunner.command import main
from nasrunner.core import ConfigError
from nasrunner.trackers.mlflow.stores.database import with_driver
from tests.trackers.databases import PASSWORD
from tests.trackers.fakes import track, tracker
from tests.trackers.mlflow.test_tracker import NUM_CHILDREN, Records, wait_until
from tests.trackers.servers import free_port, mlflow_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgresql,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def session(uri: str, folder: Path, *artifacts: str) -> subprocess.Popen[bytes]:
    """A study in a process of its own."""
    command = [sys.executable, "-m", "tests.trackers.fakes", uri, str(folder), "0"]
    return subprocess.Popen([*command, str(NUM_CHILDREN), *artifacts])


def num_recorded(folder: Path) -> int:
    ledger = folder / "ledger.jsonl"
    return ledger.read_text().count("\n") if ledger.exists() else 0


def test_a_study_is_written_to_a_database_without_a_server_before_it(postgresql, tmp_path):
    uri = postgresql.new_database("direct")
    artifacts = str(tmp_path / "artifacts")
    study = track(uri, tmp_path / "fake" / "2026", NUM_CHILDREN, artifact_uri=artifacts)
    records = Records(with_driver(uri, ""), study.folder)
    records.assert_complete()
    child = records.children()[8]
    assert child.info.artifact_uri.startswith(f"{artifacts}/fake/")
    assert records.artifact(child, "config.yaml") == "child: 8\n"


def test_studies_that_start_at_once_share_an_empty_database(postgresql, tmp_path):
    uri = postgresql.new_database("at_once")
    folders = [tmp_path / name / "2026" for name in "abc"]
    sessions = [session(uri, folder, str(tmp_path / "artifacts")) for folder in folders]
    assert [s.wait(200) for s in sessions] == [0, 0, 0]
    for folder in folders:
        Records(with_driver(uri, ""), folder).assert_complete()
    names = postgresql.sql("SELECT name FROM experiments ORDER BY experiment_id", "at_once")
    assert names.split() == ["Default", "fake"]
    failed = re.findall("ERROR: .*", postgresql.log.read_text())
    assert not failed, "two sessions made the same tables"


def test_two_studies_outlive_a_server_on_the_database_that_is_killed(postgresql, tmp_path):
    store = with_driver(postgresql.new_database("behind"), "")
    port, database, log = free_port(), tmp_path / "unused.db", tmp_path / "server.log"
    folders = [tmp_path / name / "2026" for name in "ab"]
    with mlflow_server(port, database, log, store) as uri:
        sessions = [session(uri, folder) for folder in folders]
        wait_until(lambda: all(num_recorded(folder) >= 4 for folder in folders), 200)
    wait_until(lambda: all(num_recorded(folder) == NUM_CHILDREN for folder in folders))
    with mlflow_server(port, database, log, store) as uri:
        assert [s.wait(200) for s in sessions] == [0, 0]
        for folder in folders:
            Records(uri, folder).assert_complete()


@pytest.mark.parametrize(
    ("user", "password", "database", "reason"),
    [
        ("postgres", "wr%2Fong", "postgres", "password authentication failed .*PGPASSWORD"),
        ("postgres", None, "missing", 'database "missing" does not exist. createdb makes one'),
        ("guest", None, "postgres", "its user may not create tables in it"),
    ],
    ids=["password", "database", "rights"],
)
def test_what_the_database_refuses_is_one_sentence_without_the_password(
    postgresql, user, password, database, reason
):
    if user == "guest":
        postgresql.sql(f"CREATE USER guest PASSWORD '{PASSWORD}'")
    given = f"{user}:{password}@" if password else f"{user}@"
    uri = f"postgresql://{given}127.0.0.1:{postgresql.port}/{database}"
    sentence = rf"^tracker\.tracking_uri: .* cannot be used: .*{reason}"
    with pytest.raises(ConfigError, match=sentence) as caught:
        tracker(uri, artifact_uri="/tmp/x")
    assert "wr%2Fong" not in str(caught.value)
    assert "wr/ong" not in str(caught.value)


def test_a_password_in_the_address_stands_in_no_file_of_the_study(
    postgresql, tmp_path, monkeypatch
):
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.chdir(tmp_path)
    public = postgresql.new_database("secret")
    quoted = urllib.parse.quote(PASSWORD, safe="")
    uri = public.replace("@", f":{quoted}@")
    options = ["executor=serial", "max_children=1", "trainer.max_epochs=1", "hydra.run.dir=study"]
    options += [f"tracker.tracking_uri='{uri}'", "tracker.artifact_uri=artifacts"]
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["nasrunner", *options])
    main()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "study" / ".hydra" / "overrides.yaml" in files
    assert tmp_path / "study" / "mlflow.json" in files
    for path in files:
        assert quoted.encode() not in path.read_bytes(), path
        assert PASSWORD.encode() not in path.read_bytes(), path
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert Records(with_driver(public, ""), Path("study"), "nasrunner").children()


def test_without_a_driver_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'nasrunner\[postgresql\]'"):
        tracker("postgresql://me@127.0.0.1:9/db", artifact_uri="/tmp/x")
