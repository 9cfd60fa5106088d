"""The recurrent cells that a found one is compared with, run by the same layer as that."""

from dataclasses import dataclass
from typing import ClassVar

from nasrunner.spaces.recurrent.cells import ProgramCell
from nasrunner.spaces.recurrent.program import Program

# Values of a program: 0 h_{t-1}, 1 c_{t-1}, the parts of W x_t, those of U h_{t-1}, results.


@dataclass(frozen=True)
class _Baseline(ProgramCell):
    steps: ClassVar[Program]

    def program(self) -> Program:
        return self.steps


@dataclass(frozen=True)
class RnnCell(_Baseline):
    """h_t = tanh(W x_t + U h_{t-1} + b): Elman's cell."""

    steps = Program(1, (("add", 2, 3), ("tanh", 4, 4)), hidden=5)


@dataclass(frozen=True)
class LstmCell(_Baseline):
    """c_t = f c_{t-1} + i g and h_t = o tanh(c_t), as ``torch.nn.LSTM`` with one of its biases.

    Hochreiter & Schmidhuber 1997; the gates are in torch's order, i, f, g, o.
    """

    steps = Program(
        4,
        (
            *(("add", 2, 6), ("add", 3, 7), ("add", 4, 8), ("add", 5, 9)),
            *(("sigmoid", 10, 10), ("sigmoid", 11, 11), ("tanh", 12, 12), ("sigmoid", 13, 13)),
            *(("elem_mult", 15, 1), ("elem_mult", 14, 16), ("add", 18, 19)),
            *(("tanh", 20, 20), ("elem_mult", 17, 21)),
        ),
        hidden=22,
        memory=20,
    )


@dataclass(frozen=True)
class GruCell(_Baseline):
    """h_t = n + z (h_{t-1} - n), n = tanh(W x_t + r U h_{t-1} + b): ``torch.nn.GRU`` likewise.

    Cho et al. 2014, arXiv:1406.1078; the gates are in torch's order, r, z, n.
    """

    steps = Program(
        3,
        (
            *(("add", 2, 5), ("sigmoid", 8, 8), ("add", 3, 6), ("sigmoid", 10, 10)),
            *(("elem_mult", 9, 7), ("add", 4, 12), ("tanh", 13, 13)),
            *(("subtract", 0, 14), ("elem_mult", 11, 15), ("add", 14, 16)),
        ),
        hidden=17,
    )
