"""Addresses of trackers: honoured whatever stands in them, or refused in one sentence."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from nasrunner.core import ConfigError
from nasrunner.core.screen.passwords import without_password
from nasrunner.trackers.mlflow.reading import StudyReader
from tests.trackers.fakes import FakeStudy, tracker
from tests.trackers.mlflow.test_tracker import NUM_CHILDREN, Records

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("outputs/mlruns", "no longer writes to a folder"),
        ("./a:b/mlruns", "no longer writes to a folder"),
        ("file:///tmp/mlruns", "no longer writes to a folder"),
        ("sqlite:///", "needs a file"),
        ("sqlite://x.db", "needs a file"),
        ("sqlite:///{tmp}/text", "file is not a database"),
        ("sqlite:///{tmp}/text/mlflow.db", "no folder that can be written"),
        ("sqlite:///{tmp}", "no file that can be written"),
        ("sqlite:///x.db?timeout=5", r"takes no settings, got '\?timeout=5'"),
        ("sqlite:///{tmp}/a%20b/x.db", r"names the folder '.*/a b', which does not exist.*%25"),
        ("sqlite:///x%3Fy.db", r"must be without % and \?, got 'x\?y\.db'"),
        ("postgres://me@host/db", "did you mean 'postgresql'"),
        ("htp://host:5000", "did you mean 'http'"),
        ("localhost:5000", r"'localhost:5000' has no scheme, did you mean http://localhost:5000"),
        ("10.0.0.7:5000/mlflow", "did you mean http://10.0.0.7:5000/mlflow"),
        ("", "must be an address, got ''"),
        (5000, "must be an address, got 5000"),
        (None, "must be an address, got None"),
        ("http://", "'http://' names no host"),
        ("http://host:port", "is no address: nonnumeric port"),
        ("http://no-such-host.invalid:5000", "is nowhere: .*Legal: a host that is known"),
        ("http://me:a/b@host:5000", "special characters must be written %2F for /"),
        ("http://me:a@b@host:5000", "special characters must be written .*%40 for @"),
        ("postgresql://me:a/b@127.0.0.1:1/db", "special characters must be written %2F for /"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_clear_error(tmp_path, monkeypatch, uri, reason):
    monkeypatch.setattr("importlib.util.find_spec", lambda *args: pytest.fail("asked for drivers"))
    (tmp_path / "text").write_text("this is no database, however long it may be read\n" * 99)
    (tmp_path / "a%20b").mkdir()
    given = uri.format(tmp=tmp_path) if isinstance(uri, str) else uri
    with pytest.raises(ConfigError, match=rf"^tracker\.tracking_uri\b.*{reason}") as caught:
        tracker(given, artifact_uri="artifacts")
    assert not {"a/b@", "a@b@"} & set(str(caught.value).split("//"))


def test_a_database_needs_a_place_for_artifacts():
    with pytest.raises(ConfigError, match=r"^tracker\.artifact_uri: a postgresql database"):
        tracker("postgresql://me@127.0.0.1:1/db")


@pytest.mark.parametrize(
    ("given", "public"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me@host/db"),
        ("postgresql://me:se/cr@et@host/db", "postgresql://me@host/db"),
        ("postgresql://me:s?e#c@host/db", "postgresql://me@host/db"),
        ("http://host:5000/u@x", "http://host:5000/u@x"),
        ("[http://a:b@c,http://d:e@f]", "[http://a@c,http://d@f]"),
        ("mysql://host/db?password=secret&x=1", "mysql://host/db?password=&x=1"),
    ],
)
def test_a_password_is_not_shown(given, public):
    assert without_password(given) == public


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1/", "postgresql://me:secret@127.0.0.1:1/db"])
def test_nobody_at_an_address_is_an_outage_and_no_error(uri):
    address = tracker(uri, artifact_uri="artifacts").address
    assert "refused" in address.outage
    assert "secret" not in address.outage
    assert "secret" not in address.shown
    assert not address.shown.endswith("/")


@pytest.mark.parametrize(
    ("experiment", "reason"),
    [
        ("x" * 501, "'xxx.*… of 501 characters"),
        ("", "'' of 0 characters"),
        (1.5, r"1\.5"),
        (True, "True"),
    ],
)
def test_an_experiment_must_have_a_name_that_mlflow_takes(tmp_path, experiment, reason):
    rule = r"^tracker\.experiment must be a name of 1 to 500 characters or null, got "
    with pytest.raises(ConfigError, match=rf"{rule}{reason}$"):
        tracker(f"sqlite:///{tmp_path}/x.db", experiment=experiment)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "experiment"), [("a%20b", 123), ("what?", ".."), ("100% ünï#code", "ö" * 500)]
)
def test_a_study_is_tracked_in_a_folder_of_any_name(tmp_path, monkeypatch, folder, experiment):
    """With an experiment whose name is a number, no folder's, or as long as it may be."""
    place = tmp_path / folder
    place.mkdir()
    monkeypatch.chdir(place)
    uri = "sqlite:///outputs/mlflow.db"
    tracked = tracker(uri, experiment=experiment)
    study = FakeStudy(Path("outputs/fake/2026").absolute())
    tracked.open(study.info, study.state, study.inspect)
    for index in range(NUM_CHILDREN):
        study.record(tracked, index)
    tracked.close(study.summary())
    records = Records(tracked.address.mlflow_uri, study.folder, str(experiment))
    records.assert_complete()
    child = records.children()[8]
    assert len(records.client.list_artifacts(child.info.run_id)) == 4
    (made,) = (place / "outputs" / "mlartifacts").iterdir()
    assert made.is_dir()
    assert list(tmp_path.iterdir()) == [place], "something lies outside the folder"
    assert {each.name for each in place.iterdir()} == {"outputs"}
    assert StudyReader(uri).study(records.parent.info.run_id)
    # What a resumed study and a report from elsewhere read in mlflow.json.
    monkeypatch.chdir(tmp_path)
    assert StudyReader(tracked.address.shown).study(records.parent.info.run_id)
    assert tracker(tracked.address.shown).address.database == place / "outputs" / "mlflow.db"
    command = tracked.ui_command.splitlines()[0]
    before, _, rest = command.rpartition(" && ")
    assert shlex.split(before) == ["cd", str(place / "outputs")]
    program, *options = shlex.split(rest)
    assert Path(program).is_absolute()
    assert options == ["ui", "--backend-store-uri", "sqlite:///mlflow.db"]


def test_a_blank_in_an_address_may_be_written_as_in_any_uri(tmp_path):
    (tmp_path / "my data").mkdir()
    for name in ("my data", "my%20data"):
        address = tracker(f"sqlite:///{tmp_path}/{name}/x.db").address
        assert address.database == tmp_path / "my data" / "x.db"


@pytest.mark.parametrize(
    "read", ["Ã¶", "\udcc3\udcb6", "\udcf6"], ids=["as Latin-1", "as ASCII", "no letter of UTF-8"]
)
def test_a_folder_that_mlflow_would_look_for_elsewhere_is_refused(tmp_path, monkeypatch, read):
    """MLflow reads names as UTF-8, whatever the locale made of their bytes."""
    encoding = {"Ã": "latin-1"}.get(read[0], "ascii")
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode(encoding, "surrogateescape"))
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    message = rf"this locale \({encoding}\) does not; legal: PYTHONUTF8=1"
    with pytest.raises(ConfigError, match=message):
        tracker(f"sqlite:///{tmp_path}/{read}/x.db")


def test_a_home_is_not_a_folder_called_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tracker("sqlite:///~/x.db").address.database == tmp_path / "x.db"
