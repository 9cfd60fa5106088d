"""What clusters do to studies: faults on a real SLURM; ledger and MLflow complete afterwards."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.machines.daemons import happens, is_alive
from tests.slurm.machines.disks import full_disk
from tests.slurm.recorded import assert_complete, assert_tracked
from tests.slurm.study_driver import StudyProcess
from tests.slurm.ticks import starts

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def whole(slurm: Cluster) -> Iterator[None]:
    yield
    slurm.run("scancel", "--user", str(os.getuid()))
    slurm.heal()


def check_all_completed(study: StudyProcess, children: int) -> None:
    assert sorted(study.outcomes()) == list(range(children)), study.describe()
    assert_complete(study.folder, children)


def test_a_child_outlives_the_slurmd_of_its_node(slurm: Cluster, tmp_path: Path) -> None:
    study = StudyProcess(tmp_path / "s", children=3, ticks=40, max_parallel=1)
    study.wait_for_start(0)
    slurm.kill_node_daemon(starts(study.folder, 0)[0].node)
    study.end()
    check_all_completed(study, 3)
    assert len(starts(study.folder, 0)) == 1


def test_a_child_goes_on_elsewhere_when_its_node_crashes(slurm: Cluster, tmp_path: Path) -> None:
    study = StudyProcess(tmp_path / "s", children=2, ticks=100)
    study.wait_for_start(0, 1, ticks=20)
    slurm.crash_node(starts(study.folder, 0)[0].node)
    study.end()
    check_all_completed(study, 2)
    first, second = starts(study.folder, 0)
    assert first.node != second.node
    assert first.job == second.job  # SLURM's own requeue


def test_a_study_whose_driver_was_killed_goes_on_with_its_running_jobs(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", children=4, ticks=100, max_parallel=2)
    study.wait_for_start(0, 1)
    study.kill()
    again = StudyProcess(tmp_path / "s", children=4, ticks=100, max_parallel=2)
    again.end()
    check_all_completed(again, 4)
    assert [len(starts(again.folder, index)) for index in range(4)] == [1, 1, 1, 1]


def test_what_ended_while_no_driver_was_there_is_not_trained_again(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", children=2, ticks=20, max_parallel=2)
    study.wait_for_start(0, 1)
    study.kill()
    assert happens(lambda: slurm.run("squeue", "-h") == "", 60)
    again = StudyProcess(tmp_path / "s", children=2, ticks=20, max_parallel=2)
    again.end()
    check_all_completed(again, 2)
    assert [len(starts(again.folder, index)) for index in range(2)] == [1, 1]


def test_a_child_fails_when_one_of_its_processes_is_killed(slurm: Cluster, tmp_path: Path) -> None:
    study = StudyProcess(tmp_path / "s", children=1, ticks=2000, tasks_per_node=2)
    study.wait_for_start(0, times=2)
    ranks = {start.rank: start.pid for start in starts(study.folder, 0)}
    os.kill(ranks[1], signal.SIGKILL)
    study.end()
    outcome = study.outcomes()[0]
    assert outcome["status"] == "failed"
    assert "task 1: Killed" in outcome["error"]
    assert not is_alive(ranks[0])
    assert_tracked(study.folder)


def test_a_child_whose_process_is_killed_has_failed_and_the_study_goes_on(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", children=2, ticks=40, max_parallel=1)
    study.wait_for_start(0)
    os.kill(starts(study.folder, 0)[0].pid, signal.SIGKILL)
    study.end()
    assert_complete(study.folder, 2, failed=[0])
    assert "task 0: Killed" in study.outcomes()[0]["error"]


def test_a_cancelled_child_has_failed_and_is_not_started_again(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", children=3, ticks=200, max_parallel=2)
    study.wait_for_start(0, 1)
    slurm.run("scancel", starts(study.folder, 0)[0].job)
    study.end()
    outcomes = study.outcomes()
    assert [outcomes[index]["status"] for index in range(3)] == ["failed", "completed", "completed"]
    assert " was cancelled on n" in outcomes[0]["error"]
    assert len(starts(study.folder, 0)) == 1
    assert_tracked(study.folder)


def test_a_child_that_reaches_its_time_limit_goes_on_in_the_same_job(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", children=1, ticks=1100, timeout_min=1)  # 55 s and more
    study.end(within_s=500)
    check_all_completed(study, 1)
    attempts = starts(study.folder, 0)
    assert len(attempts) > 1
    assert len({start.job for start in attempts}) == 1


def test_a_child_that_is_warned_once_too_often_has_failed(slurm: Cluster, tmp_path: Path) -> None:
    study = StudyProcess(tmp_path / "s", children=2, ticks=300, timeout_min=1, retries=1)
    study.wait_for_start(0, 1)
    last = starts(study.folder, 1)[0].job  # its number is also that of the whole array
    slurm.run("scancel", "--signal=USR2", last)
    study.wait_for_start(1, times=2)
    slurm.run("scancel", "--signal=USR2", last)
    study.end()
    outcomes = study.outcomes()
    assert outcomes[0]["status"] == "completed"
    assert len(starts(study.folder, 0)) == 1
    assert outcomes[1]["status"] == "failed"
    assert "by the time limit of 1 min (executor.timeout_min) on " in outcomes[1]["error"]
    assert "after 1 restart (executor.retries=1)" in outcomes[1]["error"]
    assert_tracked(study.folder)


def test_a_preempted_child_goes_on_when_there_is_room(slurm: Cluster, tmp_path: Path) -> None:
    study = StudyProcess(tmp_path / "s", children=1, ticks=300)
    study.wait_for_start(0)
    urgent = ["-p", "urgent", "-N4", "--exclusive", "--output=/dev/null", "--wrap=sleep 2"]
    slurm.run("sbatch", *urgent)
    study.end()
    check_all_completed(study, 1)
    assert len(starts(study.folder, 0)) == 2


def test_a_drained_node_ends_its_child_and_gets_no_other(slurm: Cluster, tmp_path: Path) -> None:
    study = StudyProcess(tmp_path / "s", children=3, ticks=40, max_parallel=1)
    study.wait_for_start(0)
    node = starts(study.folder, 0)[0].node
    slurm.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    study.end()
    check_all_completed(study, 3)
    assert len(starts(study.folder, 0)) == 1
    assert node not in {starts(study.folder, index)[0].node for index in (1, 2)}


def test_a_node_whose_full_disk_keeps_jobs_from_starting_gets_no_child(
    slurm: Cluster, tmp_path: Path
) -> None:
    """SLURM drains the node and holds its jobs; it would not start them again by itself."""
    node = slurm.next_node()
    with full_disk(slurm.lab.folder / "spool" / node):
        study = StudyProcess(tmp_path / "s", children=3, ticks=10)
        study.end()
        assert happens(lambda: slurm.run("squeue", "-h") == "", 60)
    check_all_completed(study, 3)
    reason = slurm.run("sinfo", "-h", "-n", node, "-p", "main", "-o", "%T %E")
    assert reason == "drained SlurmdSpoolDir is full"
    assert node not in {starts(study.folder, index)[0].node for index in range(3)}


def test_a_node_whose_scratch_disk_is_full_ends_the_study_and_no_child_fails(
    slurm: Cluster, tmp_path: Path
) -> None:
    node, full = slurm.next_node(), tmp_path / "full"
    setup = [f"if [ $SLURMD_NODENAME = {node} ]; then export SCRATCH={full}; fi"]
    setup = ["export SCRATCH=/tmp", *setup]
    changes = {"setup": setup, "sbatch": {"exclusive": True}}
    with full_disk(full):
        study = StudyProcess(tmp_path / "s", children=5, ticks=40, max_parallel=2, **changes)
        told = study.end()
    assert study.process.returncode == 1
    assert "interrupted by a fault of the machine" in told
    assert "No space left on device" in told
    assert all(outcome["status"] == "completed" for outcome in study.outcomes().values())
    full.mkdir(exist_ok=True)
    again = StudyProcess(tmp_path / "s", children=5, ticks=40, max_parallel=2, **changes)
    again.end()
    check_all_completed(again, 5)


def test_two_studies_that_start_at_once_have_their_own_jobs(slurm: Cluster, tmp_path: Path) -> None:
    changes = {"max_parallel": 2, "children": 3, "ticks": 20}
    studies = [StudyProcess(tmp_path / name, **changes) for name in "ab"]
    jobs = []
    for study in studies:
        study.end()
        check_all_completed(study, 3)
        assert [len(starts(study.folder, index)) for index in range(3)] == [1, 1, 1]
        jobs += [starts(study.folder, index)[0].job for index in range(3)]
    assert len(set(jobs)) == 6


def test_a_study_waits_while_slurmctld_is_restarted(slurm: Cluster, tmp_path: Path) -> None:
    study = StudyProcess(tmp_path / "s", children=4, ticks=60, max_parallel=2)
    study.wait_for_start(0, 1)
    slurm.stop_controller()
    study.wait_for_outcomes(2)  # files tell, without SLURM
    slurm.start_controller()
    study.end()
    check_all_completed(study, 4)
    assert [len(starts(study.folder, index)) for index in range(4)] == [1, 1, 1, 1]


def test_ctrl_c_lets_jobs_end_and_the_second_cancels_them_though_they_ignore_sigterm(
    slurm: Cluster, tmp_path: Path
) -> None:
    study = StudyProcess(tmp_path / "s", children=4, ticks=4000, max_parallel=2)
    study.wait_for_start(0, 1)
    study.interrupt("waiting for the running children")
    study.interrupt("closed in")
    study.end(within_s=60)
    assert study.process.returncode == 130
    running = [starts(study.folder, index)[0].pid for index in (0, 1)]
    assert happens(lambda: not any(map(is_alive, running)), 60)
    assert study.outcomes() == {}
    again = StudyProcess(tmp_path / "s", children=2, ticks=100, max_parallel=2)
    again.end()
    check_all_completed(again, 2)
