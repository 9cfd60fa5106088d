"""What a kind of Dask cluster must know: everything that differs between one and another."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from nasrunner.core import NasRunnerError


@dataclass(frozen=True)
class Demand:
    """What a cluster may ask of the executor, from any thread.

    Attributes:
        broken: to be called when no worker can start any more.
        num_children: how many children run or wait for a worker.
        spare: takes those of the workers with these addresses that are idle out of service, for
            good; the future's result is their addresses.
    """

    broken: Callable[[NasRunnerError], None]
    num_children: Callable[[], int]
    spare: Callable[[Collection[str]], "Future[list[str]]"]


class WorkerCluster(Protocol):
    """Where workers come from; everything about one kind of cluster is behind this."""

    def settings(self) -> dict[str, Any]:
        """Returns Dask settings that hold while the cluster is in use."""

    def start(self, demand: Demand) -> Any:
        """Starts it, in a thread of its own.

        Returns:
            What a ``distributed.Client`` connects to: a ``distributed.deploy.Cluster``, or what
            the keyword arguments of one say.

        Raises:
            NasRunnerError: no worker can start, or ``abort`` was called.
        """

    def abort(self) -> None:
        """Makes a ``start`` in another thread return or raise soon; repeated until it has."""

    def num_slots(self, num_workers: int) -> int:
        """Returns how many children may run at a time.

        Args:
            num_workers: how many workers are there.
        """

    def came(self, client: Any, addresses: Sequence[str]) -> Sequence[str]:
        """Looks at workers that are new, and returns those that may have children.

        Raises:
            NasRunnerError: they cannot, and it is no use to wait for others.
        """

    def lacks_workers(self, client: Any, for_s: float) -> None:
        """Called now and then while children wait and no worker is there.

        Raises:
            NasRunnerError: it is no use to wait any longer.
        """

    def why_died(self, address: str) -> str:
        """Returns how the worker that was at this address ended, in words, as far as is known.

        May take seconds; called in a thread of its own.
        """

    def stop(self, client: Any, busy: Sequence[str]) -> None:
        """Ends the children that still run at these addresses."""

    def close(self) -> None:
        """Removes what ``start`` left behind, after Dask's cluster was closed."""
