"""What this machine has for children: cores, memory and GPUs, and which worker gets which GPUs."""

import errno
import itertools
import math
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Sequence

from nasrunner.core import ConfigError, NasRunnerError
from nasrunner.core.machine import memory

_LOOPBACK_TIMEOUT_S = 5
_NVIDIA_SMI_TIMEOUT_S = 20
_GPU_LINE = re.compile(r"^(?:GPU \d+:|\s+MIG ).*\(UUID: ((?:GPU|MIG)-\S+)\)", re.MULTILINE)


def num_cores() -> int:
    """Counts the CPU cores this process may use: affinity, cgroup quota and SLURM allocation
    respected.
    """
    from dask.system import cpu_count  # heavy: dask is not needed to validate a configuration

    count: int = cpu_count()
    return min(count, _allocated("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE") or count)


def memory_gb() -> float:
    """Returns the memory this process may use, in 10^9 bytes: cgroup limit and SLURM allocation
    respected.
    """
    return min(memory.memory_gb(), (_allocated("SLURM_MEM_PER_NODE") or math.inf) * 2**20 / 1e9)


def _allocated(*variables: str) -> int | None:
    """What a SLURM job was given, by the first variable that says so: not all use cgroups."""
    if "SLURM_JOB_ID" not in os.environ:
        return None
    found = (os.environ.get(variable, "") for variable in variables)
    return next((int(value) for value in found if value.isdecimal() and int(value)), None)


def check_loopback() -> None:
    """Sees that processes of this machine can connect to one another.

    Raises:
        NasRunnerError: they cannot, as in a network namespace without a loopback interface.
    """
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), _LOOPBACK_TIMEOUT_S).close()
    except OSError as error:
        raise NasRunnerError(
            "executor=local connects its workers over the loopback interface, and a connection to "
            f"127.0.0.1 could not be opened: {os.strerror(error.errno or errno.ETIMEDOUT)}. "
            "executor=serial needs none"
        ) from error


def visible_gpus() -> list[str]:
    """Returns the GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; [] without a
    driver.

    Asks ``nvidia-smi``, which unlike torch initialises no CUDA context in the calling process.
    """
    installed = _installed_gpus()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not installed or chosen is None:
        return installed
    visible: list[str] = []
    for name in (token.strip() for token in chosen.split(",")):
        if name in ("", "-1"):  # CUDA ignores whatever follows an invalid entry
            break
        visible.append(name)
    return visible


def _installed_gpus() -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        listing = subprocess.run(
            [command, "-L"], capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if listing.returncode != 0:  # the tool without a driver, as on a cluster's login node
        return []
    gpus = _GPU_LINE.findall(listing.stdout)
    # A GPU that is cut into MIG slices is followed by them, and only they can be used.
    sliced = {gpu for gpu, after in itertools.pairwise(gpus) if after.startswith("MIG-")}
    return [gpu for gpu in gpus if gpu.startswith("MIG-") or gpu not in sliced]


def check_gpus(
    gpus: Sequence[int | str] | None, workers_per_gpu: int | None, gpus_per_worker: int
) -> None:
    """Checks what can be wrong about GPUs on any machine, before ``gpus_of_each_worker``.

    Raises:
        ConfigError: GPUs are to be shared and owned, or are needed and ``gpus`` is empty.
    """
    if workers_per_gpu is not None and gpus_per_worker > 1:
        raise ConfigError(
            f"executor.workers_per_gpu must be null where executor.gpus_per_worker="
            f"{gpus_per_worker}: GPUs are shared or a worker has several; got {workers_per_gpu}"
        )
    if gpus is not None and not gpus:
        _check_needs_none(gpus, workers_per_gpu, gpus_per_worker)


def gpus_of_each_worker(
    workers: int | None,
    threads_per_worker: int,
    gpus: Sequence[int | str] | None,
    workers_per_gpu: int | None,
    gpus_per_worker: int,
) -> list[str | None]:
    """Returns how many workers there are, and the ``CUDA_VISIBLE_DEVICES`` of each; None: left as
    it is.

    Args:
        workers: how many; None: as many as the GPUs are enough for, or the cores without GPUs.
        threads_per_worker: cores that a worker uses.
        gpus: positions in ``visible_gpus()`` or names of GPUs to use; None: all; []: none.
        workers_per_gpu: how many share a GPU; None: one, or what ``workers`` asks for.
        gpus_per_worker: how many a worker has; where it is more than one, they are its own.

    Raises:
        ConfigError: a GPU is not visible, there is none to share, or too few for ``workers``.
    """
    names = _chosen_gpus(gpus)
    if not names:
        _check_needs_none(gpus, workers_per_gpu, gpus_per_worker)
        hidden = None if gpus is None else ""
        return [hidden] * (workers or max(1, num_cores() // threads_per_worker))
    if gpus_per_worker > 1:
        return _own_gpus(names, workers, gpus_per_worker)
    most = len(names) * (workers_per_gpu or 1)
    if workers_per_gpu is not None and workers is not None and workers > most:
        raise ConfigError(
            f"executor.workers must be at most {most}: {len(names)} GPUs with "
            f"executor.workers_per_gpu={workers_per_gpu}, got {workers}"
        )
    return [names[worker % len(names)] for worker in range(workers or most)]


def _check_needs_none(
    gpus: Sequence[int | str] | None, workers_per_gpu: int | None, gpus_per_worker: int
) -> None:
    there = "executor.gpus=[]" if gpus is not None else "no GPU visible on this machine"
    if workers_per_gpu is not None:
        raise ConfigError(
            f"executor.workers_per_gpu needs a GPU, got {workers_per_gpu} and {there}; "
            "legal without one: null"
        )
    if gpus_per_worker > 1:
        raise ConfigError(
            f"executor.gpus_per_worker needs as many GPUs, got {gpus_per_worker} and {there}; "
            "legal without one: 1"
        )


def _own_gpus(names: Sequence[str], workers: int | None, gpus_per_worker: int) -> list[str | None]:
    """Neighbouring GPUs for each worker; those that are too few for another one stay idle."""
    most = len(names) // gpus_per_worker
    if most < (workers or 1):
        raise ConfigError(
            f"executor.gpus_per_worker must be at most {len(names) // (workers or 1)} for "
            f"{workers or 1} workers: {len(names)} GPUs can be used; got {gpus_per_worker}"
        )
    return [
        ",".join(names[worker * gpus_per_worker : (worker + 1) * gpus_per_worker])
        for worker in range(workers or most)
    ]


def _chosen_gpus(gpus: Sequence[int | str] | None) -> list[str]:
    if gpus is not None and not gpus:
        return []
    visible = visible_gpus()
    if gpus is None:
        return visible
    chosen: list[str] = []
    for gpu in gpus:
        if isinstance(gpu, int) and 0 <= gpu < len(visible):
            chosen.append(visible[gpu])
        elif isinstance(gpu, str) and gpu in visible:
            chosen.append(gpu)
        else:
            legal = f"0 to {len(visible) - 1}, or a name: {visible}" if visible else "none"
            raise ConfigError(f"executor.gpus: no GPU {gpu!r} is visible; visible are {legal}")
    return chosen
