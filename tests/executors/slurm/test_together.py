"""Several children in one job: one by one back, restarted without those that ended, and found."""

import errno
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from nasrunner.core import MachineError, OneByOne, Outcome, Proposal, Source, Train, child_folder
from nasrunner.executors.slurm.executor import SlurmExecutor
from tests.executors import trains
from tests.executors.slurm.driving import (
    abandon,
    children_of,
    hand_in,
    leave_outcome,
    lost,
    opened,
    record,
)
from tests.executors.slurm.fake import FakeSlurm, leave_child, leave_result, run_job, start_job
from tests.executors.test_signals import eventually
from tests.executors.trains import Epochs, Listener, completed, submit_together

BY_NOTES = OneByOne(trains.by_notes)


def estimates(*indices: int, **notes: float) -> list[Proposal]:
    return [Proposal(each, {"a": each}, kind="estimate", notes=notes) for each in indices]


def send(
    executor: SlurmExecutor, study: Path, proposals: list[Proposal], train: Train = BY_NOTES
) -> None:
    submit_together(executor, train, proposals, study)
    hand_in(executor)


def ended(executor: SlurmExecutor, count: int) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < count:
        outcomes |= {outcome.proposal.index: outcome for outcome in executor.wait()}
    return outcomes


def job_file(study: Path, position: int = 0) -> Path:
    return study / "slurm" / "nasrunner-0000-aaaaaa" / f"{position}.slurm.json"


# ------------------------------------------------------------------------- from the job to driver


def test_hundreds_of_estimates_are_one_job_and_need_no_folders(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened(max_parallel=2) as executor:
        send(executor, study, estimates(*range(300)))
        assert executor.free_slots() == 1
        assert len(slurm.asked("sbatch")) == 1
        assert "--array" not in slurm.sbatch_text
        assert len(children_of(study, "100").children) == 300
        assert not (study / "children").exists()


def test_submissions_of_several_and_of_one_share_an_array(slurm: FakeSlurm, study: Path) -> None:
    with opened() as executor:
        submit_together(executor, BY_NOTES, estimates(0, 1), study)
        submit_together(executor, BY_NOTES, estimates(2), study)
        hand_in(executor)
        assert "--array=0-1%2" in slurm.sbatch_text
        assert json.loads(job_file(study).read_text())["job_id"] == "100_0"
        assert record(study, 2)["job_id"] == "100_1"


def test_outcomes_come_one_by_one_and_the_slot_is_free_after_the_last(
    slurm: FakeSlurm, study: Path
) -> None:
    proposals = estimates(0, 1, 2)
    with opened(max_parallel=1) as executor:
        send(executor, study, proposals)
        for number, index in enumerate([1, 2, 0]):
            assert executor.free_slots() == 0
            leave_child(study, "100", completed(proposals[index], number=number))
            (outcome,) = executor.wait()
            assert outcome.proposal is proposals[index]
            assert outcome.metrics == {"number": number}
        assert executor.free_slots() == 1
    assert not (study / "slurm").exists()


def test_what_its_job_writes_is_what_its_driver_reads(slurm: FakeSlurm, study: Path) -> None:
    sources = (Source(4, "weights"), Source(2, "training"))
    proposals = [*estimates(0, 1), Proposal(2, {"a": 2}, sources=sources), *estimates(3)]
    with opened() as executor:
        send(executor, study, proposals, trains.last_first)
        assert run_job(study, "100") == 0
        assert sorted(path.name for path in (study / "slurm").glob("*/*_child*")) == [
            f"100_0_child{index}.pkl" for index in range(4)
        ]
        outcomes = ended(executor, 4)
    assert [outcomes[index].reward for index in range(4)] == [0.0, 1.0, 2.0, 3.0]
    assert outcomes[2].proposal is proposals[2]


def test_what_ended_before_one_raises_is_kept_and_the_rest_has_failed(
    slurm: FakeSlurm, study: Path
) -> None:
    proposals = [*estimates(0), *estimates(1, raises=1.0), *estimates(2)]
    with opened() as executor:
        send(executor, study, proposals)
        run_job(study, "100")
        outcomes = ended(executor, 3)
    assert [outcomes[index].status for index in range(3)] == ["completed", "failed", "failed"]
    assert (outcomes[2].error or "").endswith("ValueError: child 1 raises")


def test_an_outcome_that_cannot_be_pickled_is_no_other_childs_failure(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as executor:
        send(executor, study, estimates(0, 1), OneByOne(unpicklable_first))
        run_job(study, "100")
        outcomes = ended(executor, 2)
    assert [outcomes[index].status for index in (0, 1)] == ["failed", "completed"]
    assert "TypeError: CannotCross stays where it is" in (outcomes[0].error or "")


def unpicklable_first(proposal: Proposal) -> Outcome:
    return trains.unpicklable(proposal) if proposal.index == 0 else completed(proposal)


def test_a_damaged_file_is_the_failure_of_its_child_alone(slurm: FakeSlurm, study: Path) -> None:
    proposals = estimates(0, 1)
    with opened() as executor:
        send(executor, study, proposals)
        for proposal in proposals:
            leave_child(study, "100", completed(proposal))
        next((study / "slurm").glob("*/100_0_child0.pkl")).write_bytes(b"\x80\x04cposix\nsystem\n.")
        outcomes = ended(executor, 2)
    assert outcomes[1].status == "completed"
    assert "it holds posix.system; legal are outcomes of children" in (outcomes[0].error or "")


def test_what_breaks_the_job_itself_fails_those_without_an_outcome(
    slurm: FakeSlurm, study: Path
) -> None:
    proposals = estimates(0, 1, 2)
    with opened() as executor:
        send(executor, study, proposals)
        leave_child(study, "100", completed(proposals[1]))
        next((study / "slurm").glob("train-*.pkl")).write_bytes(b"no pickle")
        run_job(study, "100")
        outcomes = ended(executor, 3)
    assert [outcomes[index].status for index in range(3)] == ["failed", "completed", "failed"]
    assert "UnpicklingError" in (outcomes[0].error or "")


def test_a_full_disk_interrupts_those_left_after_the_outcomes_were_taken(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as executor:
        send(executor, study, estimates(0, 1, 2), OneByOne(full_disk_at_1))
        run_job(study, "100")
        assert [outcome.proposal.index for outcome in executor.wait()] == [0]
        told = r"^estimates 1, 2 were interrupted by a fault of the machine, .*: No space left"
        with pytest.raises(MachineError, match=told):
            executor.wait()
        assert not job_file(study).exists()  # or a resumed study would meet the same result


def full_disk_at_1(proposal: Proposal) -> Outcome:
    if proposal.index == 1:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
    return completed(proposal)


# ------------------------------------------------------------------------- restarts of the job


def test_a_job_that_slurm_starts_again_trains_those_without_an_outcome(
    slurm: FakeSlurm, study: Path, tmp_path: Path
) -> None:
    proposals = [*estimates(0, 1), *estimates(2, dies=1.0), *estimates(3)]
    with opened() as executor:
        send(executor, study, proposals, OneByOne(trains.Dies(tmp_path)))
        assert run_job(study, "100") == -signal.SIGKILL
        assert sorted(ended(executor, 2)) == [0, 1]
        assert run_job(study, "100", restarts=1) == 0
        assert sorted(ended(executor, 2)) == [2, 3]
    starts = [len((tmp_path / f"{index}.starts").read_text()) for index in range(4)]
    assert starts == [1, 1, 2, 1]


def test_an_outcome_in_a_childs_folder_counts_when_its_job_starts_again(
    slurm: FakeSlurm, study: Path, tmp_path: Path
) -> None:
    proposals = [Proposal(index, {"a": index}) for index in range(2)]
    with opened() as executor:
        send(executor, study, proposals, OneByOne(trains.Dies(tmp_path)))
        child_folder(study, 0).mkdir(parents=True)
        leave_outcome(study, Outcome(proposals[0], "completed", 0.75))
        run_job(study, "100", restarts=1)
        assert ended(executor, 2)[0].reward == 0.75
    assert not (tmp_path / "0.starts").exists()


@pytest.mark.parametrize(
    ("starts_of_outcomes", "num_failed"),
    [((), 3), ((0,), 2), ((1,), 0)],
    ids=["none has ended", "none since the first start", "one in the start before"],
)
def test_restarts_count_from_the_last_outcome_on(
    slurm: FakeSlurm, study: Path, starts_of_outcomes: tuple[int, ...], num_failed: int
) -> None:
    proposals = estimates(0, 1, 2)
    with opened(retries=1) as executor:
        send(executor, study, proposals)
        for proposal, start in zip(proposals, starts_of_outcomes, strict=False):
            leave_child(study, "100", completed(proposal), start)
        run_job(study, "100", restarts=2)
        outcomes = ended(executor, 3).values()
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert len(failed) == num_failed
    for outcome in failed:
        assert "once more, after 1 restart (executor.retries=1)" in (outcome.error or "")


def test_a_warning_that_comes_once_too_often_fails_those_without_an_outcome(
    slurm: FakeSlurm, study: Path, tmp_path: Path
) -> None:
    proposals = estimates(0, 1, 2)
    with opened(retries=0) as executor:
        send(executor, study, proposals, OneByOne(trains.WaitsAt(tmp_path, 1)))
        process = start_job(study, "100")
        assert sorted(ended(executor, 1)) == [0]
        eventually((tmp_path / "1.started").exists, "child 1 trains")
        process.send_signal(signal.SIGUSR2)
        process.communicate(timeout=30)
        outcomes = ended(executor, 2)
    assert [outcomes[index].status for index in (1, 2)] == ["failed", "failed"]
    assert "after no restart (executor.retries=0)" in (outcomes[2].error or "")
    assert len(slurm.asked("sbatch")) == 1


def test_a_warned_job_is_put_back_into_the_queue(
    slurm: FakeSlurm, study: Path, tmp_path: Path
) -> None:
    with opened(retries=1) as executor:
        send(executor, study, estimates(0, 1), OneByOne(trains.WaitsAt(tmp_path, 1)))
        process = start_job(study, "100")
        eventually((tmp_path / "1.started").exists, "child 1 trains")
        process.send_signal(signal.SIGUSR2)
        process.communicate(timeout=30)
        assert slurm.asked("scontrol") == ["requeue 100"]
        assert sorted(ended(executor, 1)) == [0]
        assert executor.free_slots() == 15


def test_another_process_of_the_job_goes_on_when_the_first_has_told_of_a_failure(
    slurm: FakeSlurm, study: Path
) -> None:
    proposals = [*estimates(0), *estimates(1, raises=1.0)]
    with opened(tasks_per_node=2, grace_s=60) as executor:
        send(executor, study, proposals)
        other = start_job(study, "100", rank=1)
        assert run_job(study, "100") == 0
        other.communicate(timeout=30)
        assert other.returncode == 0
        assert {o.status for o in ended(executor, 2).values()} == {"completed", "failed"}


def test_a_failure_in_another_process_alone_ends_the_job(slurm: FakeSlurm, study: Path) -> None:
    with opened(tasks_per_node=2, grace_s=0.1) as executor:
        send(executor, study, estimates(0, 1, raises=1.0))
        other = start_job(study, "100", rank=1)
        _, log = other.communicate(timeout=60)
    assert other.returncode == 1
    assert "RankFailedError: process 1 on" in log


# ------------------------------------------------------------------------- jobs that SLURM lost


@pytest.mark.parametrize("state", ["NODE_FAIL", "FAILED", "OUT_OF_MEMORY"])
def test_a_lost_job_starts_again_with_those_without_an_outcome_as_often_as_retries_say(
    slurm: FakeSlurm, study: Path, state: str
) -> None:
    proposals = estimates(0, 1, 2, 3)
    slurm.answers("squeue", *(f"{number}|{state}|None|n2" for number in range(100, 110)))
    with opened(retries=1) as executor:
        send(executor, study, proposals)
        leave_child(study, "100", completed(proposals[0]))
        (outcome,) = lost(executor)
        assert outcome.proposal is proposals[0]
        hand_in(executor)
        assert [p.index for p, _ in children_of(study, "101").children] == [1, 2, 3]
        leave_child(study, "101", completed(proposals[3]))
        assert [outcome.proposal.index for outcome in lost(executor)] == [3]
        hand_in(executor)
        again = children_of(study, "102")
        assert [p.index for p, _ in again.children] == [1, 2]
        assert again.limits.restarts == 1  # counted from the last outcome on
        outcomes = lost(executor)
        assert executor.free_slots() == 16
    assert [outcome.proposal.index for outcome in outcomes] == [1, 2]
    for outcome in outcomes:
        assert outcome.error is not None
        assert outcome.error.startswith(f"its job 102 ended: {state} on n2, after 1 restart (")


def test_a_job_that_fails_with_its_last_child_is_that_childs_failure(
    slurm: FakeSlurm, study: Path
) -> None:
    proposals = estimates(0, 1)
    slurm.answers("squeue", "100|FAILED|NonZeroExitCode|n1")
    with opened() as executor:
        send(executor, study, proposals)
        leave_child(study, "100", completed(proposals[0]))
        first, last = lost(executor)
    assert (first.proposal.index, first.status) == (0, "completed")
    assert (last.proposal.index, last.status) == (1, "failed")
    assert len(slurm.asked("sbatch")) == 1


def test_a_cancelled_job_fails_those_without_an_outcome(slurm: FakeSlurm, study: Path) -> None:
    proposals = [Proposal(index, {"a": index}) for index in range(3)]
    slurm.answers("squeue", "100|CANCELLED|None|n1")
    with opened() as executor:
        send(executor, study, proposals)
        leave_child(study, "100", completed(proposals[0]))
        child_folder(study, 2).mkdir(parents=True)
        leave_outcome(study, completed(proposals[2]))
        first, third, second = lost(executor)
    assert [first.status, second.status, third.status] == ["completed", "failed", "completed"]
    assert (second.proposal, third.proposal) == (proposals[1], proposals[2])
    assert "its job 100 was cancelled on n1; " in (second.error or "")
    assert len(slurm.asked("sbatch")) == 1


# ------------------------------------------------------------------- drivers that end or come back


def test_a_later_driver_takes_those_without_an_outcome_be_they_submitted_otherwise(
    slurm: FakeSlurm, study: Path
) -> None:
    proposals = estimates(*range(6))
    with opened() as first:
        send(first, study, proposals)
        leave_child(study, "100", completed(proposals[0]))
        assert sorted(ended(first, 1)) == [0]
        abandon(first)
    leave_child(study, "100", completed(proposals[1]))  # while no driver was there
    with opened(max_parallel=3) as second:
        again = estimates(*range(6))
        submit_together(second, BY_NOTES, again[1:3], study)
        submit_together(second, BY_NOTES, again[3:4], study)
        submit_together(second, BY_NOTES, again[4:6], study)
        assert second.free_slots() == 2
        (outcome,) = second.wait()
        assert outcome.proposal is again[1]
        for proposal in proposals[2:]:
            leave_child(study, "100", completed(proposal))
        assert sorted(ended(second, 4)) == [2, 3, 4, 5]
        assert second.free_slots() == 3
    assert len(slurm.asked("sbatch")) == 1
    assert not (study / "slurm").exists()


def change_record(study: Path, **changes: Any) -> None:
    path = job_file(study)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_later_driver_takes_a_job_whose_number_was_not_written_down(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, estimates(0, 1))
        change_record(study, job_id=None)
        abandon(first)
    with opened() as second:
        send(second, study, estimates(0, 1))
        assert list(second._jobs) == ["100"]


def test_a_job_that_cannot_train_is_submitted_anew(slurm: FakeSlurm, study: Path) -> None:
    with opened() as first:
        send(first, study, estimates(0, 1))
        change_record(study, job_id=None)
        next((study / "slurm").glob("*/100_submitted.pkl")).unlink()
        abandon(first)
    with opened() as second:
        send(second, study, estimates(0, 1))
        assert list(second._jobs) == ["101"]


def test_a_job_that_its_driver_was_cancelling_is_cancelled_once_and_submitted_anew(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, estimates(0, 1, 2))
        change_record(study, is_cancelled=True)
        abandon(first)
    with opened() as second:
        send(second, study, estimates(0, 1, 2))
        assert slurm.asked("scancel") == ["--quiet 100"]
        assert list(second._jobs) == ["101"]
        assert len(children_of(study, "101").children) == 3


def test_a_job_that_was_cancelled_while_no_driver_was_there_is_submitted_anew(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, estimates(0, 1))
        abandon(first)
    slurm.answers("squeue", "100|CANCELLED|None|n1")
    with opened() as second:
        send(second, study, estimates(0, 1))
        assert lost(second) == []
        hand_in(second)
        assert list(second._jobs) == ["101"]


def test_another_evaluation_of_the_same_index_is_not_taken_for_it(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, estimates(0, 1))
        abandon(first)
    with opened() as second:
        others = [Proposal(index, {"a": index}, fidelity={"x": 1}) for index in range(2)]
        send(second, study, others)
        assert list(second._jobs) == ["101"]


def test_closing_cancels_the_job_and_leaves_nothing_to_find(slurm: FakeSlurm, study: Path) -> None:
    with opened() as executor:
        send(executor, study, estimates(0, 1))
    assert slurm.asked("scancel") == ["--quiet 100"]
    assert not (study / "slurm").exists()


# ------------------------------------------------------------------------------------- reports


def test_an_adopted_job_is_listened_to_from_its_first_epoch(slurm: FakeSlurm, study: Path) -> None:
    proposals = [Proposal(index, {"a": index}, notes={"epochs": 3.0}) for index in range(2)]
    with opened() as first:
        submit_together(first, Epochs(study), proposals, study, Listener(study))
        hand_in(first)
        abandon(first)
    run_job(study, "100")
    listener = Listener(study)
    with opened() as second:
        submit_together(second, Epochs(study), proposals, study, listener)
        assert sorted(ended(second, 2)) == [0, 1]
    assert listener.epochs(0) == listener.epochs(1) == [1, 2, 3]
    assert len(slurm.asked("sbatch")) == 1


def test_reports_are_heard_although_outcomes_never_pause(slurm: FakeSlurm, study: Path) -> None:
    long = Proposal(0, {"a": 0}, notes={"epochs": 3.0})
    listener = Listener(study)
    with opened() as executor:
        submit_together(executor, Epochs(study), [long], study, listener)
        hand_in(executor)
        list(Epochs(study)([long]))  # as its job does
        for index in range(1, 200):
            (other,) = estimates(index)
            send(executor, study, [other])
            leave_result(study, str(100 + index), other)
            assert [outcome.proposal.index for outcome in executor.wait()] == [index]
            if listener.heard:
                break
        assert listener.epochs(0) == [1, 2, 3]
