"""What a recurrent layer remembers from one call to the next."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import nn

# T = time steps, B = batch, G = size of what comes in, H = hidden size


class StatefulLayer(nn.Module, ABC):
    """A recurrent layer, which keeps its state between calls.

    A call begins with zeros until ``reset_state`` was called; from then on with the state that
    the call before it ended with, through which no derivative goes: truncated back-propagation
    through time. What was kept is dropped where the batch has another size.

    Args:
        units: H.
        state_dropout: how often an element of h_{t-1} is zero, in all products of a call and
            example alike. Gal & Ghahramani 2016, arXiv:1512.05287, eq. 7.

    Attributes:
        goes_on: whether the examples of a call go on with those of the call before it, as streams
            of text do; where they do not, each call begins with zeros.
    """

    num_values = 1
    """Values (B, H) of its state."""

    def __init__(self, units: int, state_dropout: float) -> None:
        super().__init__()
        self.units = units
        self.state_dropout = state_dropout
        self.goes_on = True
        self.keeps_state = False
        self.state: tuple[torch.Tensor, ...] | None = None

    @abstractmethod
    def products(self) -> Iterator[tuple[nn.Linear, int]]:
        """Yields its matrices, and how many of equal size each is made of."""

    def reset_state(self) -> None:
        """Begins new streams: the next call starts with zeros, later ones where it ended.

        All start with zeros where a call does not go on with the one before it.
        """
        self.keeps_state, self.state = self.goes_on, None

    def begin(self, x_TBG: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns the state that a call begins with, each of its values (B, H)."""
        zeros = x_TBG.new_zeros(x_TBG.shape[1], self.units)
        if self.state is None or self.state[0].shape != zeros.shape:
            return (zeros,) * self.num_values
        return tuple(each.to(zeros) for each in self.state)

    def end(self, *values_BH: torch.Tensor) -> None:
        """Keeps the state that a call has ended with, where the next one goes on from it."""
        if self.keeps_state:
            self.state = tuple(each.detach() for each in values_BH)


_IN_A_LINE = 16
"""Numbers of 4 bytes in a cache line."""


def padded(matrix: torch.Tensor) -> torch.Tensor:
    """Returns rows with zeros at the end, so that each begins where a cache line does.

    A product whose result has 650 columns takes a third longer on a CPU than one with 656.
    """
    missing = -matrix.shape[-1] % _IN_A_LINE
    return nn.functional.pad(matrix, (0, missing)) if missing else matrix


def padded_product(layer: nn.Linear, x_TBI: torch.Tensor) -> torch.Tensor:
    """Returns W x_t of all time steps, whose derivatives are products with padded rows, too."""
    return nn.functional.linear(padded(x_TBI), padded(layer.weight), layer.bias)


def keep_mask(like_BH: torch.Tensor, p: float) -> torch.Tensor | None:
    """Returns what to multiply by so that elements are zero with probability p and the mean
    stays.
    """
    return torch.empty_like(like_BH).bernoulli_(1 - p).div_(1 - p) if p else None
