"""What every executor must do, whatever it runs children on."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasrunner.compose.construct import construct
from nasrunner.core import (
    Executor,
    LedgerError,
    MachineError,
    OneByOne,
    Outcome,
    Proposal,
    Report,
    Train,
)
from tests.executors import trains
from tests.executors.trains import Epochs, Listener, submit, submit_together

FOUND = sorted(Path("conf/executor").glob("*.yaml"))
NEED_A_CLUSTER = {"dask", "dask_pbs", "dask_slurm", "slurm"}
"""Tested on one: by test_dask_address.py, test_dask_jobs.py and in tests/slurm."""

CONFIGS = [path for path in FOUND if path.stem not in NEED_A_CLUSTER]


def config(path: Path, **changes: Any) -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load(path.read_text())
    if path.stem == "local":
        described |= {"workers": 2, "gpus": [], "preload": []}
    return described | changes


def test_some_executors_are_configured() -> None:
    assert {path.stem for path in CONFIGS} >= {"serial", "local"}
    assert {path.stem for path in FOUND} >= NEED_A_CLUSTER


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with contextlib.closing(construct(config(request.param), "executor")) as built:
        yield built


def run(executor: Executor, train: Train, proposals: list[Proposal]) -> list[Outcome]:
    """As the study does: keeps every slot busy, and one child more than that queued."""
    outcomes: list[Outcome] = []
    waiting = list(reversed(proposals))
    num_running = 0
    while waiting or num_running:
        while waiting and (executor.free_slots() or num_running < 2):
            submit(executor, train, waiting.pop(), trains.FOLDER)
            num_running += 1
        ended = executor.wait()
        assert ended
        num_running -= len(ended)
        outcomes += ended
    return outcomes


NOTES = st.fixed_dictionaries(
    {"sleep_s": st.sampled_from([0.0, 0.001, 0.004])},
    optional={"raises": st.just(1.0), "exits": st.just(1.0)},
)


@given(st.lists(NOTES, min_size=1, max_size=8))
@settings(
    max_examples=15,
    deadline=None,  # processes of a busy machine
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_child_comes_back_exactly_once(
    executor: Executor, children: list[dict[str, float]]
) -> None:
    proposals = [Proposal(index, {"a": index}, notes=notes) for index, notes in enumerate(children)]
    outcomes = run(executor, trains.by_notes, proposals)
    assert sorted(o.proposal.index for o in outcomes) == list(range(len(children)))
    for outcome in outcomes:
        assert outcome.proposal == proposals[outcome.proposal.index]
        breaks = {"raises", "exits"} & set(outcome.proposal.notes)
        assert outcome.status == ("failed" if breaks else "completed")


def test_slots_are_taken_by_submit_and_given_back_by_wait(executor: Executor) -> None:
    slots = executor.free_slots()
    assert slots >= 1
    submit(executor, trains.by_notes, Proposal(0, {}), trains.FOLDER)
    assert executor.free_slots() == slots - 1
    executor.wait()
    assert executor.free_slots() == slots


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (trains.by_notes, r"in by_notes\n(.*\n)*ValueError: child 7 raises$"),
        (trains.not_an_outcome, r"child 7 must yield the Outcome of each, got \{'reward': 1.0\}"),
    ],
)
def test_an_exception_in_training_is_a_failed_outcome(
    executor: Executor, train: Callable[[Proposal], Any], reason: str
) -> None:
    submit(executor, train, Proposal(7, {}, notes={"raises": 1.0}), trains.FOLDER)
    (outcome,) = executor.wait()
    assert outcome.status == "failed"
    assert outcome.reward is None
    assert re.search(reason, outcome.error or "")


def ended(executor: Executor, count: int) -> dict[int, Outcome]:
    """The next outcomes, by index; none comes twice."""
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < count:
        for outcome in executor.wait():
            assert outcome.proposal.index not in outcomes
            outcomes[outcome.proposal.index] = outcome
    return outcomes


def batch(*notes: dict[str, float]) -> list[Proposal]:
    return [Proposal(index, {"a": index}, notes=each) for index, each in enumerate(notes)]


@pytest.mark.parametrize("train", [OneByOne(trains.by_notes), trains.last_first])
def test_children_of_one_submission_take_one_slot_and_come_back_in_any_order(
    executor: Executor, train: Train, tmp_path: Path
) -> None:
    slots, proposals = executor.free_slots(), batch(*[{}] * 5)
    submit_together(executor, train, proposals, tmp_path)
    assert executor.free_slots() == slots - 1
    outcomes = ended(executor, 5)
    assert executor.free_slots() == slots
    for index, outcome in outcomes.items():
        assert outcome.proposal is proposals[index]
        assert (outcome.status, outcome.reward) == ("completed", float(index))
    assert len({outcome.metrics["pid"] for outcome in outcomes.values()}) == 1


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (OneByOne(trains.by_notes), r"ValueError: child 1 raises$"),
        (trains.too_few, r"^training children 1, 2 must yield the Outcome of each, got None$"),
        (
            trains.a_strangers,
            r"^training children 1, 2 must .* got Outcome\(proposal=Proposal\(.*99",
        ),
    ],
)
def test_what_ended_before_a_batch_broke_is_kept_and_the_rest_has_failed(
    executor: Executor, train: Train, reason: str, tmp_path: Path
) -> None:
    proposals = batch({}, {"raises": 1.0}, {})
    submit_together(executor, train, proposals, tmp_path)
    outcomes = ended(executor, 3)
    assert [outcomes[index].status for index in range(3)] == ["completed", "failed", "failed"]
    for index in (1, 2):
        assert re.search(reason, outcomes[index].error or "")
        assert outcomes[index].proposal is proposals[index]


def epochs_of(executor: Executor, count: int) -> dict[str, float]:
    """Notes; epochs take time where it is another process that trains."""
    return {"epochs": float(count), "sleep_s": 0.02 if executor.is_remote else 0.0}


def test_each_epoch_is_heard_once_in_wait_and_before_the_outcome(
    executor: Executor, tmp_path: Path
) -> None:
    proposals = batch(epochs_of(executor, 8), epochs_of(executor, 3))
    listener = Listener(tmp_path)
    submit_together(executor, Epochs(tmp_path), proposals, tmp_path, listener)
    submit_together(
        executor, Epochs(tmp_path), [Proposal(2, {}, notes=proposals[1].notes)], tmp_path
    )
    assert listener.heard == []
    left = {0: 8, 1: 3, 2: 0}
    while left:
        for outcome in executor.wait():
            assert outcome.status == "completed"
            num_epochs = left.pop(outcome.proposal.index)
            assert listener.epochs(outcome.proposal.index) == list(range(1, num_epochs + 1))
    assert listener.threads == {threading.current_thread().name}
    for report in listener.heard:
        assert report.metrics["val_accuracy"] == report.epoch / 100
        assert not {"epoch", "step", "time"} & set(report.metrics)


def test_a_child_that_is_told_to_stop_ends_with_what_it_has(
    executor: Executor, tmp_path: Path
) -> None:
    proposals = batch(epochs_of(executor, 500), epochs_of(executor, 4))
    listener = Listener(tmp_path, stops={0: 2})
    submit_together(executor, Epochs(tmp_path), proposals, tmp_path, listener)
    outcomes = ended(executor, 2)
    assert [outcomes[index].status for index in (0, 1)] == ["stopped", "completed"]
    assert outcomes[0].proposal is proposals[0]
    num_epochs = outcomes[0].metrics["epochs"]
    assert 2 <= num_epochs < 400
    assert executor.is_remote or num_epochs == 2
    assert outcomes[0].reward == num_epochs / 100
    assert listener.epochs(0) == list(range(1, int(num_epochs) + 1))
    assert listener.epochs(1) == [1, 2, 3, 4]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_what_a_listener_raises_ends_the_study_and_no_child(path: Path, tmp_path: Path) -> None:
    def hear(report: Report) -> bool:
        raise LedgerError("the ledger is gone")

    with contextlib.closing(construct(config(path), "executor")) as built:
        proposals = batch(epochs_of(built, 3), epochs_of(built, 3))
        submit_together(built, Epochs(tmp_path), proposals, tmp_path, hear)
        with pytest.raises(LedgerError, match=r"^the ledger is gone$"):
            ended(built, 2)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_fault_of_the_machine_is_no_outcome(path: Path) -> None:
    told = (
        "^child 7 was interrupted by a fault of the machine, .*: No space left on device: /data/x$"
    )
    with (
        contextlib.closing(construct(config(path), "executor")) as built,
        pytest.raises(MachineError, match=told),
    ):
        run(built, trains.finds_a_full_disk, [Proposal(7, {})])


def test_close_twice_is_close_once() -> None:
    for path in CONFIGS:
        built = construct(config(path), "executor")
        built.close()
        built.close()
