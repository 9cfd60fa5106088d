"""Several children in one job of a real SLURM: killed drivers, lost nodes, warnings and stops."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nasrunner.compose.construct import construct
from nasrunner.core import OneByOne, Outcome, Proposal
from nasrunner.executors.slurm.executor import SlurmExecutor
from tests.executors import trains
from tests.executors.slurm.driving import abandon
from tests.executors.trains import Epochs, Listener, submit_together
from tests.slurm.cluster import Cluster
from tests.slurm.machines.daemons import happens
from tests.slurm.recorded import assert_complete
from tests.slurm.study_driver import StudyProcess, configuration
from tests.slurm.ticks import starts

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(600)]

ALL = 24
"""Architectures of the studies' space."""


@pytest.fixture(autouse=True)
def whole(slurm: Cluster) -> Iterator[None]:
    yield
    slurm.run("scancel", "--user", str(os.getuid()))
    slurm.heal()


@contextlib.contextmanager
def opened(**changes: Any) -> Iterator[SlurmExecutor]:
    with contextlib.closing(construct(configuration(**changes), "executor")) as executor:
        yield executor


def ended(executor: SlurmExecutor, count: int) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < count:
        outcomes |= {outcome.proposal.index: outcome for outcome in executor.wait()}
    return outcomes


def job_of(proposal: Proposal) -> Outcome:
    """Tells in which job it was, and fails where its notes say so."""
    told = {"job": float(os.environ["SLURM_JOB_ID"])}
    status = "failed" if proposal.notes else "completed"
    return Outcome(proposal, status, 1.0, told)  # type: ignore[arg-type]


def test_thirty_estimates_are_one_job(slurm: Cluster, tmp_path: Path) -> None:
    proposals = [Proposal(index, {"a": index}, kind="estimate") for index in range(30)]
    with opened() as executor:
        submit_together(executor, OneByOne(job_of), proposals, tmp_path)
        assert executor.free_slots() == 3
        outcomes = ended(executor, 30)
    assert {outcome.status for outcome in outcomes.values()} == {"completed"}
    assert len({outcome.metrics["job"] for outcome in outcomes.values()}) == 1
    assert not (tmp_path / "children").exists()


def test_outcomes_come_while_the_job_runs(slurm: Cluster, tmp_path: Path) -> None:
    proposals = [Proposal(index, {"a": index}) for index in range(3)]
    with opened() as executor:
        submit_together(executor, OneByOne(trains.WaitsAt(tmp_path, 2)), proposals, tmp_path)
        assert sorted(ended(executor, 2)) == [0, 1]
        (tmp_path / "go").touch()
        assert sorted(ended(executor, 1)) == [2]


def test_all_processes_of_a_job_go_on_when_a_child_has_failed(
    slurm: Cluster, tmp_path: Path
) -> None:
    notes: list[dict[str, float]] = [{}, {"fails": 1.0}, {}, {"fails": 1.0}]
    proposals = [Proposal(index, {"a": index}, notes=each) for index, each in enumerate(notes)]
    with opened(tasks_per_node=2, grace_s=30) as executor:
        submit_together(executor, OneByOne(job_of), proposals, tmp_path)
        outcomes = ended(executor, 4)
    statuses = [outcomes[index].status for index in range(4)]
    assert statuses == ["completed", "failed", "completed", "failed"]


def check_one_job(study: StudyProcess, most_starts: int) -> None:
    assert_complete(study.folder, ALL)
    all_starts = [starts(study.folder, index) for index in range(ALL)]
    assert len({start.job for each in all_starts for start in each}) == 1
    assert ALL <= sum(map(len, all_starts)) <= most_starts


def test_a_study_whose_driver_was_killed_goes_on_with_its_running_job(
    slurm: Cluster, tmp_path: Path
) -> None:
    changes = {"children": ALL, "ticks": 10, "at_once": ALL, "max_parallel": 1}
    study = StudyProcess(tmp_path / "s", **changes)
    study.wait_for_outcomes(5)
    study.kill()
    assert 5 <= len(study.outcomes()) < ALL
    again = StudyProcess(tmp_path / "s", **changes)
    again.end()
    check_one_job(again, most_starts=ALL)


def test_what_ended_while_no_driver_was_there_is_not_trained_again(
    slurm: Cluster, tmp_path: Path
) -> None:
    changes = {"children": ALL, "ticks": 2, "at_once": ALL, "max_parallel": 1}
    study = StudyProcess(tmp_path / "s", **changes)
    study.wait_for_outcomes(2)
    study.kill()
    assert happens(lambda: slurm.run("squeue", "-h") == "", 60)
    again = StudyProcess(tmp_path / "s", **changes)
    again.end()
    check_one_job(again, most_starts=ALL)


def test_a_job_whose_node_crashed_goes_on_with_those_without_an_outcome(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", ALL, ticks=10, at_once=ALL, max_parallel=1)
    study.wait_for_outcomes(4)
    slurm.crash_node(starts(study.folder, 0)[0].node)
    study.end()
    check_one_job(study, most_starts=ALL + 1)


def test_a_job_may_need_the_time_of_more_jobs_than_retries_say(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", ALL, ticks=10, at_once=ALL, max_parallel=1, retries=1)
    for number in (2, 8, 14):
        study.wait_for_outcomes(number)
        slurm.run("scancel", "--signal=USR2", starts(study.folder, 0)[0].job)
    study.end()
    check_one_job(study, most_starts=ALL + 3)


def test_a_child_is_stopped_while_it_trains_by_a_driver_that_has_found_its_job(
    slurm: Cluster, tmp_path: Path
) -> None:
    notes = ({"epochs": 3000.0, "sleep_s": 0.02}, {"epochs": 3.0})
    proposals = [Proposal(index, {"a": index}, notes=each) for index, each in enumerate(notes)]
    first_listener, second_listener = Listener(tmp_path), Listener(tmp_path, stops={0: 1})
    with opened() as first:
        submit_together(first, Epochs(tmp_path), proposals, tmp_path, first_listener)
        first._submit_gathered()
        while not first_listener.heard:
            first._listening.look()
        abandon(first)
    with opened() as second:
        submit_together(second, Epochs(tmp_path), proposals, tmp_path, second_listener)
        outcomes = ended(second, 2)
    assert [outcomes[index].status for index in (0, 1)] == ["stopped", "completed"]
    num_epochs = int(outcomes[0].metrics["epochs"])
    assert num_epochs < 3000
    assert second_listener.epochs(0) == list(range(1, num_epochs + 1))
    assert second_listener.epochs(1) == [1, 2, 3]


def test_a_child_of_its_own_job_is_stopped_too(slurm: Cluster, tmp_path: Path) -> None:
    proposal = Proposal(0, {"a": 0}, notes={"epochs": 3000.0, "sleep_s": 0.02})
    listener = Listener(tmp_path, stops={0: 5})
    with opened() as executor:
        submit_together(executor, Epochs(tmp_path), [proposal], tmp_path, listener)
        (outcome,) = executor.wait()
    assert outcome.status == "stopped"
    assert 5 <= outcome.metrics["epochs"] < 3000
    assert not list((tmp_path / "slurm").glob("*/*_log.out"))  # it has not failed
