"""Children that are stopped while they train, by what they and others report."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import ConfigError, Executor, Outcome, StudyInfo
from nasrunner.executors.local import LocalExecutor
from nasrunner.executors.serial import SerialExecutor
from nasrunner.executors.simulated import SimulatedExecutor
from nasrunner.study.ledger import Ledger
from nasrunner.study.loop import Study
from tests.contracts.searchers import MedianStopping
from tests.contracts.trainers import EPOCHS, METRIC, EpochsTrainer
from tests.executors.test_simulated import PLAIN
from tests.sampling import one_in, some_in_ci
from tests.study.test_loop import Crash, Recorder, events, with_rules
from tests.toys import ToyTrainer, chain


def serial() -> SerialExecutor:
    return SerialExecutor(threads=1)


def local() -> LocalExecutor:
    return LocalExecutor(
        workers=2,
        threads_per_worker=1,
        memory_limit_gb=None,
        retries=0,
        gpus=[],
        workers_per_gpu=None,
        gpus_per_worker=1,
        preload=["tests.contracts.trainers"],
    )


def simulated(workers: int = 4) -> SimulatedExecutor:
    return SimulatedExecutor(**{**PLAIN, "workers": workers, "median_s": None})


def study_in(
    folder: Path, executor: Executor, trainer: ToyTrainer | None = None, **changes: Any
) -> Study:
    space = chain()
    folder.mkdir(exist_ok=True)
    rules = with_rules(**{"max_children": 12, **changes})
    return Study(
        space=space,
        searcher=MedianStopping(space=space, seed=rules.seed),
        trainer=trainer or EpochsTrainer(space, epoch_s=0.05 if executor.is_remote else 0.0),
        executor=executor,
        trackers=[Recorder()],
        ledger=Ledger(folder / "ledger.jsonl"),
        rules=rules,
        info=StudyInfo("toy", folder, {}, rules.max_children),
    )


def run(folder: Path, executor: Executor, **changes: Any) -> Study:
    study = study_in(folder, executor, **changes)
    with contextlib.closing(executor), contextlib.closing(study.ledger):
        study.run()
    return study


@one_in(3, 0, "make_executor", [serial, local, simulated])
def test_children_below_the_median_are_stopped(tmp_path: Path, make_executor: Any) -> None:
    run(tmp_path, make_executor())
    ended = {event["index"]: event for event in events(tmp_path, "outcome")}
    stopping = {event["index"]: event["epoch"] for event in events(tmp_path, "stopping")}
    stopped = {index for index, event in ended.items() if event["status"] == "stopped"}
    assert len(ended) == 12
    assert stopped
    assert stopped <= set(stopping)
    for index in stopped:
        curve = ended[index]["curve"][METRIC]
        assert stopping[index] <= len(curve) < EPOCHS
        assert ended[index]["reward"] == curve[-1]
    for index in set(ended) - stopped:  # it was there before the file was
        assert len(ended[index]["curve"][METRIC]) == EPOCHS


@pytest.mark.parametrize("make_executor", [serial, simulated])
def test_who_is_stopped_stops_at_once_where_the_epoch_waits(
    tmp_path: Path, make_executor: Any
) -> None:
    run(tmp_path, make_executor())
    stopping = {event["index"]: event["epoch"] for event in events(tmp_path, "stopping")}
    for event in events(tmp_path, "outcome"):
        if event["index"] in stopping and stopping[event["index"]] < EPOCHS:
            assert len(event["curve"][METRIC]) == stopping[event["index"]]


@pytest.mark.parametrize("make_executor", some_in_ci([serial, local, simulated], [serial]))
def test_each_epoch_is_reported_once(tmp_path: Path, make_executor: Any) -> None:
    run(tmp_path, make_executor())
    reported = [(event["index"], event["epoch"]) for event in events(tmp_path, "reported")]
    assert len(set(reported)) == len(reported)
    for _, epochs in itertools.groupby(sorted(reported), key=lambda each: each[0]):
        told = [epoch for _, epoch in epochs]
        assert told == list(range(1, len(told) + 1))


def test_a_stopped_child_is_learnt_and_never_ranked(tmp_path: Path) -> None:
    study = run(tmp_path, serial())
    ended = {event["index"]: event for event in events(tmp_path, "outcome")}
    assert isinstance(study.searcher, MedianStopping)
    assert sorted(study.searcher.learnt) == [(i, e["status"]) for i, e in sorted(ended.items())]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert all(ended[best["index"]]["status"] == "completed" for best in summary["best"])
    assert summary["counts"]["stopped"] > 0


def comparable(folder: Path) -> list[dict[str, Any]]:
    kinds = ("proposed", "reported", "stopping", "outcome")
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    clocks = ("time", "monotonic_s")
    told = [{k: v for k, v in e.items() if k not in clocks} for e in lines]
    return [event for event in told if event["event"] in kinds]


@pytest.mark.parametrize("num_events", some_in_ci(range(5, 95, 9), quick=(23, 50, 59), ci=(5, 86)))
def test_a_driver_that_dies_replays_what_was_reported_and_stopped(
    tmp_path: Path, num_events: int
) -> None:
    """It dies after any event, be that a report, a decision to stop, or an outcome."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, serial())
    study = study_in(parts, serial())
    append, left = study.ledger.append, iter(range(num_events))

    def dies(*arguments: Any, **more: Any) -> None:
        append(*arguments, **more)
        if next(left, None) is None:
            raise Crash

    study.ledger.append = dies  # type: ignore[method-assign]
    with contextlib.suppress(Crash, BaseExceptionGroup), contextlib.closing(study.ledger):
        study.run()
    run(parts, serial())
    assert comparable(parts) == comparable(whole)


def test_a_running_child_is_stopped_once_more_where_the_driver_died_before_it_was(
    tmp_path: Path,
) -> None:
    """Between the event and the file, and between the report and the event."""
    whole = tmp_path / "whole"
    run(whole, serial())
    lines = (whole / "ledger.jsonl").read_text().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if '"stopping"' in line)
    for kept in (first + 1, first):
        folder = tmp_path / f"{kept}"
        folder.mkdir()
        (folder / "ledger.jsonl").write_text("".join(lines[:kept]))
        run(folder, serial())
        assert comparable(folder) == comparable(whole)


def test_children_that_report_nothing_are_refused_where_somebody_must_hear_them(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="MedianStopping stops children by what they report"):
        study_in(tmp_path, serial(), ToyTrainer(chain()))


def test_a_virtual_cluster_is_stopped_at_the_virtual_times_of_the_epochs(tmp_path: Path) -> None:
    executor = simulated(workers=3)
    study = run(tmp_path, executor)
    outcomes: list[Outcome] = study.history.outcomes
    spent = sum(outcome.cost_s for outcome in outcomes)
    assert spent == sum(len(outcome.curve[METRIC]) for outcome in outcomes)
    assert executor.utilisation().busy_share * executor.clock_s * 3 == pytest.approx(spent)
    assert any(outcome.status == "stopped" for outcome in outcomes)
