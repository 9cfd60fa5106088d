"""Architectures that have every part of a picture, and the golden files of their pictures.

    python -m tests.spaces.pictures.svg

draws the golden files again; do so only where pictures are meant to change, look at them, and say
why.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from nasrunner.core import OneOf, SearchSpace, Space
from nasrunner.spaces import (
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv2d,
    Dropout,
    Empty,
    Fork,
    LayerNorm,
    MaxPool,
    Named,
    RecurrentCell,
    Relu,
    Repeat,
    Residual,
    SeparableConv2d,
    Tanh,
    TreeCell,
    Zero,
)
from nasrunner.spaces.cell import Graph
from nasrunner.spaces.external import External
from nasrunner.spaces.pictures.drawing import draw
from nasrunner.spaces.skip_graph import SkipGraph

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Ladder(Space):
    """A user's own module with submodules."""

    rungs: int
    steps: tuple[Space, ...]

    def make(self, in_shape):
        raise NotImplementedError


MODULES = Concat(
    (
        Conv2d(16, (3, 5), stride=(2, 1)),
        SeparableConv2d(24, 3, padding="valid"),
        BatchNorm(),
        Relu(),
        MaxPool(2),
        Ladder(3, (Affine(7), Dropout(0.25))),
        External(torch.nn.Linear, (("in_features", 7), ("out_features", 9), ("bias", False))),
        External(torch.nn.GRUCell, (("<i>", "&m'.|"), ("hidden_size", 1234567))),
        LayerNorm(),
        Affine(OneOf((8, 16))),
    )
)
BRANCHES = Concat(
    (
        Residual(Concat((Conv2d(8, 3), Residual(Relu()), Fork((Tanh(), Relu()), "concat")))),
        Residual(Empty()),
        Fork((Concat((Conv2d(16, 3), Relu())), Empty(), Residual(Affine(3))), "add"),
        Fork((Affine(12), Empty()), "multiply"),
        Fork((Dropout(0.5), Empty()), "concat"),
    )
)
FOLDS = Concat(
    (
        *(Conv2d(8, 3), BatchNorm(), Relu()) * 4,
        *(Affine(5),) * 2,
        *(Affine(6),) * 3,
        *(Residual(Tanh()),) * 2,
        Named("block", Concat((BatchNorm(), Relu(), Conv2d(8, 1)))),
        Named("a block with a long name", Residual(MaxPool(2))),
        Repeat(OneOf((2, 4)), Affine(3)),
        RecurrentCell(4, ("add", "elem_mult"), ("tanh", "relu", "sigmoid")),
    )
)
SKIPS = SkipGraph(
    (
        Conv2d(4, 3),
        Concat((Conv2d(8, 3), Relu(), MaxPool(2))),
        Residual(Conv2d(8, 3)),
        Affine(5),
        Fork((Relu(), Tanh()), "add"),
        Affine(6),
        Tanh(),
    ),
    ((), (), (1, 2), (1,), (2, 4), (1,), (5, 6)),
)
CELL = Graph(
    tuple(
        {
            "relu": Relu(),
            "conv": Named("conv", Concat((Conv2d(8, 3), BatchNorm()))),
            "pool": AveragePool(3),
            "residual": Residual(Relu()),
            "wide": Fork((Conv2d(8, 5), Tanh()), "concat"),
            "skip": Empty(),
            "none": Named("none", Zero()),
        }[name]
        for name in (
            *("conv",),
            *("skip", "relu"),
            *("pool", "skip", "none"),
            *("residual", "none", "skip", "skip"),
            *("wide", "skip", "residual", "pool", "conv"),
        )
    )
)
TREE = TreeCell(
    nodes=(
        *(("add", "tanh"), ("elem_mult", "relu"), ("add", "identity"), ("elem_mult", "sigmoid")),
        *(("elem_mult", "relu"), ("add", "identity"), ("add", "tanh")),
    ),
    inject=("elem_mult", "relu"),
    memory=4,
    injected=0,
)
PICTURES: dict[str, Space] = {
    "modules": SearchSpace(
        (("optimizer.lr", 0.01), ("trainer.a_key_that_is_wider_than_the_network", "MWmw, ijl.")),
        MODULES,
    ),
    "branches": SearchSpace((("data.batch_size", 32),), BRANCHES),
    "folds": FOLDS,
    "skips": SKIPS,
    "cell": CELL,
    "tree": TREE,
}


def write_golden() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, space in PICTURES.items():
        (GOLDEN / f"{name}.svg").write_text(draw(space))


if __name__ == "__main__":
    write_golden()
