"""``executor=dask_slurm`` on a real SLURM: what clusters do to workers, and what becomes of it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, NasRunnerError, Outcome, Proposal, StudyInfo
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.study.ledger import Ledger, read_events
from nasrunner.study.loop import Study
from tests.executors import trains
from tests.executors.trains import submit
from tests.slurm.cluster import Cluster
from tests.slurm.machines.daemons import happens, is_alive
from tests.slurm.machines.disks import full_disk
from tests.slurm.machines.held import HeldTrainer, IgnoresTerminate, Start, starts
from tests.slurm.recorded import assert_complete, database, outcomes_of, tracker
from tests.toys import RULES, chain, toy_reward

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # MLflow's own, with the SQLAlchemy installed here.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

NUM_CHILDREN = 8
WITHIN_S = 120.0
CONFIG = Path("conf/executor/dask_slurm.yaml")
ROOT = Path(__file__).parents[2]


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    """The shipped configuration with little memory and no patience."""
    described: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    job = {
        **described["job"],
        "memory": "600MB",
        "interface": "lo",
        "job_script_prologue": [f"export PYTHONPATH={ROOT}"],
        **changes.pop("job", {}),
    }
    quick = {"poll_s": 0.5, "idle_s": 2, "patience_s": 2, "preload": [], "minimum": 0, "maximum": 3}
    return {**described, **quick, "log_folder": str(folder / "workers"), "job": job, **changes}


def executor(folder: Path, **changes: Any) -> contextlib.closing[Any]:
    return contextlib.closing(construct(config(folder, **changes), "executor"))


Fault = Callable[[list[Start]], None]


def run_study(folder: Path, fault: Fault, **changes: Any) -> list[Start]:
    """Runs a study of held children to its end; returns their starts.

    Args:
        folder: the study's.
        fault: called with the first children's starts while all of them are held.
        changes: of the executor.
    """
    space = chain()
    with executor(folder, **changes) as built, Ledger(folder / "ledger.jsonl") as ledger:
        study = Study(
            space=space,
            searcher=RandomSearch(space=space, seed=RULES.seed),
            trainer=HeldTrainer(space),
            executor=built,
            trackers=[construct(tracker(), "tracker")],
            ledger=ledger,
            rules=replace(RULES, max_children=NUM_CHILDREN),
            info=StudyInfo("held", folder, {}, NUM_CHILDREN),
        )
        num_workers = changes.get("maximum", 3)

        def interfere() -> None:
            try:
                assert happens(lambda: len(starts(folder)) >= num_workers, WITHIN_S)
                fault(starts(folder))
            finally:
                (folder / "go").touch()

        with ThreadPoolExecutor(1) as threads:
            interfering = threads.submit(interfere)
            study.run()
            interfering.result()
    return starts(folder)


def check_complete(folder: Path, failed: Collection[int] = ()) -> None:
    """Ledger and MLflow hold every child, and the rewards are those of the genotypes."""
    assert_complete(folder, NUM_CHILDREN, failed)
    events, _ = read_events(folder / "ledger.jsonl")
    genotypes = {e["index"]: e["genotype"] for e in events if e["event"] == "proposed"}
    for index, outcome in outcomes_of(folder).items():
        assert index in failed or outcome["reward"] == toy_reward(genotypes[index])


def starts_of_first(all_starts: list[Start]) -> list[Start]:
    """Those of the child that was started first, whichever of those in flight that was."""
    return [start for start in all_starts if start.index == all_starts[0].index]


def no_jobs(slurm: Cluster) -> bool:
    return not slurm.run("squeue", "-h", "-t", "pending,running")


@pytest.fixture(autouse=True)
def whole(slurm: Cluster) -> None:
    slurm.heal()


@pytest.fixture
def study_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    return folder


def test_a_worker_process_that_is_killed_is_started_again_in_its_allocation(
    slurm: Cluster, study_folder: Path
) -> None:
    def kill(first: list[Start]) -> None:
        os.kill(first[0].pid, signal.SIGKILL)
        assert happens(lambda: len(starts(study_folder)) == 4, WITHIN_S)

    again = starts_of_first(run_study(study_folder, kill))
    check_complete(study_folder)
    assert len(again) == 2
    assert again[0].job == again[1].job
    assert happens(lambda: no_jobs(slurm), WITHIN_S)


def test_a_worker_whose_job_is_cancelled_is_replaced(slurm: Cluster, study_folder: Path) -> None:
    def cancel(first: list[Start]) -> None:
        slurm.run("scancel", first[0].job)
        assert happens(lambda: len(starts(study_folder)) == 4, WITHIN_S)

    again = starts_of_first(run_study(study_folder, cancel))
    check_complete(study_folder)
    assert again[0].job != again[1].job


def test_the_children_of_a_node_that_is_lost_go_to_others(
    slurm: Cluster, study_folder: Path
) -> None:
    def crash(first: list[Start]) -> None:
        slurm.crash_node(first[0].node)
        assert happens(lambda: len(starts(study_folder)) == 4, WITHIN_S)

    again = starts_of_first(
        run_study(study_folder, crash, job={"job_extra_directives": ["--exclusive"]})
    )
    check_complete(study_folder)
    assert again[0].node != again[1].node


def test_a_worker_works_on_when_only_its_nodes_daemon_is_killed(
    slurm: Cluster, study_folder: Path
) -> None:
    all_starts = run_study(study_folder, lambda first: slurm.kill_node_daemon(first[0].node))
    check_complete(study_folder)
    assert len(all_starts) == NUM_CHILDREN


def test_a_child_whose_allocation_ends_goes_to_the_next(slurm: Cluster, study_folder: Path) -> None:
    def end(first: list[Start]) -> None:
        slurm.run("scontrol", "update", f"jobid={first[0].job}", "endtime=now")
        assert happens(lambda: len(starts(study_folder)) == 4, WITHIN_S)

    again = starts_of_first(run_study(study_folder, end))
    check_complete(study_folder)
    assert again[0].job != again[1].job


def test_a_child_that_may_not_be_retried_fails_with_what_slurm_says(
    slurm: Cluster, study_folder: Path
) -> None:
    def end(first: list[Start]) -> None:
        slurm.run("scontrol", "update", f"jobid={first[0].job}", "endtime=now")
        assert happens(lambda: bool(failures(study_folder)), WITHIN_S)

    first = run_study(study_folder, end, retries=0)[0]
    check_complete(study_folder, failed=[first.index])
    (error,) = failures(study_folder)
    assert error.startswith("the worker process died once while it trained this child, the last")
    told = f"SLURM says TIMEOUT (TimeLimit) on {first.node} of job {first.job}; its log ends: "
    assert told in error
    assert "DUE TO TIME LIMIT" in error  # from the worker's log


def failures(folder: Path) -> list[str]:
    events, _ = read_events(folder / "ledger.jsonl")
    return [event["error"] for event in events if event.get("status") == "failed"]


def test_a_node_that_is_drained_finishes_its_child_and_gets_no_other_worker(
    slurm: Cluster, study_folder: Path
) -> None:
    drained: list[str] = []

    def drain(first: list[Start]) -> None:
        drained.append(first[0].node)
        slurm.run("scontrol", "update", f"nodename={drained[0]}", "state=drain", "reason=test")
        slurm.run("scancel", first[0].job)
        assert happens(lambda: len(starts(study_folder)) == 4, WITHIN_S)

    all_starts = run_study(study_folder, drain, job={"job_extra_directives": ["--exclusive"]})
    check_complete(study_folder)
    assert starts_of_first(all_starts)[1].node != drained[0]


def test_workers_are_replaced_once_the_controller_is_back(
    slurm: Cluster, study_folder: Path
) -> None:
    def restart(first: list[Start]) -> None:
        slurm.stop_controller()
        os.kill(nanny_of(first[0].pid), signal.SIGKILL)
        os.kill(first[0].pid, signal.SIGKILL)
        slurm.start_controller()
        assert happens(lambda: len(starts(study_folder)) == 4, WITHIN_S)

    again = starts_of_first(run_study(study_folder, restart))
    check_complete(study_folder)
    assert again[0].pid != again[1].pid


def nanny_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_node_whose_scratch_disk_is_full_is_left_out(
    slurm: Cluster, tmp_path: Path, study_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad"  # the node of the first worker
    setup = [f"export PYTHONPATH={ROOT} SCRATCH=/tmp"]
    setup += [f"mkdir {bad} && echo $SLURMD_NODENAME > {bad}/node"]
    full = tmp_path / "full"
    setup += [f"if [ $SLURMD_NODENAME = $(cat {bad}/node) ]; then export SCRATCH={full}; fi"]
    job = {"job_extra_directives": ["--exclusive"], "job_script_prologue": setup}
    changes = {"maximum": 2, "job": {**job, "local_directory": "$SCRATCH"}}
    with full_disk(full):
        all_starts = run_study(study_folder, lambda first: None, **changes)
    check_complete(study_folder)
    node = (bad / "node").read_text().strip()
    assert node not in {start.node for start in all_starts}
    assert "No space left on device" in caplog.text
    assert f"a worker could not start on {node}, which gets no more jobs" in caplog.text


def test_a_process_that_ignores_sigterm_does_not_outlive_the_study(
    slurm: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    with executor(tmp_path) as built:
        submit(built, IgnoresTerminate(file), Proposal(0, {}), tmp_path)
        assert happens(lambda: file.exists() and bool(file.read_text()), WITHIN_S)
    pid = int(file.read_text())
    assert happens(lambda: not is_alive(pid), WITHIN_S)
    assert happens(lambda: no_jobs(slurm), WITHIN_S)


def test_a_driver_that_is_killed_leaves_no_worker_and_its_study_goes_on(
    slurm: Cluster, tmp_path: Path
) -> None:
    """With real children: digits, trained by Lightning."""
    study = tmp_path / "study"
    overrides = [
        *["executor=dask_slurm", "executor.maximum=2", "executor.job.interface=lo"],
        *["executor.job.memory=1GB", "executor.poll_s=1", "executor.preload=[]"],
        *["searcher=random", "max_children=5", "trainer.max_epochs=3", f"hydra.run.dir={study}"],
        *[f"tracker.tracking_uri=sqlite:///{database()}", "tracker.close_timeout_s=120"],
    ]
    command = [sys.executable, "-m", "nasrunner"]
    with subprocess.Popen([*command, *overrides], cwd=tmp_path, start_new_session=True) as driver:
        outcome = study / "children" / "0000" / "outcome.json"
        assert happens(lambda: outcome.exists() or driver.poll() is not None, 120)
        driver.kill()
    # A worker that is just starting looks for the driver for half a minute.
    assert happens(lambda: no_jobs(slurm), WITHIN_S)

    resume = [f"resume={study}"]
    done = subprocess.run([*command, *resume], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_complete(study, 5)
    assert all(0.1 < outcome["reward"] < 1 for outcome in outcomes_of(study).values())
    assert list((study / "workers").glob("nasrunner-*.err"))
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
    assert happens(lambda: no_jobs(slurm), 20)


def test_allocations_follow_the_number_of_children(slurm: Cluster, tmp_path: Path) -> None:
    def count() -> int:
        return len(slurm.run("squeue", "-h", "-t", "pending,running").splitlines())

    with executor(tmp_path, minimum=1, maximum=3) as built:
        assert built.free_slots() == 3
        assert happens(lambda: count() == 1, WITHIN_S)
        for index in range(3):
            submit(built, trains.Barrier(tmp_path), Proposal(index, {}), tmp_path)
        assert built.free_slots() == 0
        assert happens(lambda: count() == 3, WITHIN_S)
        (tmp_path / "go").touch()
        ended = 0
        while ended < 3:
            ended += len(built.wait())
        assert happens(lambda: count() == 1, WITHIN_S)
        submit(built, trains.by_notes, Proposal(3, {}), tmp_path)
        assert [outcome.status for outcome in built.wait()] == ["completed"]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (
            {"queue": "nowhere"},
            r"executor\.job: the queue refused the job of a worker: .*invalid partition.* nowhere",
        ),
        (
            {"job_extra_directives": ["--gres=gpu:3"]},
            r"executor\.job: the queue refused .*Requested node configuration is not available",
        ),
        (
            {"walltimes": "01:00:00"},
            r"executor\.job\.walltimes: .*did you mean 'walltime'\?",
        ),
        ({"processes": 2}, r"executor\.job\.processes must be 1, got 2"),
    ],
)
def test_a_job_that_cannot_be_is_one_error_before_any_child(
    slurm: Cluster, tmp_path: Path, job: dict[str, Any], message: str
) -> None:
    def train() -> None:
        with executor(tmp_path, job=job) as built:
            submit(built, trains.by_notes, Proposal(0, {}), tmp_path)
            built.wait()

    with pytest.raises(ConfigError, match=message):
        train()


def test_a_worker_that_can_never_start_is_an_error_with_its_log(
    slurm: Cluster, tmp_path: Path
) -> None:
    job = {"job_script_prologue": ["echo this site has no such module >&2", "exit 3"]}
    with executor(tmp_path, job=job) as built:
        submit(built, trains.by_notes, Proposal(0, {}), tmp_path)
        with pytest.raises(NasRunnerError, match=r"(?s)no worker can start.*no such module"):
            built.wait()


def test_the_user_is_told_why_no_allocation_starts(
    slurm: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = {"job_extra_directives": ["--begin=now+1hour"]}
    with executor(tmp_path, job=job) as built:
        submit(built, trains.by_notes, Proposal(0, {}), tmp_path)
        assert happens(lambda: "PENDING (BeginTime)" in caplog.text, WITHIN_S)
    assert re.search(r"children have waited for a worker for \d s: job \d+ PENDING", caplog.text)
    assert happens(lambda: no_jobs(slurm), WITHIN_S)


def test_every_child_comes_back_exactly_once(slurm: Cluster, tmp_path: Path) -> None:
    """The contract of all executors, on SLURM."""
    with executor(tmp_path, tls=False) as built:
        for index in range(20):
            notes = {"sleep_s": 0.01, **({"raises": 1.0} if index == 7 else {})}
            submit(built, trains.by_notes, Proposal(index, {}, notes=notes), tmp_path)
        outcomes: list[Outcome] = []
        while len(outcomes) < 20:
            outcomes += built.wait()
    assert sorted(outcome.proposal.index for outcome in outcomes) == list(range(20))
    assert [o.proposal.index for o in outcomes if o.status == "failed"] == [7]
