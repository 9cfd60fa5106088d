"""The children of a study that were sent to workers, and the duplicates that wait for them."""

from collections.abc import Sequence

from nasrunner.core.records import Proposal


class InFlight:
    """Proposals that run, and duplicates that wait for one that runs.

    Args:
        shares: whether proposals of one identity share one training; else each runs for itself.
    """

    def __init__(self, *, shares: bool) -> None:
        self._shares = shares
        self._running: set[str] = set()
        self._waiting: dict[str, list[Proposal]] = {}

    @property
    def num_running(self) -> int:
        """How many were sent to a worker."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """How many wait for the outcome of another."""
        return sum(map(len, self._waiting.values()))

    def start(self, proposal: Proposal) -> None:
        """Takes note that a proposal is sent to a worker."""
        self._running.add(self._key(proposal))

    def waits(self, proposal: Proposal) -> bool:
        """Makes a proposal wait if another of its identity runs; False if none does."""
        key = self._key(proposal)
        if key not in self._running:
            return False
        self._waiting.setdefault(key, []).append(proposal)
        return True

    def end(self, proposal: Proposal) -> Sequence[Proposal]:
        """Returns a proposal runs no more; returns those that waited for it."""
        key = self._key(proposal)
        self._running.remove(key)
        return self._waiting.pop(key, ())

    def _key(self, proposal: Proposal) -> str:
        return proposal.key if self._shares else str(proposal.index)
