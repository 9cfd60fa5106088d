"""Which children make a batch for the controller, and which weights drew them."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from nasrunner.core.records import Proposal


@dataclass(frozen=True, eq=False)
class PolicyWeights:
    """A copy of a controller's weights, which nothing changes.

    Attributes:
        update: how many updates they have had.
        values: by the parameters' names.
    """

    update: int
    values: Mapping[str, Tensor]


@dataclass(eq=False)
class Batch:
    """Children whose rewards make one update.

    Attributes:
        weights: those that drew them all; None: the controller's at any time.
        num_proposed: how many children it has so far.
        num_ended: how many of them have an outcome.
        results: those with a reward, and their advantages.
    """

    weights: PolicyWeights | None = None
    num_proposed: int = 0
    num_ended: int = 0
    results: list[tuple[Proposal, float]] = field(default_factory=list)


class Batches(Protocol):
    """Sorts children into batches.

    Attributes:
        is_ready: whether a child can be proposed before another has ended.
        weights: what the next child is drawn with; None: the controller as it is.
    """

    @property
    def is_ready(self) -> bool: ...

    @property
    def weights(self) -> PolicyWeights | None: ...

    def register(self, proposal: Proposal, newest: Callable[[], PolicyWeights]) -> None:
        """Takes note that a child was proposed; ``newest`` copies the controller's weights."""

    def end(self, proposal: Proposal, advantage: float | None) -> Batch | None:
        """Returns a child has ended, without a reward where there is no advantage.

        Returns:
            the batch that it completes, if it completes one that has rewards.
        """


class Arrivals:
    """Batches the children whose rewards arrived last, whoever drew them, so nobody waits.

    Args:
        size: m, rewards in a batch.
    """

    is_ready = True
    weights = None

    def __init__(self, size: int) -> None:
        self.size = size
        self.batch = Batch()

    def register(self, proposal: Proposal, newest: Callable[[], PolicyWeights]) -> None:
        pass

    def end(self, proposal: Proposal, advantage: float | None) -> Batch | None:
        if advantage is None:
            return None
        batch = self.batch
        batch.results.append((proposal, advantage))
        if len(batch.results) < self.size:
            return None
        self.batch = Batch()
        return batch


class Replicas:
    """K controller replicas that draw m children each. Zoph & Le 2017, arXiv:1611.01578, 3.2.

    A replica copies the weights when it draws the first child of a batch, and draws all m with
    that copy. When the last of them has ended, the batch is complete and the replica begins
    another; children without a reward are left out of it. One replica is filled after the other,
    those that have been free longest first. While every replica waits for children, nothing can
    be proposed.

    Args:
        number: K; 100 in the paper for images, 400 for language models.
        size: m; 8 in the paper for images, 1 for language models.

    Differs from the paper: the parameters are not sharded over servers (its S), which changes
    nothing but where they lie.
    """

    def __init__(self, number: int, size: int) -> None:
        self.size = size
        self._free: deque[Batch] = deque(Batch() for _ in range(number))
        self._batch_of: dict[int, Batch] = {}

    @property
    def is_ready(self) -> bool:
        return bool(self._free)

    @property
    def weights(self) -> PolicyWeights | None:
        return self._free[0].weights

    def register(self, proposal: Proposal, newest: Callable[[], PolicyWeights]) -> None:
        batch = self._free[0]
        if batch.weights is None:
            batch.weights = newest()
        batch.num_proposed += 1
        self._batch_of[proposal.index] = batch
        if batch.num_proposed == self.size:
            self._free.popleft()

    def end(self, proposal: Proposal, advantage: float | None) -> Batch | None:
        batch = self._batch_of.pop(proposal.index)
        batch.num_ended += 1
        if advantage is not None:
            batch.results.append((proposal, advantage))
        if batch.num_ended < self.size:
            return None
        self._free.append(Batch())
        return batch if batch.results else None
