"""Language models: from tokens to the logits of the token that follows each of them."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from nasrunner.core.annotations import AtLeast, Count
from nasrunner.core.errors import SpaceError
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.basic import Probability
from nasrunner.spaces.recurrent.layers import Embedding, SequenceDropout

# B = batch, T = time steps, V = vocabulary, I = size of an embedding


@dataclass(frozen=True)
class LanguageModel(Space):
    """An embedding, a body for sequences of vectors, and a decoder: (T,) to (T, vocabulary).

    Args:
        body: takes (T, units); with ``tied`` it must keep that.
        vocabulary: number of different tokens.
        tied: whether the decoder's weights are the embedding's: Press & Wolf 2016,
            arXiv:1608.05859.
        units: size of an embedding; this or ``parameters``.
        parameters: the largest ``units`` is taken with which the network has no more of them, as
            every child of arXiv:1611.01578 has those of the baseline. A body whose layers have
            ``units: same`` grows with it.
        embedding_dropout: how often a word is zero in an example.
        dropout: how often an element of what enters and leaves the body is zero, in all time
            steps of an example. Gal & Ghahramani 2016, arXiv:1512.05287.
        input_dropout: the same of what enters alone; null: as often as what leaves.
        slowness: what is added to the loss in training, in units of the mean square of
            h_t - h_{t-1}, of what leaves the body: "temporal activation regularization", Merity
            et al. 2017, arXiv:1708.01009, section 4.

    Raises:
        SpaceError: none or both of ``units`` and ``parameters`` are given.
    """

    body: Space
    vocabulary: Count
    tied: bool
    units: Count | None = None
    parameters: Count | None = None
    embedding_dropout: Probability = 0.0
    dropout: Probability = 0.0
    input_dropout: Probability | None = None
    slowness: Annotated[float, AtLeast(0)] = 0.0

    widths: ClassVar[tuple[str, ...]] = ("units",)
    hides_widths: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.units is None) == (self.parameters is None):
            raise SpaceError(
                "language_model needs either units or parameters, got "
                f"units={self.units} and parameters={self.parameters}"
            )

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        units = self._largest_units(in_shape) if self.units is None else self.units
        return self._network(units, in_shape), (*in_shape, self.vocabulary)

    def text(self) -> str:
        given = "parameters" if self.units is None else "units"
        shown = [f"{given}={getattr(self, given)}", *(["tied"] if self.tied else [])]
        for name in ("embedding_dropout", "dropout", "input_dropout", "slowness"):
            if getattr(self, name):
                shown.append(f"{name}={getattr(self, name)}")
        return f"language_model({', '.join(shown)}): {self.body.text()}"

    def _network(self, units: int, in_shape: Shape) -> nn.Module:
        embedding = Embedding(self.vocabulary, units, self.embedding_dropout, path=self.path)
        vectors, shape = embedding.build(in_shape)
        body, out_shape = self.body.build(shape)
        if len(out_shape) != 2 or out_shape[0] != shape[0]:
            raise ValueError(f"its body must make a vector of each one, got {shape} to {out_shape}")
        if self.tied and out_shape != shape:
            raise ValueError(
                f"tied needs a body that keeps the size of vectors, got {units} to {out_shape[1]}"
            )
        decoder = nn.Linear(out_shape[1], self.vocabulary)
        entering = self.dropout if self.input_dropout is None else self.input_dropout
        return Predictor(
            vectors, body, decoder, self.tied, self.dropout, entering, slowness=self.slowness
        )

    def _largest_units(self, in_shape: Shape) -> int:
        """The largest size of vectors that ``parameters`` allows, found by bisection."""
        assert self.parameters is not None

        def fits(units: int) -> bool:
            with torch.device("meta"):
                return _num_parameters(self._network(units, in_shape)) <= (self.parameters or 0)

        if not fits(1):
            raise ValueError(f"no network is so small: parameters={self.parameters}")
        low, high = 1, self.parameters + 1  # every size has at least one parameter
        while high - low > 1:
            middle = min(2 * low, (low + high) // 2)
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low


class Predictor(nn.Module):
    """What ``language_model`` is built as: (B, T) to (B, T, V)."""

    def __init__(
        self,
        vectors: nn.Module,
        body: nn.Module,
        decoder: nn.Linear,
        tied: bool,
        dropout: float,
        input_dropout: float,
        *,
        slowness: float,
    ) -> None:
        super().__init__()
        self.vectors = vectors
        self.enter = SequenceDropout(input_dropout)
        self.body = body
        self.leave = SequenceDropout(dropout)
        self.decoder = decoder
        self.slowness = slowness
        self._penalty: torch.Tensor | None = None
        if tied:
            self.decoder.weight = self.vectors.weight  # type: ignore[assignment]

    def take_penalty(self) -> torch.Tensor | None:
        """Returns what the last call in training adds to its loss, once; None: nothing."""
        penalty, self._penalty = self._penalty, None
        return penalty

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_penalty": None}  # no copy may hold what a derivative goes to

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        h_BTI = self.body(self.enter(self.vectors(tokens_BT)))
        if self.slowness and self.training and h_BTI.shape[1] > 1:
            self._penalty = self.slowness * (h_BTI[:, 1:] - h_BTI[:, :-1]).square().mean()
        logits_BTV: torch.Tensor = self.decoder(self.leave(h_BTI))
        return logits_BTV


def _num_parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())  # what is shared counts once
