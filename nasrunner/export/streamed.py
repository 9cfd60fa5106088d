"""A language model whose state goes in and comes out, so that texts of any length are read."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# B = batch, T = time steps, V = vocabulary, H = hidden size


class Streamed(nn.Module):
    """A network of texts that is given the state of its recurrent layers, and returns it.

    A text may be read whole or token by token: each call goes on where the state it is given was
    left.

    Args:
        network: (B, T) to (B, T, V); its recurrent layers keep their ``state`` between calls.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def begin(self, batch_size: int) -> list[torch.Tensor]:
        """Returns the state before the first token, (B, H) for each value that a layer keeps."""
        weight = next(self.network.parameters())
        return [
            weight.new_zeros(batch_size, layer.units)
            for layer in self._layers()
            for _ in range(layer.num_values)
        ]

    def forward(
        self, tokens_BT: torch.Tensor, state: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        rest = list(state)
        for layer in self._layers():
            layer.keeps_state, layer.state = True, tuple(rest[: layer.num_values])
            rest = rest[layer.num_values :]
        logits_BTV = self.network(tokens_BT)
        after = [value for layer in self._layers() for value in layer.state]
        for layer in self._layers():
            layer.keeps_state, layer.state = False, None
        return logits_BTV, after

    def _layers(self) -> list[Any]:
        return [layer for layer in self.network.modules() if hasattr(layer, "num_values")]
