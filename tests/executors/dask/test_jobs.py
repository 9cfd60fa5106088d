"""Workers in a queueing system's jobs: what is submitted, and what is refused before that."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, Proposal
from nasrunner.executors.dask.jobs import with_defaults
from nasrunner.executors.dask.queue import Queue, SlurmQueue
from tests.executors import trains
from tests.executors.test_signals import eventually
from tests.executors.trains import submit

GOLDEN = Path(__file__).parent / "golden"


def config(name: str, **changes: Any) -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load(Path(f"conf/executor/{name}.yaml").read_text())
    job = {**described["job"], **changes.pop("job", {})}
    return {**described, "log_folder": "workers", **changes, "job": job}


def tool(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a command on PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.parametrize(
    ("name", "job"),
    [
        (
            "dask_slurm",
            {
                "queue": "gpu",
                "account": "astro",
                "memory": "16GB",
                "job_extra_directives": ["--gres=gpu:1", "--qos=long"],
                "job_script_prologue": ["module load cuda/12"],
                "interface": "ib0",
                "local_directory": "$SCRATCH",
                "python": "/opt/env/bin/python",
            },
        ),
        (
            "dask_pbs",
            {
                "queue": "gpu",
                "resource_spec": "select=1:ncpus=8:ngpus=1:mem=32gb",
                "job_extra_directives": ["-l place=excl"],
                "python": "/opt/env/bin/python",
            },
        ),
    ],
)
def test_the_job_script_is_the_golden_one(name: str, job: dict[str, Any]) -> None:
    from nasrunner.executors.dask.allocations import job_class

    described = config(name, job=job, threads_per_worker=8, preload=["torch", "hydra"])
    queue = SlurmQueue() if name == "dask_slurm" else Queue("pbs")
    options = with_defaults(
        described["job"],
        described["threads_per_worker"],
        described["preload"],
        queue.directives,
    )
    one = job_class(queue)(
        scheduler="tls://10.0.0.1:40001",
        name="nasrunner-0",
        log_directory="/shared/study/workers",
        **options,
    )
    assert one.job_script() == (GOLDEN / f"{name}.sh").read_text()


def test_without_dask_jobqueue_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    monkeypatch.delitem(sys.modules, "nasrunner.executors.dask.allocations", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'nasrunner\[slurm\]'"):
        construct(config("dask_slurm"), "executor")


def test_importing_dask_jobqueue_leaves_ctrl_c_as_it_was() -> None:
    code = (
        "import signal\n"
        "from nasrunner.executors.dask import jobs\n"
        "from nasrunner.executors.dask.queue import SlurmQueue\n"
        "jobs.shutil.which = lambda command: command\n"
        "jobs._check_system(SlurmQueue(), {'cores': 1, 'memory': '1GB'})\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_queue_that_refuses_the_first_job_is_an_error_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = "echo 'qsub: Unknown queue MSG=cannot locate queue' >&2; exit 170"
    tool(tmp_path, "qsub", refusal, monkeypatch)
    job = {"interface": "lo"}  # there may be no other
    described = config("dask_pbs", log_folder=str(tmp_path / "logs"), tls=False, job=job)
    with contextlib.closing(construct(described, "executor")) as executor:
        submit(executor, trains.by_notes, Proposal(0, {}), tmp_path)
        with pytest.raises(
            ConfigError,
            match=r"^executor\.job: the queue refused the job of a worker: qsub: Unknown queue "
            r"MSG=cannot locate queue$",
        ):
            executor.wait()


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """qsub and qdel that run jobs on this machine."""
    submit = [
        f'cp "$1" {tmp_path}/$$.job',
        f"setsid bash {tmp_path}/$$.job > {tmp_path}/$$.log 2>&1 < /dev/null &",
        f"echo $! > {tmp_path}/$$.pid",
        "echo $$.server",
    ]
    tool(tmp_path, "qsub", "\n".join(submit), monkeypatch)
    tool(tmp_path, "qdel", f"kill -9 -$(cat {tmp_path}/$1.pid)", monkeypatch)


def test_a_child_whose_worker_is_killed_is_retried_in_whatever_queue_runs_the_job(
    pbs: None, tmp_path: Path
) -> None:
    job = {"interface": "lo", "memory": "500MB"}
    described = config(
        "dask_pbs", log_folder=str(tmp_path / "logs"), preload=[], maximum=2, job=job
    )
    started = [tmp_path / f"{index}.started" for index in range(2)]
    with contextlib.closing(construct(described, "executor")) as executor:
        assert executor.free_slots() == 2
        for index in range(2):
            submit(executor, trains.Barrier(tmp_path), Proposal(index, {}), tmp_path)
        eventually(lambda: all(f.exists() and f.read_text() for f in started), "both train")
        victim = int(started[0].read_text())
        os.kill(victim, signal.SIGKILL)
        (tmp_path / "go").touch()
        outcomes = executor.wait()
        while len(outcomes) < 2:
            outcomes += executor.wait()
    assert [outcome.status for outcome in outcomes] == ["completed", "completed"]
    assert victim not in {outcome.metrics["pid"] for outcome in outcomes}
    assert not list((tmp_path / "logs").glob(".dask-jobqueue*"))  # the certificates
    pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    assert len(pids) == 2  # the nanny has started the worker again, in the same job
    eventually(lambda: not any(map(is_running, pids)), "the jobs are deleted", within_s=20)


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_an_allocation_is_not_held_by_a_worker_that_cannot_start_again() -> None:
    """Its nanny, whose new workers fail at once, ends after three of them."""
    code = (
        "import asyncio\n"
        "from types import SimpleNamespace\n"
        "from nasrunner.executors.dask.nanny import dask_setup\n"
        "async def fails():\n"
        "    print('start', flush=True)\n"
        "    raise OSError\n"
        "nanny = SimpleNamespace(instantiate=fails)\n"
        "dask_setup(nanny)\n"
        "async def main():\n"
        "    for _ in range(10):\n"
        "        try:\n"
        "            await nanny.instantiate()\n"
        "        except OSError:\n"
        "            pass\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.split(), done.returncode) == (["start"] * 3, 1)


def test_nodes_to_avoid_are_one_option_with_those_of_the_user() -> None:
    given = ["--no-requeue", "--exclude=n7", "--gres=gpu:1"]
    assert SlurmQueue().avoiding(["n1", "n[2-3]"], given) == [
        "--no-requeue",
        "--gres=gpu:1",
        "--exclude=n7,n1,n[2-3]",
    ]
    assert Queue("pbs").avoiding(["n1"], given) == given
