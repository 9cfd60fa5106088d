"""What the blocks of a user's own use from a file beside them."""

import torch
from torch import nn

LIMIT = 1.5


class Network(nn.Module):
    """Has the name of the class that is written."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight
