"""The search-space modules and the language they are written in.

Every public class here is a module of the language under its name in snake case.
"""

from nasrunner.spaces.activations import Elu, Gelu, LeakyRelu, Relu, Selu, Sigmoid, Silu, Tanh
from nasrunner.spaces.basic import (
    Affine,
    BatchNorm,
    ClassLogits,
    Dropout,
    Empty,
    Flatten,
    LayerNorm,
    Zero,
)
from nasrunner.spaces.branches import Fork, Residual
from nasrunner.spaces.cell import Cell, Graph
from nasrunner.spaces.cells.block_cell import BlockCell
from nasrunner.spaces.cells.block_graph import BlockGraph
from nasrunner.spaces.cells.cell_stack import CellStack
from nasrunner.spaces.cells.factorized import FactorizedReduction
from nasrunner.spaces.cells.path_dropout import PathDropout
from nasrunner.spaces.cells.skip_chain import SkipChain
from nasrunner.spaces.composite import Concat, MaybeSwap, Optional, Or, Repeat, RepeatTied
from nasrunner.spaces.images import Conv2d, DilatedConv2d, SeparableConv2d
from nasrunner.spaces.inputs import Input
from nasrunner.spaces.mobile import InvertedResidual
from nasrunner.spaces.named import Named
from nasrunner.spaces.recurrent.baselines import GruCell, LstmCell, RnnCell
from nasrunner.spaces.recurrent.cells import RecurrentCell, TreeCell
from nasrunner.spaces.recurrent.encoder import RecurrentEncoder
from nasrunner.spaces.recurrent.highway_cells import DartsRnn, EnasCell, HighwayCell
from nasrunner.spaces.recurrent.language_model import LanguageModel
from nasrunner.spaces.recurrent.layers import Embedding, Recurrent
from nasrunner.spaces.recurrent.pool import SequencePool
from nasrunner.spaces.share import Share, Shared
from nasrunner.spaces.skip_graph import SkipGraph
from nasrunner.spaces.skips import SkipLayers
from nasrunner.spaces.string import String
from nasrunner.spaces.windows.pools import AveragePool, GlobalPool, MaxPool
from nasrunner.spaces.windows.signals import Conv1d, DilatedConv1d, SeparableConv1d
