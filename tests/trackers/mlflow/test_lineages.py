"""Runs of trainings that go on with one another, of supernets, and of what is stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.sampling import some_in_ci
from tests.trackers.fakes import tracker
from tests.trackers.lineages import (
    CHEAP,
    COPY,
    CUT,
    DERIVED,
    ESTIMATE,
    HEIR,
    LAST,
    LINES,
    NEXT,
    NUM,
    PROBABILITIES,
    ROOT,
    SECOND,
    STOPPED,
    SUPERNET,
    LimitedStudy,
    LineageStudy,
)
from tests.trackers.mlflow.test_tracker import Records, wait_until

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def session(uri: str, folder: Path, last: int) -> LineageStudy:
    """A study that begins or goes on, until so many outcomes are recorded."""
    study = LineageStudy(folder)
    tracked = tracker(uri)
    tracked.open(study.info, study.replay(), study.inspect)
    for index in range(len(study.outcomes), last):
        study.record(tracked, index)
    tracked.close(study.summary())
    return study


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Any:
    root = tmp_path_factory.mktemp("lineages")
    database = root / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    study = session(f"sqlite:///{database}", root / "fake" / "2026", NUM)
    return Records(f"sqlite:///{database}", study.folder)


def all_runs(records: Any) -> dict[int, Any]:
    """The runs by the first child of each; fails where one has two."""
    found = records.runs("tags.`nasrunner.index` LIKE '%'")
    by_index = {int(run.data.tags["nasrunner.index"]): run for run in found}
    assert len(by_index) == len(found), "a line has two runs"
    return by_index


def assert_whole(records: Any) -> None:
    """Checks that everything is written, and once."""
    runs = all_runs(records)
    assert sorted(runs) == sorted(line[0] for line in LINES)
    for line in LINES:
        run = runs[line[0]]
        told = run.data.tags.get("nasrunner.children", str(line[0]))
        assert told == " ".join(map(str, line)), line
        assert run.info.status == ("FAILED" if CUT in line else "FINISHED"), line
        costs = records.curve(run, "cost_s")
        assert [step for step, _ in costs] == list(range(len(line))), line
    learnt = records.curve(runs[SUPERNET], "probability/0/or/relu")
    assert learnt == [(0, 0.5), (1, 0.6), (2, 0.7)]
    curve = records.curve(runs[ROOT], "val_loss")
    assert curve == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert records.curve(records.parent, "estimate") == [(1, 0.01), (2, 0.02)]
    steps = [step for step, _ in records.curve(records.parent, "best_reward")]
    assert len(steps) == len(set(steps))


def test_each_line_of_trainings_is_one_run(tracked: Any) -> None:
    assert_whole(tracked)


def test_a_run_that_went_on_has_the_last_reward_and_the_whole_cost(tracked: Any) -> None:
    run = all_runs(tracked)[ROOT]
    assert run.data.metrics["reward"] == LAST / 100
    assert run.data.metrics["cost_s"] == 6.0
    assert tracked.curve(run, "reward") == [(0, ROOT / 100), (1, NEXT / 100), (2, LAST / 100)]
    assert run.data.tags["nasrunner.status"] == "completed"
    assert run.data.tags["nasrunner.until"] == "end"
    note = run.data.tags["mlflow.note.content"]
    assert "One training, of the children 0004, 0007, 0009" in note
    assert tracked.artifact(run, "config.yaml") == f"child: {LAST}\n"


def test_a_run_that_failed_when_it_went_on_keeps_the_reward_before(tracked: Any) -> None:
    run = all_runs(tracked)[HEIR]
    assert run.data.tags["nasrunner.status"] == "failed"
    assert run.data.metrics["reward"] == HEIR / 100
    assert run.data.metrics["cost_s"] == 2.5
    assert tracked.curve(run, "val_loss") == [(0, 1.0), (1, 0.5)]


@pytest.mark.parametrize(
    ("condition", "indices"),
    [
        ("tags.`nasrunner.status` = 'stopped'", [STOPPED]),
        ("tags.`nasrunner.status` = 'paused'", [5]),
        ("tags.`nasrunner.continues` = '4'", [SECOND]),
        ("tags.`nasrunner.continues` = '5'", [COPY]),
        ("tags.`nasrunner.weights_of` = '9'", [HEIR]),
        ("tags.`nasrunner.children` = '4 7 9'", [ROOT]),
        ("tags.`nasrunner.kind` = 'supernet'", [SUPERNET]),
        ("params.`fidelity.trainer.max_epochs` = '2'", [CHEAP]),
        ("tags.`nasrunner.fidelity` = 'trainer.max_epochs=2'", [CHEAP]),
        (
            "tags.`nasrunner.fidelity` IS NULL AND tags.`nasrunner.kind` = 'child' "
            "AND tags.`nasrunner.status` = 'completed'",
            [ROOT, COPY, SECOND],
        ),
    ],
)
def test_a_filter_tells_them_apart(tracked: Any, condition: str, indices: list[int]) -> None:
    found = [int(run.data.tags["nasrunner.index"]) for run in tracked.runs(condition)]
    assert sorted(found) == indices


def test_children_that_were_too_large_are_not_said_to_be_paused(database: Path) -> None:
    uri, study = f"sqlite:///{database}", LimitedStudy(database.parent / "fake" / "2026")
    tracked = tracker(uri)
    tracked.open(study.info, study.state, study.inspect)
    study.record(tracked, 0)
    tracked.close(study.summary())
    (run,) = all_runs(Records(uri, study.folder)).values()
    assert run.data.tags["nasrunner.status"] == "too_large"
    assert "nasrunner.until" not in run.data.tags
    assert "**too large, not trained**" in run.data.tags["mlflow.note.content"]
    assert run.info.status == "KILLED"


def test_a_supernet_says_what_it_found(tracked: Any) -> None:
    run = all_runs(tracked)[SUPERNET]
    assert run.info.run_name == "0000 supernet"
    assert run.data.metrics["found"] == 2
    assert "reward" not in run.data.metrics
    assert len(json.loads(tracked.artifact(run, "found.json"))) == 2
    assert len(tracked.curve(run, "val_loss")) == 3


def test_a_supernet_says_what_it_learnt_by_epoch(tracked: Any) -> None:
    run = all_runs(tracked)[SUPERNET]
    assert tracked.artifact(run, "derived.jsonl") == DERIVED
    assert tracked.artifact(run, "probabilities.jsonl") == PROBABILITIES
    learnt = {name: value for name, value in run.data.metrics.items() if "probability/" in name}
    assert len(learnt) == 2
    assert learnt.pop("probability/0/or/relu") == 0.7
    (name,) = learnt
    assert name.startswith("probability/0/or/conv 3_3-")  # MLflow takes no other sign


def test_the_best_so_far_is_of_trainings_to_the_end(tracked: Any) -> None:
    best = [value for _, value in tracked.curve(tracked.parent, "best_reward")]
    assert best == [LAST / 100, COPY / 100, COPY / 100, COPY / 100, COPY / 100]


def test_the_study_counts_estimates_and_supernets_beside_its_children(tracked: Any) -> None:
    metrics = tracked.parent.data.metrics
    assert metrics["estimates"] == 3
    assert metrics["supernets"] == 1
    assert not {"children/estimates", "children/supernets"} & set(metrics)


@pytest.mark.parametrize("first", some_in_ci(range(1, NUM, 2), quick=(7,), ci=(1, 13)))
def test_a_study_that_goes_on_writes_what_is_missing(database: Path, first: int) -> None:
    uri, folder = f"sqlite:///{database}", database.parent / "fake" / "2026"
    session(uri, folder, first)
    study = LineageStudy(folder)
    study.replay()
    for index in range(first, min(first + 3, NUM)):  # the tracker never hears of them
        if study.proposal(index).kind != "estimate":
            study.run_child(index)
        study.append(study.outcome(index))
    session(uri, folder, NUM)
    assert_whole(Records(uri, folder))


METHODS = ("log_batch", "set_terminated", "create_run", "update_run")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("is_done", [True, False], ids=["answer lost", "request lost"])
@pytest.mark.parametrize("survived", some_in_ci(range(2, 36, 4), quick=(10, 22), ci=(2, 34)))
def test_a_driver_that_is_killed_leaves_nothing_twice(
    database: Path, monkeypatch: pytest.MonkeyPatch, survived: int, is_done: bool
) -> None:
    uri, folder = f"sqlite:///{database}", database.parent / "fake" / "2026"
    left = iter(range(survived))

    def cut(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            is_last = next(left, None) is None
            if is_last and not is_done:
                raise SystemExit
            answer = real(*args, **kwargs)
            if is_last:
                raise SystemExit  # ends the thread, as a kill does
            return answer

        return call

    study = LineageStudy(folder)
    with monkeypatch.context() as patched:
        for name in METHODS:
            patched.setattr(MlflowClient, name, cut(getattr(MlflowClient, name)))
        killed = tracker(uri)
        killed.open(study.info, study.state, study.inspect)
        for index in range(NUM):
            study.record(killed, index)
        assert killed._writer is not None
        killed._writer.join(60)
        assert not killed._writer.is_alive()
    session(uri, folder, NUM)
    assert_whole(Records(uri, folder))


def test_a_run_that_goes_on_is_seen_to_run_and_killed_is_gone_on_with(database: Path) -> None:
    uri, folder = f"sqlite:///{database}", database.parent / "fake" / "2026"
    study = LineageStudy(folder)
    killed = tracker(uri, poll_s=0.05)
    killed.open(study.info, study.state, study.inspect)
    for index in range(NEXT):
        study.record(killed, index)
    study.run_child(NEXT)
    study.propose(study.proposal(NEXT))
    killed.started(study.proposal(NEXT), study.inspect(study.proposal(NEXT).genotype))
    records = Records(uri, folder)
    wait_until(
        lambda: (
            ROOT in all_runs(records)
            and len(records.curve(all_runs(records)[ROOT], "val_loss")) == 2
        )
    )
    live = all_runs(records)[ROOT]
    assert live.info.status == "RUNNING"
    assert live.data.tags["nasrunner.status"] == "running"
    assert live.data.tags["nasrunner.children"] == str(ROOT)
    assert killed._writer is not None
    killed._writer.abandon()
    killed._writer.join(60)
    session(uri, folder, NUM)
    assert_whole(records)
    assert all_runs(records)[ROOT].info.run_id == live.info.run_id


def test_an_estimate_that_failed_has_no_point_and_no_run(tracked: Any) -> None:
    assert ESTIMATE not in all_runs(tracked)
    steps = [step for step, _ in tracked.curve(tracked.parent, "estimate")]
    assert steps == [1, 2]
