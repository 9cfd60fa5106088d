import time

import pytest

from tests.trackers.fakes import FakeStudy, tracker
from tests.trackers.servers import free_port, mlflow_server
from tests.trackers.test_mlflow import NUM_CHILDREN, Records

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_a_server_that_was_away_for_a_while_has_every_child_in_the_end(tmp_path):
    port, database, log = free_port(), tmp_path / "mlflow.db", tmp_path / "server.log"
    study = FakeStudy(tmp_path / "fake" / "2026")
    with mlflow_server(port, database, log) as uri:
        tracked = tracker(uri, poll_s=0.2, close_timeout_s=120)
        tracked.open(study.info, (), study.inspect)
        for index in range(4):
            study.record(tracked, index)
        wait_for(lambda: tracked._writer.runs.is_connected and len(tracked._writer._waiting) <= 2)
    for index in range(4, 8):  # nobody listens
        start = time.monotonic()
        study.record(tracked, index)
        assert time.monotonic() - start < 2
    wait_for(lambda: tracked._writer.last_error)
    with mlflow_server(port, database, log) as uri:
        for index in range(8, NUM_CHILDREN):
            study.record(tracked, index)
        tracked.close(study.summary())
        records = Records(uri, study.folder)
        records.assert_complete()
        child = records.children()[8]
        names = [item.path for item in records.client.list_artifacts(child.info.run_id)]
        assert sorted(names) == [
            "architecture.svg",
            "architecture.txt",
            "config.yaml",
            "genotype.json",
        ]
