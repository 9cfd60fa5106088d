"""Batches of tensors that are already in memory, without the cost of a DataLoader per example."""

from collections.abc import Callable, Iterator

import torch

# B = batch, N = number of examples, ... = the shape of one example

Batch = tuple[torch.Tensor, torch.Tensor]
"""Inputs (B, ...) and targets: (B,) class indices or (B, outputs) numbers."""

Augment = Callable[[torch.Tensor], torch.Tensor]
"""Changes the inputs of a training batch at random; keeps their shape."""

_BLOCK_BYTES = 2**20
"""Shuffled examples are gathered so many bytes at a time: for small ones that costs a quarter of
gathering each batch alone, and more would not stay in the cache."""


class TensorLoader:
    """Yields batches by slicing two tensors, on the device the tensors are on.

    Args:
        x: inputs, (N, ...).
        y: targets, (N,) or (N, outputs).
        batch_size: examples a batch, >= 1.
        is_shuffled: whether every epoch draws a new order, from torch's global CPU generator: one
            draw an epoch, made when the first batch is asked for. The order does not depend on
            the device.
        drop_last: whether a last batch with fewer than ``batch_size`` examples is left out.
        augment: applied to the inputs of each batch; None: they are yielded as they are.
    """

    def __init__(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        batch_size: int,
        *,
        is_shuffled: bool = False,
        drop_last: bool = False,
        augment: Augment | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.batch_size = batch_size
        self.is_shuffled = is_shuffled
        example_bytes = max(1, x[:1].nbytes)
        self.block_size = max(1, _BLOCK_BYTES // (example_bytes * batch_size)) * batch_size
        self.num_used = len(x) - len(x) % batch_size if drop_last else len(x)
        self.augment = augment

    def __len__(self) -> int:
        """Batches an epoch."""
        return -(-self.num_used // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._shuffled() if self.is_shuffled else self._in_order()
        if self.augment is None:
            yield from batches
        else:
            for x, y in batches:
                yield self.augment(x), y

    def _in_order(self) -> Iterator[Batch]:
        return self._split(self.x[: self.num_used], self.y[: self.num_used])

    def _shuffled(self) -> Iterator[Batch]:
        order = torch.randperm(len(self.x))[: self.num_used].to(self.x.device)
        for start in range(0, self.num_used, self.block_size):
            rows = order[start : start + self.block_size]
            yield from self._split(self.x.index_select(0, rows), self.y.index_select(0, rows))

    def _split(self, x: torch.Tensor, y: torch.Tensor) -> Iterator[Batch]:
        if len(x) == 0:  # torch splits an empty tensor into one empty batch
            return iter(())
        return zip(*(torch.split(each, self.batch_size) for each in (x, y)), strict=True)
