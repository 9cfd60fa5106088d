"""Which address counts: the command line, then MLFLOW_TRACKING_URI, then a file in outputs."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from nasrunner.compose import config as skeleton
from nasrunner.compose.trackers import usual_settings
from nasrunner.core import ConfigError
from nasrunner.trackers.mlflow.address import TrackingAddress, check_uri
from nasrunner.trackers.mlflow.connection import Connection
from tests.trackers.fakes import track, tracker
from tests.trackers.mlflow.test_tracker import NUM_CHILDREN, Records

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CONF = Path(__file__).parents[3] / "conf"


@pytest.mark.parametrize(
    ("environment", "overrides", "expected"),
    [
        (None, [], "sqlite:///outputs/mlflow.db"),
        ("http://server:5000", [], "http://server:5000"),
        ("http://server:5000", ["tracker.tracking_uri=sqlite:///mine.db"], "sqlite:///mine.db"),
    ],
)
def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    monkeypatch, environment, overrides, expected
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if environment is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", environment)
    skeleton.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=[*overrides, "study=test"])
    assert config.tracker.tracking_uri == expected
    if not overrides:
        assert usual_settings("mlflow")["tracking_uri"] == expected


def test_an_environment_that_says_something_else_does_not_divert_a_study(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    study = track(uri, tmp_path / "fake" / "2026", NUM_CHILDREN)
    Records(uri, study.folder).assert_complete()


@pytest.mark.parametrize("uri", ["databricks", "databricks://profile"])
def test_a_databricks_workspace_is_an_address_with_or_without_a_profile(uri):
    check_uri(uri, "tracker.tracking_uri")


@pytest.mark.parametrize("uri", ["databricks", "databricks://profile"])
def test_a_workspace_without_credentials_is_refused_before_training(uri, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=f"tracking_uri={uri}: there are no credentials for it"):
        Connection(TrackingAddress(uri, None), "nasrunner", "study", {})


def test_a_folder_in_the_environment_is_told_to_come_from_there(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(ConfigError, match=r"'\./mlruns' \(from MLFLOW_TRACKING_URI\)\. Legal: "):
        tracker("./mlruns")
