"""executor=slurm on a real SLURM: children, GPUs, accounts, what is refused, and an allocation."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, Outcome, Proposal, Train, child_folder
from nasrunner.executors.slurm.executor import SlurmExecutor
from nasrunner.study.rehearsal import rehearse
from tests.executors import trains
from tests.executors.trains import submit
from tests.slurm.cluster import Cluster
from tests.slurm.machines.daemons import happens
from tests.slurm.recorded import outcomes_of
from tests.slurm.study_driver import configuration
from tests.toys import no_mistake

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(600)]


@contextlib.contextmanager
def opened(**changes: Any) -> Iterator[SlurmExecutor]:
    with contextlib.closing(construct(configuration(**changes), "executor")) as executor:
        yield executor


def run(
    executor: SlurmExecutor, train: Train, proposals: list[Proposal], study: Path
) -> list[Outcome]:
    """As the study does: keeps every slot busy."""
    outcomes: list[Outcome] = []
    waiting = list(reversed(proposals))
    while waiting or len(outcomes) < len(proposals):
        while waiting and executor.free_slots():
            proposal = waiting.pop()
            submit(executor, train, proposal, child_folder(study, proposal.index))
        outcomes += executor.wait()
    return outcomes


def environment_of_job(proposal: Proposal) -> Outcome:
    """Tells, in its error text, what a child's job is like."""
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NASRUNNER_RANKS", "SLURM_NTASKS")
    told = " ".join(f"{name}={os.environ.get(name)}" for name in names)
    return Outcome(proposal, "completed", 1.0, error=told)


def test_every_child_comes_back_exactly_once(slurm: Cluster, tmp_path: Path) -> None:
    notes: list[dict[str, float]] = [{}, {"raises": 1.0}, {}, {"exits": 1.0}, {}, {}]
    proposals = [Proposal(index, {"a": index}, notes=note) for index, note in enumerate(notes)]
    with opened() as executor:
        outcomes = run(executor, trains.by_notes, proposals, tmp_path)
    assert sorted(o.proposal.index for o in outcomes) == list(range(6))
    for outcome in outcomes:
        assert outcome.proposal is proposals[outcome.proposal.index]
        assert outcome.status == ("failed" if outcome.proposal.notes else "completed")
    errors = {o.proposal.index: o.error or "" for o in outcomes}
    assert errors[1].endswith("ValueError: child 1 raises")


def test_what_is_no_outcome_is_a_failed_one(slurm: Cluster, tmp_path: Path) -> None:
    with opened() as executor:
        (outcome,) = run(executor, trains.not_an_outcome, [Proposal(7, {})], tmp_path)
    assert outcome.status == "failed"
    assert "child 7 must yield the Outcome of each, got {'reward'" in (outcome.error or "")


def test_a_job_has_the_gpus_and_processes_of_its_trainer(slurm: Cluster, tmp_path: Path) -> None:
    changes = {"accelerator": "gpu", "tasks_per_node": 2, "cpus_per_task": 2}
    with opened(**changes) as executor:
        (outcome,) = run(executor, environment_of_job, [Proposal(0, {})], tmp_path)
    assert outcome.error == (
        "CUDA_VISIBLE_DEVICES=0,1 OMP_NUM_THREADS=2 NASRUNNER_RANKS=srun SLURM_NTASKS=2"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"partition": "mian"},
            r"^executor\.partition=mian .*did you mean 'main'\? Legal: main, s",
        ),
        ({"gpus_per_node": 3}, r"^executor asks for nodes=1 with gpus_per_node=3, .*no node has"),
        ({"nodes": 9}, r"^executor asks for nodes=9 "),
        ({"partition": "short", "timeout_min": 31}, r"timeout_min=31 .*PartitionTimeLimit"),
        ({"sbatch": {"no-such": 1}}, r"^executor: .* SLURM says: .*no-such"),
    ],
)
def test_what_slurm_refuses_ends_the_study_before_training(
    slurm: Cluster, tmp_path: Path, changes: Any, message: str
) -> None:
    with opened(**changes) as executor, pytest.raises(ConfigError, match=message):
        rehearse(no_mistake, executor, tmp_path)
    assert happens(lambda: slurm.run("squeue", "-h") == "", 60)
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_leaves_nothing_behind(slurm: Cluster, tmp_path: Path) -> None:
    with opened() as executor:
        rehearse(no_mistake, executor, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nodes_do_not_see_is_found_before_training(
    slurm: Cluster, tmp_path: Path
) -> None:
    # The driver alone sees a file system that is mounted where the nodes see an empty folder.
    private = tmp_path / "s"
    private.mkdir()
    module = f"{sys.executable} -m tests.slurm.study_driver {private} 1 1 '{{}}'"
    command = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {private} && exec {module}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.fail(f"mount namespaces are not allowed here: {done.stderr}")
    assert done.returncode == 1
    assert "hydra.run.dir must lie on a file system that they do" in done.stderr


def test_a_driver_may_run_inside_an_allocation(slurm: Cluster, tmp_path: Path) -> None:
    driver = f"{sys.executable} -m tests.slurm.study_driver {tmp_path}/s 2 2 '{{\"mem_gb\": 0.5}}'"
    options = ["-n1", "--mem-per-cpu=200", "--wait", f"--output={tmp_path}/log", f"--wrap={driver}"]
    slurm.run("sbatch", *options, timeout_s=400)
    statuses = [outcome["status"] for outcome in outcomes_of(tmp_path / "s").values()]
    assert statuses == ["completed"] * 2, (tmp_path / "log").read_text()


def test_an_account_that_does_not_exist_is_named(
    slurm_with_accounting: Cluster, tmp_path: Path
) -> None:
    message = r"^executor\.account=nobody is not legal"
    with opened(account="nobody") as executor, pytest.raises(ConfigError, match=message):
        rehearse(no_mistake, executor, tmp_path)


def test_a_job_that_slurmctld_has_forgotten_is_found_in_the_accounting(
    slurm_with_accounting: Cluster, tmp_path: Path
) -> None:
    with opened(account="lab") as executor:
        submit(executor, trains.Barrier(tmp_path), Proposal(0, {}), child_folder(tmp_path, 0))
        executor._submit_gathered()
        (job,) = executor._jobs
        assert happens((tmp_path / "0.started").exists, 120)
        slurm_with_accounting.run("scancel", job)
        known = ("squeue", "--noheader", "--states=all")
        assert happens(lambda: slurm_with_accounting.run(*known) == "", 150)
        (outcome,) = executor.wait()
    assert "was cancelled" in (outcome.error or "")
