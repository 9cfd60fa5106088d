"""GPUs as nvidia-smi lists them, and which worker gets which."""

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nasrunner.core import ConfigError, NasRunnerError
from nasrunner.executors import machine
from nasrunner.executors.machine import (
    gpus_of_each_worker,
    memory_gb,
    num_cores,
    visible_gpus,
)

TWO = ["GPU 0: NVIDIA H200 (UUID: GPU-aaaa)", "GPU 1: NVIDIA H200 (UUID: GPU-bbbb)"]
SLICED = [
    "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)",
    "  MIG 3g.20gb     Device  0: (UUID: MIG-cccc)",
    "  MIG 3g.20gb     Device  1: (UUID: MIG-dddd)",
    "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)",
]


@pytest.fixture(autouse=True)
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the tool, first on PATH; without a call to ``lists`` it finds no driver."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


def lists(tool: Path, lines: list[str]) -> None:
    tool.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))


def test_without_a_driver_there_is_no_gpu() -> None:
    assert visible_gpus() == []


def test_gpus_go_by_the_names_nvidia_smi_gives_them(nvidia_smi: Path) -> None:
    lists(nvidia_smi, TWO)
    assert visible_gpus() == ["GPU-aaaa", "GPU-bbbb"]


def test_a_gpu_cut_into_slices_is_its_slices(nvidia_smi: Path) -> None:
    lists(nvidia_smi, SLICED)
    assert visible_gpus() == ["MIG-cccc", "MIG-dddd", "GPU-bbbb"]


@pytest.mark.parametrize(
    ("variable", "visible"),
    [("1,0", ["1", "0"]), ("", []), ("-1", []), ("1,-1,0", ["1"]), ("GPU-bbbb", ["GPU-bbbb"])],
)
def test_cuda_visible_devices_is_respected(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, variable: str, visible: list[str]
) -> None:
    lists(nvidia_smi, TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == visible


@pytest.mark.parametrize(
    ("workers", "gpus", "workers_per_gpu", "expected"),
    [
        (None, None, None, ["GPU-aaaa", "GPU-bbbb"]),
        (None, None, 2, ["GPU-aaaa", "GPU-bbbb", "GPU-aaaa", "GPU-bbbb"]),
        (3, None, None, ["GPU-aaaa", "GPU-bbbb", "GPU-aaaa"]),
        (1, None, 2, ["GPU-aaaa"]),
        (None, [1], 2, ["GPU-bbbb", "GPU-bbbb"]),
        (None, ["GPU-bbbb"], None, ["GPU-bbbb"]),
        (2, [], None, ["", ""]),
    ],
)
def test_workers_share_the_gpus_evenly(
    nvidia_smi: Path,
    workers: int | None,
    gpus: list[int | str] | None,
    workers_per_gpu: int | None,
    expected: list[str],
) -> None:
    lists(nvidia_smi, TWO)
    assert gpus_of_each_worker(workers, 1, gpus, workers_per_gpu, 1) == expected


@pytest.mark.parametrize(
    ("workers", "gpus_per_worker", "expected"),
    [
        (None, 2, ["a,b", "c,d"]),
        (1, 2, ["a,b"]),
        (None, 3, ["a,b,c"]),
        (None, 5, ["a,b,c,d,e"]),
    ],
)
def test_a_worker_may_have_several_gpus_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    gpus_per_worker: int,
    expected: list[str],
) -> None:
    monkeypatch.setattr(machine, "visible_gpus", lambda: ["a", "b", "c", "d", "e"])
    assert gpus_of_each_worker(workers, 1, None, None, gpus_per_worker) == expected


def test_without_gpus_there_is_a_worker_for_as_many_cores_as_it_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "num_cores", lambda: 3)
    assert gpus_of_each_worker(None, 1, None, None, 1) == [None, None, None]
    assert gpus_of_each_worker(None, 2, None, None, 1) == [None]
    assert gpus_of_each_worker(None, 8, None, None, 1) == [None]
    assert gpus_of_each_worker(2, 8, None, None, 1) == [None, None]


def test_some_core_can_be_used() -> None:
    assert num_cores() >= 1


@pytest.mark.parametrize(
    ("workers", "gpus", "workers_per_gpu", "gpus_per_worker", "message"),
    [
        (None, [2], None, 1, r"executor\.gpus: no GPU 2 is visible; visible are 0 to 1, or a name"),
        (None, ["GPU-x"], None, 1, r"executor\.gpus: no GPU 'GPU-x' is visible"),
        (5, None, 2, 1, r"executor\.workers must be at most 4: 2 GPUs with .*per_gpu=2, got 5"),
        (None, [], 2, 1, r"executor\.workers_per_gpu needs a GPU, got 2 and executor\.gpus=\[\]"),
        (None, None, None, 3, r"executor\.gpus_per_worker must be at most 2 for 1 workers: 2 GPUs"),
        (2, None, None, 2, r"executor\.gpus_per_worker must be at most 1 for 2 workers.* got 2"),
        (None, [], None, 2, r"executor\.gpus_per_worker needs as many GPUs, got 2 and exec.*=\[\]"),
    ],
)
def test_gpus_that_are_not_there_are_an_error(
    nvidia_smi: Path,
    workers: int | None,
    gpus: list[int | str] | None,
    workers_per_gpu: int | None,
    gpus_per_worker: int,
    message: str,
) -> None:
    lists(nvidia_smi, TWO)
    with pytest.raises(ConfigError, match=message):
        gpus_of_each_worker(workers, 1, gpus, workers_per_gpu, gpus_per_worker)


def test_workers_cannot_share_gpus_that_this_machine_lacks() -> None:
    with pytest.raises(ConfigError, match=r"got 2 and no GPU visible on this machine"):
        gpus_of_each_worker(None, 1, None, 2, 1)


def test_an_allocation_without_cgroups_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask.system.cpu_count", lambda: 64)
    monkeypatch.setattr("nasrunner.core.machine.memory.memory_gb", lambda: 256.0)
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "8")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "4000")
    assert (num_cores(), memory_gb()) == (64, 256)  # no job
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert (num_cores(), memory_gb()) == (8, 4000 * 2**20 / 1e9)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # all of the node's
    assert (num_cores(), memory_gb()) == (4, 256)


def test_a_loopback_interface_that_connects_is_enough() -> None:
    machine.check_loopback()


@pytest.mark.parametrize("call", ["create_server", "create_connection"])
def test_no_loopback_interface_is_a_sentence(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, call, refuse)
    told = r"127\.0\.0\.1 could not be opened: Network is unreachable\. executor=serial needs none"
    with pytest.raises(NasRunnerError, match=told):
        machine.check_loopback()


@pytest.mark.slow
def test_a_network_namespace_without_loopback_is_told() -> None:
    code = "from nasrunner.executors.machine import check_loopback; check_loopback()"
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a network namespace")
    ended = subprocess.run(["unshare", "-n", sys.executable, "-c", code], capture_output=True)
    assert b"could not be opened: Network is unreachable. executor=serial" in ended.stderr
