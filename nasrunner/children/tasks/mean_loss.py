"""The mean loss of a pass over the data, from the mean losses of its batches."""

from typing import Any

import torch


class MeanLoss:
    """The mean loss of an epoch's targets, summed on the device without waiting for it."""

    _MAX_KEPT = 1024
    """Losses kept apart before they are summed: a stack of many costs less than many sums."""

    def __init__(self) -> None:
        self._losses: list[torch.Tensor] = []
        self._sizes: list[float | torch.Tensor] = []
        self._total: torch.Tensor | float = 0.0
        self._count: torch.Tensor | float = 0.0

    def add(self, loss: torch.Tensor, size: float | torch.Tensor) -> None:
        """Counts the mean loss of ``size`` targets, or of targets whose weights sum to it.

        A size that only the device knows is a tensor of it.
        """
        self._losses.append(loss)
        self._sizes.append(size)
        if len(self._losses) == self._MAX_KEPT:
            self._fold()

    def compute(self, strategy: Any) -> torch.Tensor:
        """Returns the mean over all devices; starts anew."""
        self._fold()
        total = torch.as_tensor(self._total).to(strategy.root_device)
        count = torch.as_tensor(self._count).to(total)
        self._total, self._count = 0.0, 0.0
        mean: torch.Tensor = strategy.reduce(total, reduce_op="sum") / strategy.reduce(
            count, reduce_op="sum"
        )
        return mean

    def _fold(self) -> None:
        if not self._losses:
            return
        losses = torch.stack(self._losses).float()
        if any(isinstance(each, torch.Tensor) for each in self._sizes):
            sizes = torch.stack([torch.as_tensor(each).to(losses) for each in self._sizes])
            count: torch.Tensor | float = sizes.sum()
        else:
            sizes = torch.tensor(self._sizes, dtype=losses.dtype).to(losses.device)
            count = sum(self._sizes)
        self._total = self._total + (losses * sizes).sum()
        self._count = self._count + count
        self._losses, self._sizes = [], []
