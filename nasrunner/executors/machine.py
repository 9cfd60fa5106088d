"""What this machine has for children: cores, memory and GPUs, and which worker gets which GPU."""

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from nasrunner.core import ConfigError

_NVIDIA_SMI_TIMEOUT_S = 20
_GPU_LINE = re.compile(r"^(?:GPU \d+:|\s+MIG ).*\(UUID: ((?:GPU|MIG)-\S+)\)", re.MULTILINE)


def num_cores() -> int:
    """CPU cores this process may use: affinity mask and cgroup quota respected."""
    from dask.system import cpu_count  # heavy: dask is not needed to validate a configuration

    count: int = cpu_count()
    return count


def memory_gb() -> float:
    """Memory this process may use, in 10^9 bytes: cgroup limit respected."""
    from distributed.system import memory_limit

    return float(memory_limit()) / 1e9


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; [] without a driver.

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


def gpu_of_each_worker(
    workers: int | None, gpus: Sequence[int | str] | None, workers_per_gpu: int | None
) -> list[str | None]:
    """How many workers there are, and the ``CUDA_VISIBLE_DEVICES`` of each; None: left as it is.

    Args:
        workers: how many; None: ``workers_per_gpu`` for each GPU, or one for each core.
        gpus: positions in ``visible_gpus()`` or names of GPUs to use; None: all; []: none.
        workers_per_gpu: how many share a GPU; None: one, or what ``workers`` asks for.

    Raises:
        ConfigError: a GPU is not visible, there is none to share, or too few for ``workers``.
    """
    names = _chosen_gpus(gpus)
    if not names:
        if workers_per_gpu is not None:
            raise ConfigError(
                f"executor.workers_per_gpu needs a GPU, got {workers_per_gpu} and "
                f"{'executor.gpus=[]' if gpus is not None else 'no GPU visible on this machine'}; "
                "legal without one: null"
            )
        hidden = None if gpus is None else ""
        return [hidden] * (workers or num_cores())
    most = len(names) * (workers_per_gpu or 1)
    if workers_per_gpu is not None and workers is not None and workers > most:
        raise ConfigError(
            f"executor.workers must be at most {most}: {len(names)} GPUs with "
            f"executor.workers_per_gpu={workers_per_gpu}, got {workers}"
        )
    return [names[worker % len(names)] for worker in range(workers or most)]


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
