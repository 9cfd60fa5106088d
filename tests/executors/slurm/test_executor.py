"""executor=slurm against made-up commands: the sbatch text, the watcher, and who is resubmitted."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, NasRunnerError, Outcome, Proposal, child_folder
from nasrunner.executors.slurm import gathered as slurm_module
from nasrunner.executors.slurm.request import JobRequest
from tests.executors import trains
from tests.executors.slurm.driving import (
    abandon,
    children_of,
    configuration,
    leave_outcome,
    lost,
    opened,
    record,
    send,
)
from tests.executors.slurm.fake import FakeSlurm, leave_result
from tests.executors.trains import submit

GOLDEN = Path(__file__).parent / "golden"


# ------------------------------------------------------------------------------ the sbatch text


@pytest.mark.parametrize(
    ("name", "trainer", "changes"),
    [
        ("slurm-one", {"devices": 1, "accelerator": "auto"}, {}),
        (
            "slurm-ddp",
            {"devices": 4, "num_nodes": 2, "accelerator": "gpu"},
            {
                "partition": "gpu",
                "account": "lab",
                "qos": "long",
                "timeout_min": 480,
                "cpus_per_task": 8,
                "mem_gb": 62.5,
                "constraint": "a100|h100",
                "setup": ["module load cuda", "export NCCL_DEBUG=INFO"],
                "sbatch": {"mail-type": "FAIL", "nice": 100},
            },
        ),
    ],
)
def test_the_sbatch_text_is_the_golden_one(
    name: str, trainer: dict[str, Any], changes: Any, slurm: FakeSlurm, study: Path
) -> None:
    with opened(trainer, **changes) as executor:
        send(executor, study, *range(3))
    text = slurm.sbatch_text.replace(str(study), "/study").replace(sys.executable, "python")
    assert text == (GOLDEN / f"{name}.sbatch").read_text()


def test_a_single_child_is_no_array(slurm: FakeSlurm, study: Path) -> None:
    with opened() as executor:
        send(executor, study, 7)
        assert "--array" not in slurm.sbatch_text
        assert record(study, 7)["job_id"] == "100"


def test_children_that_gather_become_one_array_and_none_exceeds_the_slots(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened(max_parallel=3) as executor:
        for index in range(5):
            folder = child_folder(study, index)
            submit(executor, trains.by_notes, Proposal(index, {"a": index}), folder)
        assert len(slurm.asked("sbatch")) == 1  # sent when the slots were full
        assert "--array=0-2%3" in slurm.sbatch_text
        assert executor.free_slots() == 0


def test_the_next_child_is_sent_when_one_of_an_array_has_ended(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened(max_parallel=2) as executor:
        _, second = send(executor, study, 0, 1)
        leave_result(study, "100_1", second, reward=0.5)
        (outcome,) = executor.wait()
        assert (outcome.proposal, outcome.reward) == (second, 0.5)
        assert outcome.proposal is second
        assert executor.free_slots() == 1
        send(executor, study, 2)
        assert record(study, 2)["job_id"] == "101"
        assert record(study, 0)["job_id"] == "100_0"


@pytest.mark.parametrize(
    ("devices", "accelerator", "changes", "gpus"),
    [
        (2, "gpu", {}, 2),
        (2, "cuda", {}, 2),
        (2, "cpu", {}, None),
        (1, "auto", {}, None),
        (1, "auto", {"gpus_per_node": 3}, 3),
        (2, "gpu", {"gpus_per_node": 0}, None),
        (2, "gpu", {"gres": "gpu:a100:2"}, None),
    ],
)
def test_gpus_follow_the_trainer_unless_they_are_given(
    devices: int, accelerator: str, changes: Any, gpus: int | None
) -> None:
    given = configuration({"devices": devices, "accelerator": accelerator}, **changes)
    assert request(given).num_gpus_per_node == gpus


def request(given: dict[str, Any]) -> JobRequest:
    own = ("_target_", "keep_logs", "result_interval_s", "squeue_interval_s", "grace_s")
    return JobRequest.of({name: value for name, value in given.items() if name not in own})


@pytest.mark.parametrize(("timeout_min", "delay_s"), [(1, 10), (3, 30), (9, 90), (600, 90)])
def test_the_warning_leaves_a_short_job_time_to_train(timeout_min: int, delay_s: int) -> None:
    assert request(configuration(timeout_min=timeout_min)).delay_s == delay_s


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("trainer", "changes", "message"),
    [
        (
            {"devices": "auto"},
            {},
            r"executor\.tasks_per_node, which is trainer\.devices unless it is given, must be a "
            r"whole number >= 1 with executor=slurm.*; got 'auto'",
        ),
        ({"devices": [0, 1]}, {}, r"executor\.tasks_per_node, .*; got \[0, 1\]"),
        ({"num_nodes": 0}, {}, r"executor\.nodes, which is trainer\.num_nodes .*; got 0"),
        ({}, {"timeout_min": "1:00:00"}, r"executor\.timeout_min must be int >= 1, got '1"),
        ({}, {"timeout_min": 0.5}, r"executor\.timeout_min must be int >= 1, got 0\.5"),
        ({}, {"max_parallel": 0}, r"executor\.max_parallel must be int >= 1, got 0"),
        ({}, {"mem_gb": -1}, r"executor\.mem_gb must be float > 0 or null, got -1"),
        ({}, {"setup": "module load"}, r"executor\.setup must be list of str, got 'mod"),
        ({}, {"sbatch": {"array": "0-3"}}, r"executor\.sbatch\.array: children's jobs need their"),
        ({}, {"sbatch": {"mail_type": 1}}, r"executor\.sbatch\.mail_type: legal are long names"),
        ({}, {"signal_delay_s": 3000}, r"executor\.signal_delay_s must be at most half of timeout"),
        ({}, {"partitoin": "x"}, r"executor\.partitoin: .*did you mean 'partition'\?"),
        ({}, {"grace_s": 0}, r"executor\.grace_s must be float > 0, got 0"),
    ],
)
def test_a_wrong_value_is_one_sentence(
    slurm: FakeSlurm, trainer: dict[str, Any], changes: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        construct(configuration(trainer, **changes), "executor")


def test_without_submitit_the_extra_is_named(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install 'nasrunner\[slurm\]'"):
        construct(configuration(), "executor")


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            r"^executor\.partition=mian is not legal, did you mean 'main'\? Legal: main, urgent",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition "
            "combination specified",
            r"^executor\.account=nobody is not legal for this user",
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid qos specification",
            r"^executor\.qos=gold is not legal",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested node configuration is not "
            "available",
            r"^executor asks for nodes=1 with gpus_per_node=3, .*which no node has in partition",
        ),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid",
            r"^executor\.timeout_min=60 is more than SLURM allows",
        ),
        ("sbatch: error: something new", r"^executor: .* refused\. SLURM says: something new$"),
    ],
)
def test_a_refusal_names_the_key(slurm: FakeSlurm, study: Path, refusal: str, message: str) -> None:
    slurm.answers("sinfo", "main", "urgent")
    slurm.refuses("sbatch", refusal)
    changes = {"partition": "mian", "account": "nobody", "qos": "gold", "gpus_per_node": 3}
    with opened(**changes) as executor, pytest.raises(ConfigError, match=message):
        send(executor, study, 0)


def test_a_controller_that_is_down_at_first_ends_the_study(slurm: FakeSlurm, study: Path) -> None:
    slurm.refuses("sbatch", "sbatch: error: Unable to contact slurm controller (connect failure)")
    with opened() as executor, pytest.raises(NasRunnerError, match=r"takes no job .*Unable to con"):
        send(executor, study, 0)


def test_a_controller_that_is_down_later_gets_the_child_when_it_is_back(
    slurm: FakeSlurm, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_module, "_TRY_AGAIN_S", 0.0)
    with opened() as executor:
        send(executor, study, 0)
        slurm.refuses("sbatch", "sbatch: error: Unable to contact slurm controller")
        send(executor, study, 1)
        assert record(study, 1)["job_id"] is None
        slurm.answers("sbatch")
        executor._submit_gathered()
        assert record(study, 1)["job_id"] == "102"


# ---------------------------------------------------------------------- what becomes of the jobs


def test_a_job_that_squeue_lets_run_is_never_given_up(slurm: FakeSlurm, study: Path) -> None:
    slurm.answers("squeue", "100|RUNNING|None|n1")
    slurm.answers("sacct", "100|NODE_FAIL|n1")  # for seconds, before SLURM starts it again
    with opened() as executor:
        send(executor, study, 0)
        assert lost(executor) == []
    assert slurm.asked("sacct") == []


def test_while_slurm_is_silent_nothing_is_lost(
    slurm: FakeSlurm, study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened() as executor:
        (proposal,) = send(executor, study, 0)
        slurm.refuses("squeue", "slurm_load_jobs error: Unable to contact slurm controller")
        assert lost(executor) == []
        assert "SLURM does not answer, the children's jobs go on: slurm_load" in caplog.text
        leave_result(study, "100", proposal)
        assert executor.wait()[0].status == "completed"


def test_a_job_that_squeue_has_forgotten_is_looked_up_in_the_accounting(
    slurm: FakeSlurm, study: Path
) -> None:
    slurm.answers("squeue", "999|RUNNING|None|n1")
    slurm.answers("sacct", "100|CANCELLED by 1000|n1")
    with opened() as executor:
        send(executor, study, 0)
        (outcome,) = lost(executor)
    assert outcome.status == "failed"
    assert re.match(r"its job 100 was cancelled on n1; ", outcome.error or "")


def test_a_failed_job_is_not_started_again_and_its_log_says_why(
    slurm: FakeSlurm, study: Path
) -> None:
    slurm.answers("squeue", "100|FAILED|NonZeroExitCode|n1")
    with opened() as executor:
        send(executor, study, 0)
        log = study / "slurm" / "nasrunner-0000-aaaaaa" / "100_0_log.out"
        log.write_text("first\nsrun: error: n1: task 0: Killed\n")
        (outcome,) = lost(executor)
        assert executor.free_slots() == 16
    assert outcome.error == (
        "its job 100 ended: FAILED (NonZeroExitCode) on n1; its log ends:\n"
        "first\nsrun: error: n1: task 0: Killed"
    )


def test_a_job_without_a_log_points_at_the_folder(slurm: FakeSlurm, study: Path) -> None:
    slurm.answers("squeue", "100|FAILED|RaisedSignal:53(Real-time_signal_19)|n1")
    with opened() as executor:
        send(executor, study, 0)
        (outcome,) = lost(executor)
    assert "hydra.run.dir must lie on a file system that they do" in (outcome.error or "")


@pytest.mark.parametrize("state", ["TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL"])
def test_a_job_that_ended_by_no_fault_of_its_child_is_started_again_as_often_as_retries_say(
    slurm: FakeSlurm, study: Path, state: str
) -> None:
    slurm.answers("squeue", *(f"{number}|{state}|None|n2" for number in (100, 101)))
    with opened(retries=1) as executor:
        send(executor, study, 0)
        assert lost(executor) == []
        send(executor, study)
        assert record(study, 0)["job_id"] == "101"
        assert record(study, 0)["restarts"] == 1
        assert children_of(study, "101").limits.restarts == 1
        (outcome,) = lost(executor)
    assert outcome.error is not None
    assert outcome.error.startswith(
        f"its job 101 ended: {state} on n2, after 1 restart (executor.retries=1); "
    )


def test_a_job_that_its_node_could_not_launch_is_cancelled_and_started_again(
    slurm: FakeSlurm, study: Path
) -> None:
    """A full disk: SLURM drains the node, and holds the job until somebody releases it."""
    held = (f"{number}|PENDING|launch failed requeued held|" for number in (100, 101))
    slurm.answers("squeue", *held)
    with opened(retries=1) as executor:
        send(executor, study, 0)
        assert lost(executor) == []
        assert slurm.asked("scancel") == ["--quiet 100"]
        send(executor, study)
        assert record(study, 0)["job_id"] == "101"
        assert record(study, 0)["restarts"] == 1
        (outcome,) = lost(executor)
        assert slurm.asked("scancel") == ["--quiet 100", "--quiet 101"]
    assert outcome.error == (
        "its job 101 could not be launched (launch failed requeued held; sinfo --list-reasons "
        "names the node), after 1 restart (executor.retries=1)"
    )


def test_a_job_that_a_person_holds_waits_for_its_release(slurm: FakeSlurm, study: Path) -> None:
    slurm.answers("squeue", "100|PENDING|JobHeldUser|")
    with opened() as executor:
        send(executor, study, 0)
        assert lost(executor) == []
        assert slurm.asked("scancel") == []
        assert record(study, 0)["job_id"] == "100"


def test_a_job_that_slurm_does_not_know_any_more_is_started_again(
    slurm: FakeSlurm, study: Path
) -> None:
    slurm.refuses("sacct", "Slurm accounting storage is disabled")
    with opened() as executor:
        send(executor, study, 0)
        assert lost(executor) == []
        send(executor, study)
        assert record(study, 0)["job_id"] == "101"


def test_a_state_of_before_the_submission_says_nothing(slurm: FakeSlurm, study: Path) -> None:
    with opened() as executor:
        executor._watch.ask()
        send(executor, study, 0)
        assert list(executor._lost()) == []


def test_an_outcome_in_the_childs_folder_counts_although_its_job_was_lost(
    slurm: FakeSlurm, study: Path
) -> None:
    slurm.answers("squeue", "100|NODE_FAIL|None|n2")
    with opened() as executor:
        (proposal,) = send(executor, study, 0)
        leave_outcome(study, Outcome(proposal, "completed", 0.75))
        (outcome,) = lost(executor)
    assert (outcome.status, outcome.reward) == ("completed", 0.75)
    assert len(slurm.asked("sbatch")) == 1


def test_a_job_that_can_never_start_ends_the_study(slurm: FakeSlurm, study: Path) -> None:
    slurm.answers("squeue", "100|PENDING|PartitionTimeLimit|")
    with opened() as executor:
        send(executor, study, 0)
        with pytest.raises(ConfigError, match=r"timeout_min=60 and nodes=1 .*: PartitionTimeLimit"):
            lost(executor)


# ------------------------------------------------------------------- drivers that end or come back


def test_closing_cancels_what_runs_and_leaves_nothing_to_find(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as executor:
        send(executor, study, 0, 1)
    assert slurm.asked("scancel") == ["--quiet 100_0 100_1"]
    assert not (child_folder(study, 0) / "slurm.json").exists()


def test_closing_in_the_middle_of_a_submission_cancels_by_name(
    slurm: FakeSlurm, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(slurm_module, "submit", interrupted)
    with opened() as executor, pytest.raises(KeyboardInterrupt):
        send(executor, study, 0)
    assert slurm.asked("scancel") == [f"--quiet --name=nasrunner-0000-aaaaaa --user={os.getuid()}"]


def test_a_later_driver_takes_the_job_that_still_runs(slurm: FakeSlurm, study: Path) -> None:
    with opened() as first:
        send(first, study, 0, 1)
        abandon(first)
    with opened() as second:
        proposals = send(second, study, 0, 1)
        assert len(slurm.asked("sbatch")) == 1
        leave_result(study, "100_0", proposals[0])
        assert [o.proposal.index for o in second.wait()] == [0]


def test_a_later_driver_takes_a_job_whose_number_was_not_written_down(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, 0, 1)
        for index in (0, 1):
            path = child_folder(study, index) / "slurm.json"
            path.write_text(json.dumps({**record(study, index), "job_id": None}))
        abandon(first)
    with opened() as second:
        send(second, study, 0, 1)
        assert len(slurm.asked("sbatch")) == 1
        assert sorted(second._jobs) == ["100_0", "100_1"]


def test_a_job_that_never_got_its_pickle_cannot_train_and_is_submitted_anew(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, 0)
        path = child_folder(study, 0) / "slurm.json"
        path.write_text(json.dumps({**record(study, 0), "job_id": None}))
        (study / "slurm" / "nasrunner-0000-aaaaaa" / "100_submitted.pkl").unlink()
        abandon(first)
    with opened() as second:
        send(second, study, 0)
        assert record(study, 0)["job_id"] == "101"


def test_a_job_that_was_cancelled_while_no_driver_was_there_is_submitted_anew(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, 0)
        abandon(first)
    slurm.answers("squeue", "100|CANCELLED|None|n1")
    with opened() as second:
        send(second, study, 0)
        assert lost(second) == []
        send(second, study)
        assert record(study, 0)["job_id"] == "101"
        assert record(study, 0)["restarts"] == 0


def test_another_architecture_in_the_same_folder_is_not_taken_for_the_same_child(
    slurm: FakeSlurm, study: Path
) -> None:
    with opened() as first:
        send(first, study, 0)
        abandon(first)
    with opened() as second:
        submit(second, trains.by_notes, Proposal(0, {"a": 5}), child_folder(study, 0))
        second._submit_gathered()
        assert record(study, 0)["job_id"] == "101"


def test_the_allocation_a_driver_runs_in_is_hidden_from_sbatch(
    slurm: FakeSlurm, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/lab.conf")
    with opened() as executor:
        send(executor, study, 0)
    assert set(slurm.environment().split()) == {"SLURM_CONF=/etc/slurm/lab.conf"}
    assert os.environ["SLURM_MEM_PER_CPU"] == "100"


def test_a_study_leaves_no_files_of_completed_children(slurm: FakeSlurm, study: Path) -> None:
    with opened() as executor:
        proposals = send(executor, study, 0, 1)
        for position, proposal in enumerate(proposals):
            leave_result(study, f"100_{position}", proposal)
        executor.wait()
    assert not (study / "slurm").exists()


def test_what_trains_cannot_be_pickled_is_said(slurm: FakeSlurm, study: Path) -> None:
    with opened() as executor, pytest.raises(NasRunnerError, match="must be picklable"):
        submit(
            executor,
            trains.CannotCross(),  # type: ignore[arg-type]
            Proposal(0, {}),
            child_folder(study, 0),
        )
