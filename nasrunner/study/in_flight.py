"""The children of a study between their proposal and their outcome."""

from collections.abc import Sequence

from nasrunner.core.records import Proposal


class InFlight:
    """Proposals without an outcome: those that run, and duplicates that wait for one that runs.

    Args:
        shares: whether proposals of one genotype share one training; else each runs for itself.
    """

    def __init__(self, *, shares: bool) -> None:
        self._shares = shares
        self._proposals: dict[int, Proposal] = {}
        self._running: set[str] = set()
        self._waiting: dict[str, list[Proposal]] = {}

    def __len__(self) -> int:
        return len(self._proposals)

    @property
    def proposals(self) -> Sequence[Proposal]:
        """All of them, in the order they were proposed."""
        return tuple(self._proposals.values())

    @property
    def num_running(self) -> int:
        """How many were sent to a worker."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """How many wait for the outcome of another."""
        return sum(map(len, self._waiting.values()))

    def add(self, proposal: Proposal) -> None:
        self._proposals[proposal.index] = proposal

    def remove(self, index: int) -> None:
        del self._proposals[index]

    def of(self, index: int) -> Proposal | None:
        """The proposal of this index, if it has no outcome yet."""
        return self._proposals.get(index)

    def start(self, proposal: Proposal) -> None:
        """A proposal is sent to a worker."""
        self._running.add(self._key(proposal))

    def waits(self, proposal: Proposal) -> bool:
        """Makes a proposal wait if another of its genotype runs; False if none does."""
        key = self._key(proposal)
        if key not in self._running:
            return False
        self._waiting.setdefault(key, []).append(proposal)
        return True

    def end(self, proposal: Proposal) -> Sequence[Proposal]:
        """A proposal runs no more; returns those that waited for it."""
        key = self._key(proposal)
        self._running.remove(key)
        return self._waiting.pop(key, ())

    def _key(self, proposal: Proposal) -> str:
        return proposal.hash if self._shares else str(proposal.index)
