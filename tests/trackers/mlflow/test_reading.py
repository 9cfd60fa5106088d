import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nasrunner.core import Blueprint, ConfigError, StudyInfo, Summary
from nasrunner.core.errors import NotFetchableError, TrackingError
from nasrunner.core.ledger.agreement import PredictedLevel
from nasrunner.core.ledger.state import StudyState
from nasrunner.recorded import read_study
from nasrunner.trackers.mlflow.reading import StudyReader
from nasrunner.trackers.mlflow.stores.file import recall
from tests.report.recordings import EVOLUTION, Recording
from tests.trackers.fakes import tracker

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def track(uri: str, folder: Path, **changes) -> str:
    """A study that MLflow has; returns the id of its run."""
    study = Recording(folder, **changes)
    for reward in (0.5, None, 0.7):
        study.child(reward)
    study.end()
    tracked = tracker(uri)
    info = StudyInfo(study.config["study"], folder, study.config, 100)
    tracked.open(info, StudyState(), lambda genotype: Blueprint("", {}, None, None))
    levels = [PredictedLevel(2, 5, 0.5, 0.25), PredictedLevel(3, 1, None, None)]
    done, counts = "max_children=100 is spent", {"completed": 2}
    tracked.close(
        Summary(
            done,
            counts,
            [],
            1.0,
            3.0,
            effort=2.25,
            rank_correlation=0.25,
            predicted_levels=levels,
            front={"size": 3, "hypervolume": 0.5, "reference": {"flops": 9.0}},
        )
    )
    return recall(folder)["run_id"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A database with two studies in an experiment each, a child, and a run of another project."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    runs = {
        "random": track(uri, folder / "one", study="toy", seed=4),
        "evolution": track(uri, folder / "two", study="other", searcher=EVOLUTION),
    }
    client = MlflowClient(uri)
    foreign = client.create_run(client.get_experiment_by_name("toy").experiment_id, run_name="mine")
    tags = {"nasrunner.kind": "child", "mlflow.parentRunId": runs["random"]}
    child = client.create_run(foreign.info.experiment_id, tags=tags)
    running = client.create_run(
        client.create_experiment("begun"), tags={"nasrunner.kind": "study"}, run_name="begun 1"
    )
    runs |= {"foreign": foreign.info.run_id, "child": child.info.run_id}
    return uri, {**runs, "begun": running.info.run_id}


def test_a_fetched_study_is_the_one_that_was_recorded(store, tmp_path):
    uri, runs = store
    reader = StudyReader(uri)
    folder = reader.fetch(reader.study(runs["random"]), tmp_path)
    study = read_study(folder)
    assert (study.name, study.seed, study.reason) == ("toy", 4, "max_children=100 is spent")
    rewards = [child.outcome.reward for child in study.children]
    assert rewards == [0.5, None, 0.7]
    assert recall(folder)["run_id"] == runs["random"]


def test_the_rank_correlation_one_level_ahead_is_a_metric_of_each_level(store):
    uri, runs = store
    metrics = MlflowClient(uri).get_run(runs["random"]).data.metrics
    found = {name: value for name, value in metrics.items() if name.startswith("prediction")}
    assert found == {
        "prediction_rank_correlation": 0.25,
        "prediction_rank_correlation/level_2": 0.5,
    }


def test_what_a_study_spent_and_its_front_are_metrics(store):
    uri, runs = store
    metrics = MlflowClient(uri).get_run(runs["random"]).data.metrics
    found = [metrics[name] for name in ("effort", "front_size", "hypervolume")]
    assert found == [2.25, 3.0, 0.5]


def test_studies_are_found_by_experiment_and_filter(store):
    uri, runs = store
    reader = StudyReader(uri)

    def found(experiment=None, condition=None):
        return [run.info.run_id for run in reader.search(experiment, condition)]

    assert found() == [runs["random"], runs["evolution"], runs["begun"]]
    assert found(experiment="other") == [runs["evolution"]]
    assert found(condition="tags.`nasrunner.searcher` = 'RandomSearch'") == [runs["random"]]
    assert found("toy", "params.seed = '4'") == [runs["random"]]


def test_a_search_that_finds_nothing_says_where_and_for_what(store):
    uri, _ = store
    reader = StudyReader(uri)
    with pytest.raises(ConfigError, match=r"no study in experiment 'toy' of sqlite.*filter=tags.x"):
        reader.search("toy", "tags.x = 'y'")
    with pytest.raises(ConfigError, match=r"experiment=toi is not in .* did you mean 'toy'"):
        reader.search("toi", None)
    with pytest.raises(TrackingError, match=r"MLflow at filter=nonsense: Invalid clause"):
        reader.search(None, "nonsense")


def test_a_run_that_is_no_study_is_refused(store):
    uri, runs = store
    reader = StudyReader(uri)
    with pytest.raises(TrackingError, match=r"\(mine\) is no study: nasrunner did not record it"):
        reader.study(runs["foreign"])
    with pytest.raises(TrackingError, match=f"a child of one: the study is runs:/{runs['random']}"):
        reader.study(runs["child"])
    with pytest.raises(TrackingError, match=r"has no run 'abc': .*not found"):
        reader.study("abc")


def test_a_study_that_has_not_ended_has_no_ledger_to_fetch(store, tmp_path):
    uri, runs = store
    reader = StudyReader(uri)
    with pytest.raises(NotFetchableError, match=r"\(begun 1\) has no artifact config.yaml: a stu"):
        reader.fetch(reader.study(runs["begun"]), tmp_path)


def test_files_become_artifacts_of_a_run_and_the_newest_stays(store, tmp_path):
    uri, runs = store
    page = tmp_path / "report.html"
    (tmp_path / "private.txt").write_text("not to be logged")
    for content in ("first", "second"):
        page.write_text(content)
        StudyReader(uri).log(runs["random"], [page], "report")
    client = MlflowClient(uri)
    listed = [file.path for file in client.list_artifacts(runs["random"], "report")]
    assert listed == ["report/report.html"]
    logged = client.download_artifacts(runs["random"], "report/report.html", str(tmp_path))
    assert Path(logged).read_text() == "second"


def test_a_database_is_never_made_by_looking_for_it(tmp_path):
    with pytest.raises(ConfigError, match=f"tracking_uri: there is no file {tmp_path}/none.db"):
        StudyReader(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_leads_nowhere_is_refused_within_seconds():
    with pytest.raises(
        ConfigError, match=r"tracking_uri: http://127.0.0.1:9 does not answer: .*refused"
    ):
        StudyReader("http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"^tracking_uri: MLflow no longer writes to a folder"):
        StudyReader("outputs/mlruns")


def test_passwords_are_not_repeated(tmp_path):
    with pytest.raises(ConfigError) as raised:
        StudyReader("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_text(json.dumps({"no": "database"}) * 100)
    with pytest.raises(TrackingError, match="MLflow at sqlite:///"):
        StudyReader(f"sqlite:///{path}").search(None, None)
