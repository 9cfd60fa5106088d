"""Batches of tensors that are already in memory, without the cost of a DataLoader per example."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from nasrunner.core.shapes import each_input

# B = batch, N = number of examples, ... = the shape of one example

Inputs = torch.Tensor | Mapping[str, torch.Tensor]
"""(B, ...), or such tensors by name."""

Batch = tuple[Inputs, torch.Tensor]
"""Inputs and targets: (B,) class indices or (B, outputs) numbers."""

PartOfBatch = tuple[Inputs, torch.Tensor, int]
"""What one rank of several takes of a batch, and how many examples the whole batch has."""

Augment = Callable[[Any], Any]
"""Changes the inputs of a training batch at random; keeps their shapes, and names."""

_BLOCK_BYTES = 2**20
"""Shuffled examples are gathered so many bytes at a time: for small ones that costs a quarter of
gathering each batch alone, and more would not stay in the cache."""


@dataclass(frozen=True)
class RankPart:
    """What of every batch one rank of several takes: as many examples as the others, or one less.

    Attributes:
        rank: 0, 1, …; the first ranks have the larger parts.
        num_ranks: how many ranks there are.
        agree: gives every rank what rank 0 calls it with; all ranks call it together.
    """

    rank: int
    num_ranks: int
    agree: Callable[[torch.Tensor], torch.Tensor]

    def of(self, size: int) -> slice:
        """Returns the rows of a batch of ``size`` examples; none where there are fewer than
        ranks.
        """
        least, more = divmod(size, self.num_ranks)
        start = self.rank * least + min(self.rank, more)
        return slice(start, start + least + (self.rank < more))


class TensorLoader:
    """Yields batches by slicing inputs and targets, on the device these are on.

    Args:
        x: inputs, (N, ...), or such tensors by name.
        y: targets, (N,) or (N, outputs).
        batch_size: examples a batch, >= 1.
        is_shuffled: whether every epoch draws a new order, from torch's global CPU generator: one
            draw an epoch, made when the first batch is asked for. The order does not depend on
            the device.
        drop_last: whether a last batch with fewer than ``batch_size`` examples is left out.
        augment: applied to the inputs of each batch; None: they are yielded as they are.
        part: yields this rank's part of each batch, and the number of examples of all parts
            third; all ranks have the order that rank 0 draws. None: whole batches.
    """

    def __init__(
        self,
        x: Inputs,
        y: torch.Tensor,
        batch_size: int,
        *,
        is_shuffled: bool = False,
        drop_last: bool = False,
        augment: Augment | None = None,
        part: RankPart | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.batch_size = batch_size
        self.is_shuffled = is_shuffled
        inputs = x.values() if isinstance(x, Mapping) else [x]
        example_bytes = max(1, sum(each[:1].nbytes for each in inputs))
        self.block_size = max(1, _BLOCK_BYTES // (example_bytes * batch_size)) * batch_size
        self.num_used = len(y) - len(y) % batch_size if drop_last else len(y)
        self.augment = augment
        self.part = part

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-self.num_used // self.batch_size)

    def __iter__(self) -> Iterator[Batch | PartOfBatch]:
        if self.part is not None:
            yield from self._parts(self.part)
            return
        batches = self._shuffled() if self.is_shuffled else self._in_order()
        if self.augment is None:
            yield from batches
        else:
            for x, y in batches:
                yield self.augment(x), y

    def _in_order(self) -> Iterator[Batch]:
        x = each_input(self.x, lambda each: each[: self.num_used])
        return self._split(x, self.y[: self.num_used], self.batch_size)

    def _shuffled(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.y))[: self.num_used].to(self.y.device)
        yield from self._gathered(order, self.batch_size)

    def _parts(self, part: RankPart) -> Iterator[PartOfBatch]:
        order = torch.randperm(len(self.y)) if self.is_shuffled else torch.arange(len(self.y))
        order = (part.agree(order) if self.is_shuffled else order).to(self.y.device)
        num_last = self.num_used % self.batch_size
        num_whole = self.num_used - num_last
        own = order[:num_whole].view(-1, self.batch_size)[:, part.of(self.batch_size)]
        for x, y in self._gathered(own.reshape(-1), own.shape[1]):
            yield self._augmented(x), y, self.batch_size
        if num_last:
            rows = order[num_whole : self.num_used][part.of(num_last)]
            x, y = each_input(self.x, lambda each: each[rows]), self.y[rows]
            yield (x if len(y) == 0 else self._augmented(x)), y, num_last

    def _gathered(self, order: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        """Batches of the rows in ``order``."""
        block_size = self.block_size // self.batch_size * batch_size
        for start in range(0, len(order), max(1, block_size)):
            rows = order[start : start + block_size]
            x, y = _rows(self.x, rows), self.y.index_select(0, rows)
            yield from self._split(x, y, batch_size)

    def _augmented(self, x: Inputs) -> Inputs:
        augmented: Inputs = x if self.augment is None else self.augment(x)
        return augmented

    def _split(self, x: Inputs, y: torch.Tensor, batch_size: int) -> Iterator[Batch]:
        if len(y) == 0:  # torch splits an empty tensor into one empty batch
            return iter(())
        return zip(_batches(x, batch_size), torch.split(y, batch_size), strict=True)


def _rows(x: Inputs, rows: torch.Tensor) -> Inputs:
    found: Inputs = each_input(x, lambda each: each.index_select(0, rows))
    return found


def _batches(x: Inputs, batch_size: int) -> Iterable[Inputs]:
    if not isinstance(x, Mapping):
        return torch.split(x, batch_size)
    parts = (torch.split(each, batch_size) for each in x.values())
    return (dict(zip(x, batch, strict=True)) for batch in zip(*parts, strict=True))
