"""A study whose MLflow server is away for as long as its pauses grow."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from nasrunner.compose.construct import construct
from nasrunner.core import Tracker
from nasrunner.study.ledger import Ledger, read_events
from nasrunner.study.loop import Study
from nasrunner.trackers.mlflow import writer as mlflow_writer
from tests.toys import RULES
from tests.trackers.fakes import FAILED, INVALID, REUSED, FakeStudy, tracker
from tests.trackers.mlflow.looped import FakeSearch, LastingTrainer
from tests.trackers.mlflow.test_tracker import Records, wait_until
from tests.trackers.servers import free_port, mlflow_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

AWAY_S = 6.0  # beyond the sixth pause, the longest
CHILD_S = 1.5  # few children: each that ends meanwhile is looked at over HTTP
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0
LOCAL = Path(__file__).parents[3] / "conf" / "executor" / "local.yaml"


@contextmanager
def running(fake: FakeStudy, tracked: Tracker) -> Iterator[Study]:
    """A study that has begun in a thread; it ends its children at the end of the block."""
    local = yaml.safe_load(LOCAL.read_text()) | {"workers": 2, "gpus": []}
    local["preload"] = ["tests.trackers.mlflow.looped"]
    with (
        closing(construct(local, "executor")) as executor,
        Ledger(fake.folder / "ledger.jsonl") as ledger,
        ThreadPoolExecutor(1) as threads,
    ):
        study = Study(
            space=fake.space,
            searcher=FakeSearch(fake),
            trainer=LastingTrainer(fake, CHILD_S),
            executor=executor,
            trackers=[tracked],
            ledger=ledger,
            rules=dataclasses.replace(RULES, max_children=None),
            info=fake.info,
        )
        ended = threads.submit(study.run)
        try:
            yield study
        finally:
            (fake.folder / "go").touch()
            study.stop("it has been seen enough")
        ended.result()


def outcomes_of(folder: Path) -> dict[int, dict[str, Any]]:
    """The outcomes in the ledger, where each child has one."""
    events, _ = read_events(folder / "ledger.jsonl")
    outcomes = [event for event in events if event["event"] == "outcome"]
    found = {event["index"]: event for event in outcomes}
    assert len(found) == len(outcomes)
    return found


def is_written(uri: str, index: int) -> bool:
    """Whether MLflow has all of a child."""
    client = MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    condition = f"tags.`nasrunner.index` = '{index}' AND attributes.status = 'FINISHED'"
    return bool(client.search_runs(experiments, condition))


def test_a_study_whose_server_is_away_for_long_goes_on_and_loses_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_writer, "_FIRST_PAUSE_S", FIRST_PAUSE_S)
    monkeypatch.setattr(mlflow_writer, "_LONGEST_PAUSE_S", LONGEST_PAUSE_S)
    place = free_port(), tmp_path / "mlflow.db", tmp_path / "server.log"
    fake = FakeStudy(tmp_path / "fake" / "2026")
    with ExitStack() as server:
        uri = server.enter_context(mlflow_server(*place))
        tracked = tracker(uri, poll_s=0.2, close_timeout_s=120)
        with running(fake, tracked):
            wait_until(lambda: is_written(uri, FAILED - 1), 120)
            server.close()
            gone_s = time.time()
            (fake.folder / "go").touch()
            threading.Event().wait(AWAY_S)
            assert tracked._writer is not None
            assert tracked._writer._pause(tracked._writer._failures) == LONGEST_PAUSE_S
            back_s = time.time()
            server.enter_context(mlflow_server(*place))
            number = len(outcomes_of(fake.folder))
            wait_until(lambda: len(outcomes_of(fake.folder)) >= number + 2, 120)
        outcomes = outcomes_of(fake.folder)
        meanwhile = {i for i, each in outcomes.items() if gone_s < each["time"] < back_s}
        assert meanwhile >= {FAILED, INVALID, REUSED, *range(FAILED, REUSED + 2)}
        records = Records(uri, fake.folder)
        records.assert_complete(len(outcomes))
        for index, run in records.children().items():
            assert run.data.tags["nasrunner.status"] == outcomes[index]["status"]
            assert run.data.metrics.get("reward") == outcomes[index]["reward"]
        child = records.children()[FAILED + 1]
        names = [item.path for item in records.client.list_artifacts(child.info.run_id)]
        assert sorted(names) == [
            "architecture.svg",
            "architecture.txt",
            "config.yaml",
            "genotype.json",
        ]
