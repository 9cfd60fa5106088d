"""Settings are checked before the machine is: its programs, processes, files and network."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError
from nasrunner.executors import fork_server, local, machine

SHIPPED = sorted(path.stem for path in Path("conf/executor").glob("*.yaml"))

WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "dask": [
        ({"address": 8786}, r"executor\.address must be str, got 8786"),
        ({"workers": 0}, r"executor\.workers must be int >= 1, got 0"),
        ({"wait_s": 0}, r"executor\.wait_s must be float > 0, got 0"),
        ({"threads_per_worker": 0}, r"executor\.threads_per_worker must be int >= 1"),
        ({"retries": -1}, r"executor\.retries must be int >= 0, got -1"),
    ],
    "dask_pbs": [
        ({"maximum": 0}, r"executor\.maximum must be int >= 1, got 0"),
        ({"preload": "torch"}, r"executor\.preload must be list of str, got 'torch'"),
        ({"job": "gpu"}, r"executor\.job must be mapping, got 'gpu'"),
        ({"job.processes": 2}, r"executor\.job\.processes must be 1, got 2: an allocation"),
        ({"job.queu": "gpu"}, r"executor\.job\.queu: PBSCluster takes no .*did you mean 'queue'\?"),
        ({"job.memory": None}, r"executor\.job: You must specify how much cores and memory"),
    ],
    "dask_slurm": [
        (
            {"system": "slrum"},
            r"executor\.system must be one that .* got 'slrum'. Legal: .*, slurm$",
        ),
        ({"minimum": -1}, r"executor\.minimum must be int >= 0, got -1"),
        ({"maximum": 0}, r"executor\.maximum must be int >= 1, got 0"),
        ({"minimum": 5}, r"executor\.maximum must be at least executor\.minimum=5, got 4"),
        ({"retries": -1}, r"executor\.retries must be int >= 0, got -1"),
        ({"idle_s": 0}, r"executor\.idle_s must be float > 0, got 0"),
        ({"poll_s": "often"}, r"executor\.poll_s must be float > 0, got 'often'"),
        ({"patience_s": -1}, r"executor\.patience_s must be float > 0, got -1"),
        ({"preload": [1]}, r"executor\.preload must be list of str, got \[1\]"),
        ({"job.processes": 2}, r"executor\.job\.processes must be 1, got 2: an allocation"),
        ({"job.cores": 0}, r"executor\.job\.cores must be int >= 1 or null, got 0"),
        ({"job.memory": "much"}, r"executor\.job: Could not interpret 'much' as a byte unit"),
        ({"job.walltimes": "1"}, r"executor\.job\.walltimes: SLURMC.* did you mean 'walltime'\?"),
        ({"job.scheduler": "tcp://a:1"}, r"executor\.job\.scheduler: SLURMCluster takes no 'sched"),
        (
            {"job.job_script_prologue": "module load cuda"},
            r"executor\.job\.job_script_prologue must be list of str or null, got 'module load",
        ),
    ],
    "local": [
        ({"workers": 0}, r"executor\.workers must be int in \[1, 4096\] or null, got 0"),
        ({"retries": -1}, r"executor\.retries must be int >= 0, got -1"),
        ({"memory_limit_gb": 0}, r"executor\.memory_limit_gb must be float > 0 or null, got 0"),
        ({"gpus": "0"}, r"executor\.gpus must be list of int >= 0 or str or null, got '0'"),
        ({"gpus": 0}, r"executor\.gpus must be list of int >= 0 or str or null, got 0"),
        ({"gpus": [-1]}, r"executor\.gpus must be list of int >= 0 or str or null, got \[-1\]"),
        ({"gpus": [True]}, r"executor\.gpus must be list of int >= 0 or str or null, got \[True\]"),
        (
            {"workers_per_gpu": 2, "gpus_per_worker": 2},
            r"executor\.workers_per_gpu must be null where executor\.gpus_per_worker=2.*; got 2",
        ),
        ({"gpus": [], "workers_per_gpu": 2}, r"executor\.workers_per_gpu needs a GPU, got 2 and"),
        ({"gpus": [], "gpus_per_worker": 2}, r"executor\.gpus_per_worker needs as many GPUs, got"),
        ({"preload": "torch"}, r"executor\.preload must be list of str, got 'torch'"),
        # Of two mistakes the one that no machine would forgive:
        (
            {"memory_limit_gb": 1e9, "preload": "torch"},
            r"executor\.preload must be list of str, got 'torch'",
        ),
    ],
    "serial": [({"threads": 0}, r"executor\.threads must be int in \[1, 1024\], got 0")],
    "simulated": [({"workers": 0}, r"executor\.workers must be int >= 1, got 0")],
    "slurm": [
        ({"timeout_min": 0}, r"executor\.timeout_min must be int >= 1, got 0"),
        ({"max_parallel": 0}, r"executor\.max_parallel must be int >= 1, got 0"),
        ({"grace_s": 0}, r"executor\.grace_s must be float > 0, got 0"),
        ({"sbatch.array": "0-3"}, r"executor\.sbatch\.array: children's jobs need their own"),
    ],
}


def changed(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """A shipped executor's configuration with some of its dotted keys changed."""
    trainer = {"devices": 1, "num_nodes": 1, "accelerator": "cpu"}
    shipped = OmegaConf.load(f"conf/executor/{name}.yaml")
    whole = OmegaConf.create({"trainer": trainer, "executor": shipped})
    if name == "dask":
        whole.executor.address = "tcp://127.0.0.1:1"
    if name.startswith("dask_"):
        whole.executor.log_folder = "workers"
    for key, value in changes.items():
        OmegaConf.update(whole.executor, key, value, force_add=True)
    described: dict[str, Any] = OmegaConf.to_container(whole, resolve=True)["executor"]
    return described


@pytest.fixture
def no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a program, where whoever looks at it all the same fails the test."""

    def asked(what: str) -> Callable[..., Any]:
        def fail(*args: object, **kwargs: object) -> Any:
            pytest.fail(f"{what} is looked at before the settings are checked: {args}")

        return fail

    monkeypatch.setenv("PATH", str(tmp_path))
    for module, name in (
        (shutil, "which"),
        (subprocess, "Popen"),
        (socket.socket, "connect"),
        (machine, "num_cores"),
        (machine, "memory_gb"),
        (machine, "visible_gpus"),
        (local, "memory_gb"),
        (fork_server, "_exists"),
        (os, "mkdir"),
    ):
        monkeypatch.setattr(module, name, asked(name))


def test_every_shipped_executor_is_here() -> None:
    assert sorted(WRONG) == SHIPPED


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [(name, *case) for name, cases in WRONG.items() for case in cases],
)
def test_a_wrong_setting_is_told_without_a_look_at_the_machine(
    no_machine: None, name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        construct(changed(name, changes), "executor")


@pytest.mark.parametrize(
    ("name", "program"), [("dask_slurm", "sbatch"), ("dask_pbs", "qsub"), ("slurm", "sbatch")]
)
def test_a_missing_program_is_told_where_the_settings_are_right(
    name: str, program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"{program}\b.*\bexecutor=local"):
        construct(changed(name, {}), "executor")
