"""SQLite on the file systems of a cluster: told from a list of mounts that is made up."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nasrunner.core import ConfigError
from nasrunner.trackers.mlflow.connection import let_go
from nasrunner.trackers.mlflow.stores import sqlite as mlflow_sqlite
from tests.trackers.fakes import track, tracker
from tests.trackers.mlflow.test_tracker import NUM_CHILDREN, Records

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on NFS, as far as this process can tell."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    (tmp_path / "mounts").write_text(
        f"/dev/sda1 / ext4 rw 0 0\nnas:/ {tmp_path}/home nfs4 rw 0 0\n"
    )
    monkeypatch.setattr(mlflow_sqlite, "MOUNTS", tmp_path / "mounts")
    return tmp_path / "home"


def journal(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database)) as opened:
        return str(opened.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_slurm_job_refuses_sqlite_on_a_network_file_system(home, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with pytest.raises(
        ConfigError,
        match=rf"^tracker\.tracking_uri: sqlite:///{home}/outputs/mlflow\.db lies on a network "
        r"file system \(nfs4\), .*a SLURM job is to write it. Legal: .*postgresql://….*tracker=none",
    ):
        tracker(f"sqlite:///{home}/outputs/mlflow.db")
    assert not home.exists()


def test_a_slurm_job_takes_sqlite_on_a_disk_of_its_own(home, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert tracker(f"sqlite:///{home.parent}/mlflow.db").address.database is not None


@pytest.mark.slow
def test_one_machine_keeps_studies_on_a_network_file_system_without_a_write_ahead_log(home):
    database = home / "outputs" / "mlflow.db"
    study = track(f"sqlite:///{database}", home / "outputs" / "fake" / "2026", NUM_CHILDREN)
    Records(f"sqlite:///{database}", study.folder).assert_complete()
    assert journal(database) == "delete"
    assert not list(database.parent.glob("mlflow.db-*"))


def test_a_write_ahead_log_is_given_up_when_a_file_was_moved_to_a_network_file_system(home):
    home.mkdir()
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as opened:
        opened.execute("PRAGMA journal_mode = WAL")
    assert journal(home / "mlflow.db") == "wal"
    tracker(f"sqlite:///{home}/mlflow.db").address.prepare()
    assert journal(home / "mlflow.db") == "delete"


@pytest.mark.slow
def test_a_study_that_has_ended_leaves_the_file_alone(tmp_path):
    """No log beside it, as it would have to be copied with it, and no lock."""
    uri = f"sqlite:///{tmp_path}/outputs/mlflow.db"
    assert mlflow_sqlite.SqliteFile(uri, "uri").has_wal
    for name in ("first", "second"):
        study = track(uri, tmp_path / name, NUM_CHILDREN)
        Records(uri, study.folder).assert_complete()
        let_go(MlflowClient(uri))  # which has looked at the records
        assert {each.name for each in (tmp_path / "outputs").iterdir()} <= {
            "mlflow.db",
            "mlartifacts",
        }
