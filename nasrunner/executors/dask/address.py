"""Children on the workers of a Dask cluster that somebody else started."""

import json
import logging
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from nasrunner.core import ConfigError, NasRunnerError
from nasrunner.core.annotations import Above, AtLeast, Count
from nasrunner.executors.dask.cluster import Demand
from nasrunner.executors.dask.executor import DaskExecutor
from nasrunner.executors.running import last_lines

_PACKAGES = ("nasrunner", "distributed", "dask", "cloudpickle", "torch", "pytorch-lightning")
"""What must be of the same version wherever a child is sent to; others may differ."""

_RESTART_TIMEOUT_S = 10

_log = logging.getLogger(__name__)


class AddressExecutor(DaskExecutor):
    """Takes whatever workers a running Dask scheduler has, one child on each at a time.

    Workers may come and go. When the study is stopped, workers that still run a child are
    restarted by their nannies, because a thread cannot be stopped.

    Args:
        address: the scheduler's, ``tcp://host:8786``, or the path of its scheduler file.
        workers: how many are expected at least, >= 1: children are submitted for them even
            before they are there.
        wait_s: how long to wait for the scheduler's answer, and for a first worker, > 0.
        threads_per_worker: CPU threads a child may use, >= 1.
        retries: how often a child is started again whose worker died, >= 0.

    Raises:
        ConfigError: a number is out of its range, or the address is none.
    """

    def __init__(
        self,
        address: str,
        workers: Count,
        wait_s: Annotated[float, Above(0)],
        threads_per_worker: Count,
        retries: Annotated[int, AtLeast(0)],
    ) -> None:
        cluster = _RunningCluster(_resolved(address), workers, wait_s)
        super().__init__(cluster, threads_per_worker, retries)


class _RunningCluster:
    """A scheduler at an address, and the workers it has."""

    def __init__(self, address: str, workers: int, wait_s: float) -> None:
        self._address = address
        self._workers = workers
        self._wait_s = wait_s
        self._num_admitted = 0

    def settings(self) -> dict[str, Any]:
        return {"distributed.comm.timeouts.connect": f"{self._wait_s}s"}

    def start(self, demand: Demand) -> str:
        from distributed import Client

        try:
            with Client(self._address, set_as_default=False, timeout=self._wait_s):  # type: ignore[no-untyped-call]
                return self._address
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise ConfigError(
                f"executor.address must be that of a running Dask scheduler: {self._address} does "
                f"not answer within executor.wait_s={self._wait_s:g} ({error})"
            ) from error

    def abort(self) -> None:
        pass  # start ends within wait_s

    def num_slots(self, num_workers: int) -> int:
        return max(num_workers, self._workers)

    def came(self, client: Any, addresses: Sequence[str]) -> Sequence[str]:
        here = versions()
        admitted: list[str] = []
        for address, there in _versions_at(client, addresses).items():
            differing = describe_difference(here, there)
            if not differing:
                admitted.append(address)
                continue
            message = (
                f"workers must have the versions of this process, and the one at {address} has "
                f"others: {differing}"
            )
            if not self._num_admitted and not admitted:
                raise ConfigError(f"executor.address={self._address}: {message}")
            _log.warning("%s; it gets no child", message)
        self._num_admitted += len(admitted)
        return admitted

    def lacks_workers(self, client: Any, for_s: float) -> None:
        if for_s > self._wait_s:
            raise NasRunnerError(
                f"the Dask scheduler at executor.address={self._address} has had no worker for "
                f"executor.wait_s={self._wait_s:g} seconds; start some, for example with: "
                f"dask worker {self._address} --nthreads 1"
            )

    def why_died(self, address: str) -> str:
        return f"the scheduler lost the worker at {address}; its own log says why"

    def stop(self, client: Any, busy: Sequence[str]) -> None:
        try:
            if busy:
                client.restart_workers(
                    list(busy), timeout=_RESTART_TIMEOUT_S, raise_for_error=False
                )
        except (OSError, ValueError) as error:  # ValueError: without a nanny
            _log.warning("the children at %s may run on: %s", ", ".join(busy), error)

    def close(self) -> None:
        pass  # whoever started the cluster ends it


def versions() -> dict[str, str]:
    """Returns the versions in this process of what a child and its journey depend on."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def describe_difference(here: Mapping[str, str], there: Mapping[str, str] | str) -> str:
    """Returns which versions differ, in words; empty where none does.

    Args:
        here: ``versions()`` of this process.
        there: those of a worker, or why it could not tell them.
    """
    if isinstance(there, str):
        return there
    return ", ".join(
        f"{package} {there.get(package, 'missing')} instead of {version}"
        for package, version in here.items()
        if there.get(package) != version
    )


def _versions_at(client: Any, addresses: Sequence[str]) -> dict[str, dict[str, str] | str]:
    """What each worker says; a worker that has gone meanwhile is left out."""
    told: dict[str, dict[str, str] | str] = {}
    # A worker that lacks nasrunner fails here, before a child does.
    answers = client.run(versions, workers=list(addresses), on_error="return")
    for address, answer in answers.items():
        if isinstance(answer, OSError):
            continue
        is_error = isinstance(answer, BaseException)
        told[address] = last_lines(answer).splitlines()[-1] if is_error else answer
    return told


def _resolved(address: str) -> str:
    """The address itself, or the one that a scheduler file holds."""
    if not address:
        raise ConfigError(
            "executor.address must be a Dask scheduler's, such as tcp://host:8786, or the path "
            f"of its scheduler file; got {address!r}"
        )
    if "://" in address:
        return address
    try:
        return str(json.loads(Path(address).expanduser().read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"executor.address={address} is neither an address, such as tcp://host:8786, nor a "
            f"scheduler file that can be read ({error})"
        ) from error
