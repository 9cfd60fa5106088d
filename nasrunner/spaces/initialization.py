"""How a layer's weights begin: an argument of the modules that hold weights, searched like others.

A hyperparameter of Affine and Conv2D in Negrinho & Gordon 2017, arXiv:1704.08792, appendix B.1.
"""

from typing import Literal

import torch
from torch import nn

Init = Literal["default", "he", "xavier", "orthogonal"]
"""How weights begin.

* ``default``: as torch's layers do, uniform in ±1/√fan_in, biases alike.
* ``he``: normal with the variance 2/fan_in. He et al. 2015, arXiv:1502.01852, eq. 10.
* ``xavier``: uniform in ±√(6/(fan_in + fan_out)). Glorot & Bengio 2010, eq. 16.
* ``orthogonal``: rows of the matrix (outputs, all that each takes), or its columns where there are
  fewer, are orthonormal. Saxe et al. 2014, arXiv:1312.6120.

All but ``default`` begin with biases of zero. Fans are torch's: of a filter, its taps times the
channels that it takes, and times all output channels, also where the convolution has groups.

Differs from DeepArchitect's code: its ``kaiming2015delving_initializer_conv`` has the variance
2/(fan_in · output channels), whatever its name says; its ``xavier_initializer_affine`` is the same.
"""


@torch.no_grad()
def initialize(layer: nn.Linear | nn.Conv2d, init: Init, gates: int = 1) -> None:
    """Gives a new layer the weights it begins with.

    On the meta device, where networks are counted, nothing is done: torch would import a thousand
    modules, in a second, to draw a normal distribution there.

    Args:
        layer: as torch has made it; ``default`` leaves it so, and draws no random numbers.
        init: how its weights begin.
        gates: how many matrices of equal size its weight is made of, each initialized by itself.
    """
    if init == "default" or layer.weight.is_meta:
        return
    for weight in layer.weight.chunk(gates):
        if init == "he":
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        elif init == "xavier":
            nn.init.xavier_uniform_(weight)
        else:
            nn.init.orthogonal_(weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
