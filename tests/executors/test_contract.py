"""What every executor must do, whatever it runs children on."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasrunner.compose.construct import construct
from nasrunner.core import Executor, MachineError, Outcome, Proposal, Train
from tests.executors import trains
from tests.executors.trains import submit

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
