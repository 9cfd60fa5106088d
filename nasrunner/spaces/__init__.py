"""The search-space modules and the language they are written in.

Every public class here is a module of the language under its name in snake case.
"""

from nasrunner.spaces.activations import Elu, Gelu, LeakyRelu, Relu, Selu, Sigmoid, Silu, Tanh
from nasrunner.spaces.basic import (
    Affine,
    AveragePool,
    BatchNorm,
    Conv2d,
    DilatedConv2d,
    Dropout,
    Empty,
    Flatten,
    GlobalPool,
    LayerNorm,
    MaxPool,
    SeparableConv2d,
    Zero,
)
from nasrunner.spaces.cell import Cell
from nasrunner.spaces.composite import (
    Concat,
    Fork,
    MaybeSwap,
    Optional,
    Or,
    Repeat,
    RepeatTied,
    Residual,
)
from nasrunner.spaces.mobile import InvertedResidual
from nasrunner.spaces.named import Named
from nasrunner.spaces.share import Share, Shared
