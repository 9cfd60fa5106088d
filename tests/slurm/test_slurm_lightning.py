"""Whole studies on SLURM: children that Lightning trains, on one process or several."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.machines.daemons import happens
from tests.slurm.recorded import outcomes_of

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(600)]

OPTIONS = ("searcher=random", "tracker=none", "trainer.accelerator=cpu")
JOBS = ("executor=slurm", "executor.cpus_per_task=1")


@pytest.fixture(autouse=True)
def empty(slurm: Cluster) -> Iterator[None]:
    yield
    slurm.run("scancel", "--user", str(os.getuid()))


def command(study: Path, *options: str) -> list[str]:
    place = f"hydra.run.dir={study}"
    return [sys.executable, "-m", "nasrunner", *OPTIONS, place, *options]


@pytest.mark.parametrize(
    "ranks",
    [["trainer.devices=2"], ["trainer.num_nodes=2"]],
    ids=["two processes", "two nodes"],
)
def test_a_child_is_trained_by_two_processes(
    slurm: Cluster, tmp_path: Path, ranks: list[str]
) -> None:
    options = [*JOBS, *ranks, "trainer.strategy=ddp", "trainer.max_epochs=2", "max_children=1"]
    done = subprocess.run(
        command(tmp_path / "s", *options), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    (outcome,) = outcomes_of(tmp_path / "s").values()
    assert outcome["status"] == "completed", outcome["error"]
    assert outcome["metrics"]["epochs"] == 2
    assert not (tmp_path / "s" / "slurm").exists()


def test_a_child_on_two_devices_is_trained_by_a_worker_that_stays(
    slurm: Cluster, tmp_path: Path
) -> None:
    workers = ["executor=dask_slurm", "executor.threads_per_worker=2", "executor.job.memory=1GB"]
    workers += ["executor.maximum=1"]
    options = [*workers, "trainer.devices=2", "trainer.max_epochs=2", "max_children=2"]
    done = subprocess.run(
        command(tmp_path / "s", *options), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    outcomes = outcomes_of(tmp_path / "s").values()
    assert [each["status"] for each in outcomes] == ["completed", "completed"], outcomes
    assert len(list((tmp_path / "s" / "workers").glob("nasrunner-*.err"))) == 1


def test_a_child_whose_job_is_warned_goes_on_from_its_checkpoint(
    slurm: Cluster, tmp_path: Path
) -> None:
    epochs = 400
    options = [*JOBS, f"trainer.max_epochs={epochs}", "max_children=1"]
    options += ["trainer.checkpoint_every_s=0"]
    study = subprocess.Popen(command(tmp_path / "s", *options))
    curves = tmp_path / "s" / "children" / "0000" / "curves.jsonl"
    assert happens(lambda: curves.exists() and len(curves.read_text().splitlines()) > 20, 100)
    job = json.loads((curves.parent / "slurm.json").read_text())["job_id"]
    slurm.run("scancel", "--signal=USR2", job)
    assert study.wait(timeout=400) == 0
    (outcome,) = outcomes_of(tmp_path / "s").values()
    assert outcome["status"] == "completed", outcome["error"]
    told = [json.loads(line)["epoch"] for line in curves.read_text().splitlines()]
    assert told == list(range(epochs))
