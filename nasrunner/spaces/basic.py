"""Basic modules of any shape: they take no submodules, only arguments that may be decisions."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from nasrunner.core.annotations import Above, AtLeast, Count, Within
from nasrunner.core.shapes import InShape
from nasrunner.core.space import Shape, Space
from nasrunner.core.tracing import Tracer, V

# B = batch

Probability = Annotated[float, Within("[0, 1)")]
"""How often something is zero while training."""

Init = Literal["default", "he", "xavier", "orthogonal"]
"""How weights begin: an argument of the modules that hold weights, searched like others.

A hyperparameter of Affine and Conv2D in Negrinho & Gordon 2017, arXiv:1704.08792, appendix B.1.

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
def initialize(layer: nn.Linear | nn.Conv1d | nn.Conv2d, init: Init, gates: int = 1) -> None:
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


@dataclass(frozen=True)
class Empty(Space):
    """Passes its input on."""

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return x

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Identity(), in_shape


@dataclass(frozen=True)
class Zero(Space):
    """Returns zeros in the shape of its input: no connection."""

    @property
    def is_zero(self) -> bool:
        return True

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.zero(x)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return Zeros(), in_shape


@dataclass(frozen=True)
class Dead(Space):
    """Zeros in the place of a part that a frozen network does not need; see ``living``.

    Args:
        module: the part, whose output's shape they have.
    """

    module: Space

    @property
    def is_zero(self) -> bool:
        return True

    @property
    def takes_inputs(self) -> bool:
        return self.module.takes_inputs

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.zero(tracer.run(self.module, x))

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        with torch.device("meta"):
            _, out_shape = self.module.build(in_shape)
        return (Zeros() if out_shape == in_shape else Zeros(out_shape)), out_shape

    def text(self) -> str:
        return "zero"


class Zeros(nn.Module):
    """What ``zero`` is built as.

    Args:
        shape: of one example; None: that of what comes in.
    """

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shape is not None:
            return x.new_zeros(x.shape[0], *self.shape)
        return x * 0.0  # not zeros_like: weights before it have a gradient, which DDP expects


@dataclass(frozen=True)
class Flatten(Space):
    """(C, H, W) to (C*H*W,), and (C, T) to (C*T,)."""

    is_function = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Flatten(), (math.prod(in_shape),)


@dataclass(frozen=True)
class Affine(Space):
    """Dense affine transformation; an image or a signal is flattened first.

    Args:
        units: number of outputs.
        bias: whether a bias is added.
        init: how the weights begin; see ``Init``.
    """

    units: Count
    bias: bool = True
    init: Init = "default"

    widths: ClassVar[tuple[str, ...]] = ("units",)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        layer = nn.Linear(math.prod(in_shape), self.units, bias=self.bias)
        initialize(layer, self.init)
        return (layer if len(in_shape) == 1 else nn.Sequential(nn.Flatten(), layer)), (self.units,)


@dataclass(frozen=True)
class ClassLogits(Space):
    """Affine layer that ends a classifier: a logit for each class, or one neuron for two classes.

    The neuron's output z is what a sigmoid makes the second class's probability of. Its logits are
    (0, z), since softmax(0, z) = (1 - σ(z), σ(z)): cross entropy of these is the binary one of z.

    Args:
        num_classes: >= 2.
        init: how the weights begin; see ``Init``.
    """

    num_classes: Annotated[int, AtLeast(2)]
    init: Init = "default"

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        units = 1 if self.num_classes == 2 else self.num_classes
        layer, _ = Affine(units, init=self.init).make(in_shape)
        if units == 1:
            layer = nn.Sequential(layer, nn.ConstantPad1d((1, 0), 0.0))
        return layer, (self.num_classes,)


@dataclass(frozen=True)
class Dropout(Space):
    """Zeroes each input with probability ``p`` while training. DeepArchitect counts 1 - p."""

    p: Probability

    is_chance = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.Dropout(self.p), in_shape


@dataclass(frozen=True)
class BatchNorm(Space):
    """Batch normalization of each channel of an image or a signal; for vectors, of each feature."""

    momentum: Annotated[float, Within("[0, 1]")] = 0.1
    eps: Annotated[float, Above(0)] = 1e-5

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        norms = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d}
        norm = norms.get(len(in_shape))
        if norm is None:
            raise ValueError("it takes (features,), (channels, time) or (channels, height, width)")
        return norm(in_shape[0], momentum=self.momentum, eps=self.eps), in_shape


@dataclass(frozen=True)
class LayerNorm(Space):
    """Layer normalization over every dimension of an example."""

    eps: Annotated[float, Above(0)] = 1e-5

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return nn.LayerNorm(in_shape, eps=self.eps), in_shape
