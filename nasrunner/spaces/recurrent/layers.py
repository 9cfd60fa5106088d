"""Layers for sequences: embeddings, recurrent layers, and dropout that is the same in every step.

Tokens have the shape (T,), sequences of vectors (T, units).
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.decision import most
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.basic import Init, Probability, initialize
from nasrunner.spaces.named import Named
from nasrunner.spaces.recurrent.cells import StepCell
from nasrunner.spaces.recurrent.stateful import keep_mask

# B = batch, T = time steps, V = vocabulary, I = size of a vector


@dataclass(frozen=True)
class Embedding(Space):
    """A learnt vector for each token: (T,) to (T, units).

    Args:
        vocabulary: number of different tokens.
        units: size of a vector.
        dropout: how often a word is zero, wherever it stands in an example. Gal & Ghahramani
            2016, arXiv:1512.05287, section 4.2.
    """

    vocabulary: Count
    units: Count
    dropout: Probability = 0.0

    widths: ClassVar[tuple[str, ...]] = ("units",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 1:
            raise ValueError("it takes tokens, (time steps,)")
        return WordVectors(self.vocabulary, self.units, self.dropout), (*in_shape, self.units)


@dataclass(frozen=True)
class Recurrent(Space):
    """Recurrent layers of one cell, one on the other: (T, I) to (T, units).

    They go on with the batch before, as streams of text do. Signals, (channels, time), have
    ``recurrent_encoder``.

    The cell's decisions are made once for all layers; each has weights of its own.

    Args:
        cell: recurrent_cell, tree_cell, enas_cell, darts_rnn, highway_cell, rnn_cell, lstm_cell
            or gru_cell.
        layers: how many.
        units: size of h; ``same``: the size of the vectors that come in.
        dropout: how often an element is zero between layers, in all time steps of an example.
        state_dropout: the same for h_{t-1} in the products of the next step. Both: Gal &
            Ghahramani 2016, arXiv:1512.05287, eq. 7.
        init: how each matrix of a product begins, of each gate for itself; see ``Init``.
    """

    cell: Space
    layers: Count = 1
    units: Count | Literal["same"] = "same"
    dropout: Probability = 0.0
    state_dropout: Probability = 0.0
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("units",)

    def most_modules(self) -> int:
        return 1 + most(self.layers) * self.cell.most_modules()

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        if len(in_shape) != 2:
            raise ValueError("it takes sequences of vectors, (time steps, units): use an embedding")
        layers, units = self.layers_on(in_shape[1])
        return layers, (in_shape[0], units)

    def layers_on(self, size: int) -> tuple[nn.Module, int]:
        """Makes the layers, (B, T, size) to (B, T, units); returns them and ``units``.

        Raises:
            ValueError: ``cell`` is no recurrent cell.
        """
        cell = self.cell.module if isinstance(self.cell, Named) else self.cell
        if not isinstance(cell, StepCell):
            raise ValueError(f"cell must be a recurrent cell, got {self.cell.name()}")
        units = size if self.units == "same" else self.units
        layers: list[nn.Module] = []
        for position in range(self.layers):
            if position and self.dropout:
                layers.append(SequenceDropout(self.dropout))
            layer = cell.layer(units if position else size, units, self.state_dropout)
            for product, num_parts in layer.products():
                initialize(product, self.init, num_parts)
            layers.append(layer)
        return (layers[0] if len(layers) == 1 else nn.Sequential(*layers)), units

    def text(self) -> str:
        shown = [self.cell.text(), f"layers={self.layers}"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("path", "cell", "layers") and value != field.default:
                shown.append(f"{field.name}={value}")
        return f"{self.name()}({', '.join(shown)})"


class WordVectors(nn.Module):
    """What ``embedding`` is built as: (B, T) to (B, T, I)."""

    def __init__(self, vocabulary: int, size: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, size))
        nn.init.uniform_(self.weight, -0.1, 0.1)
        self.dropout = dropout

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        x_BTI = nn.functional.embedding(tokens_BT, self.weight)
        if not (self.training and self.dropout):
            return x_BTI
        keep_BV = keep_mask(x_BTI.new_empty(len(x_BTI), len(self.weight)), self.dropout)
        assert keep_BV is not None
        return x_BTI * keep_BV.gather(1, tokens_BT).unsqueeze(2)


class SequenceDropout(nn.Module):
    """Dropout of (B, T, I) whose zeros are the same in all time steps of an example."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x_BTI: torch.Tensor) -> torch.Tensor:
        mask_B1I = keep_mask(x_BTI[:, :1], self.p) if self.training else None
        return x_BTI if mask_B1I is None else x_BTI * mask_B1I
