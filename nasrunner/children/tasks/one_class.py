"""Networks that answer one class whatever they are asked, as of very unequal classes many do."""

from typing import Any

import torch

# P = targets of a batch, K = number of classes


class ChosenClasses:
    """The classes that a network answers in a pass over the data, on its device."""

    def __init__(self) -> None:
        self._lowest: torch.Tensor | None = None
        self._highest = self._right = torch.zeros(())
        self._count = 0

    def add(self, scores_PK: torch.Tensor, target_P: torch.Tensor) -> None:
        """Looks at the answers of a batch, if its metrics are given scores and classes.

        A user's task may give them something else.
        """
        if scores_PK.ndim != 2 or target_P.shape != scores_PK.shape[:1]:
            return
        answers_P = scores_PK.argmax(dim=1)
        if len(answers_P) == 0:
            return
        lowest, highest = answers_P.aminmax()
        right = (answers_P == target_P).sum()
        if self._lowest is None:
            self._lowest, self._highest, self._right = lowest, highest, right
        else:
            self._lowest = torch.minimum(self._lowest, lowest)
            self._highest = torch.maximum(self._highest, highest)
            self._right = self._right + right
        self._count += len(answers_P)

    def share_of_one(self, strategy: Any) -> float | None:
        """Returns the share of the targets that are of the one class answered on all devices;
        starts anew.

        None where there were several answers, or none.
        """
        device = strategy.root_device
        none = torch.tensor([torch.inf, torch.inf], device=device)
        lowest = self._lowest
        ends = none if lowest is None else torch.stack([lowest, -self._highest]).float().to(device)
        counts = torch.stack([self._right.to(device), torch.tensor(self._count, device=device)])
        self._lowest, self._right, self._count = None, torch.zeros(()), 0
        lowest_and_highest = strategy.reduce(ends, reduce_op="min")
        right, count = strategy.reduce(counts.float(), reduce_op="sum").tolist()
        first, last = lowest_and_highest.tolist()
        return right / count if count and first == -last else None
