"""Children on warm worker processes of this machine, over Dask distributed."""

import threading
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from nasrunner.core import ConfigError
from nasrunner.core.annotations import Above, AtLeast, Within
from nasrunner.executors.dask.cluster import Demand
from nasrunner.executors.dask.executor import DaskExecutor
from nasrunner.executors.fork_server import ForkServer
from nasrunner.executors.machine import (
    check_gpus,
    check_loopback,
    gpus_of_each_worker,
    memory_gb,
)
from nasrunner.executors.scratch import Scratch

_DEATH_REPORT_TIMEOUT_S = 0.2


class LocalExecutor(DaskExecutor):
    """Worker processes that stay warm: what children import is imported once.

    Workers are forked from one process that has imported ``preload``. A worker that dies is
    replaced and its child retried. Returns before the workers are up; children wait for them.

    Args:
        workers: processes, >= 1; None: as many as the GPUs are enough for, or without GPUs the
            cores, ``threads_per_worker`` for each.
        threads_per_worker: CPU threads a child may use, >= 1; several processes that train one
            child share them.
        memory_limit_gb: of one worker, in 10^9 bytes; above 95 % of it a worker is stopped and
            its child counts as dead. None: an equal share of the machine.
        retries: how often a child is started again whose worker died, >= 0.
        gpus: which GPUs, by position or name; None: all that are visible; []: none.
        workers_per_gpu: how many workers share a GPU, >= 1; None: one, or as ``workers`` asks.
        gpus_per_worker: how many GPUs a worker has, >= 1: for children with as many devices.
        preload: modules that are imported once, before the first child.

    Raises:
        ConfigError: a number is out of its range, a GPU or module does not exist.
    """

    is_on_this_machine = True
    is_simulated = False

    def __init__(
        self,
        workers: Annotated[int, Within("[1, 4096]")] | None,
        threads_per_worker: Annotated[int, Within("[1, 1024]")],
        memory_limit_gb: Annotated[float, Above(0)] | None,
        retries: Annotated[int, AtLeast(0)],
        gpus: Sequence[Annotated[int, AtLeast(0)] | str] | None,
        workers_per_gpu: Annotated[int, AtLeast(1)] | None,
        gpus_per_worker: Annotated[int, AtLeast(1)],
        preload: Sequence[str],
    ) -> None:
        check_gpus(gpus, workers_per_gpu, gpus_per_worker)
        _check_memory(memory_limit_gb)
        cuda_devices = gpus_of_each_worker(
            workers, threads_per_worker, gpus, workers_per_gpu, gpus_per_worker
        )
        cluster = _LocalCluster(cuda_devices, threads_per_worker, memory_limit_gb, preload)
        super().__init__(cluster, threads_per_worker, retries)


class _LocalCluster:
    """Dask workers on this machine, forked from a warm process."""

    def __init__(
        self,
        cuda_devices: Sequence[str | None],
        threads_per_worker: int,
        memory_limit_gb: float | None,
        preload: Sequence[str],
    ) -> None:
        self._memory_limit_gb = memory_limit_gb
        threads = {
            name: str(threads_per_worker)
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
        self._environs: list[Mapping[str, str]] = [
            threads if device is None else {**threads, "CUDA_VISIBLE_DEVICES": device}
            for device in cuda_devices
        ]
        self._deaths: dict[str, str] = {}
        self._death_reported = threading.Condition()
        # Thread counts are read by the libraries when they are imported; 51 is above critical.
        self._warm = ForkServer(preload, {**threads, "DASK_LOGGING__DISTRIBUTED": "51"})
        self._scratch = Scratch()
        self._warm.start()

    def settings(self) -> dict[str, Any]:
        from nasrunner.executors.dask.processes import SETTINGS  # heavy: imports distributed

        return dict(SETTINGS)

    def start(self, demand: Demand) -> Any:
        import distributed.utils

        from nasrunner.executors.dask.processes import start_cluster

        # Private: Dask would replace the modules to preload by its own choice, pandas among them.
        distributed.utils._forkserver_preload_set = True
        check_loopback()
        self._warm.wait()
        limit_gb = self._memory_limit_gb or memory_gb() / len(self._environs)
        self._check_limit(limit_gb)
        folder = str(self._scratch.folder)
        return start_cluster(self._environs, limit_gb, folder, self._on_death, demand.broken)

    def abort(self) -> None:
        self._warm.abort()

    def num_slots(self, num_workers: int) -> int:
        return len(self._environs)

    def came(self, client: Any, addresses: Sequence[str]) -> Sequence[str]:
        return addresses

    def lacks_workers(self, client: Any, for_s: float) -> None:
        pass  # the nannies say when none can start

    def why_died(self, address: str) -> str:
        # The broken connection may be noticed a moment before the end of the process.
        with self._death_reported:
            self._death_reported.wait_for(
                lambda: address in self._deaths, timeout=_DEATH_REPORT_TIMEOUT_S
            )
            return self._deaths.get(address, "it was killed or crashed")

    def stop(self, client: Any, busy: Sequence[str]) -> None:
        pass  # the nannies kill their processes

    def close(self) -> None:
        self._warm.stop()
        self._scratch.close()

    def _on_death(self, address: str, how: str) -> None:
        with self._death_reported:
            self._deaths[address] = how
            self._death_reported.notify_all()

    def _check_limit(self, limit_gb: float) -> None:
        needed_gb = self._warm.memory_gb()
        if 0.95 * limit_gb <= needed_gb:
            raise ConfigError(
                f"executor.memory_limit_gb must be more than {needed_gb / 0.95:.2f}: a worker "
                f"takes {needed_gb:.2f} GB before its first child and may take 95 % of its "
                f"limit; got {limit_gb:.2f}"
            )


def _check_memory(limit_gb: float | None) -> None:
    if limit_gb is not None and limit_gb > memory_gb():
        raise ConfigError(
            f"executor.memory_limit_gb must be at most the {memory_gb():.2f} GB of this machine, "
            f"got {limit_gb!r}"
        )
