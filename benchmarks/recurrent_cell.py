"""The compiled recurrent cell against torch's LSTM: ``ratio <= 3``, on a GPU ``ratio <= 5``.

Run it as ``python benchmarks/recurrent_cell.py``, on a GPU with ``--device cuda``, where the LSTM
is cuDNN's. Forward and backward on 35 steps, a batch of 20
and 650 hidden units, the sizes of Penn Treebank's medium LSTM (Zaremba et al. 2014). The contenders
take turns, and each turn's ratios are taken for themselves, so that another program on the machine
slows all of them; the median counts. Seconds are the processor's on a CPU with one thread.

* LSTM cell: ``lstm_cell`` of the space language, the same four gates.
* tree of base 4: the tree with the LSTM's products.
* LSTM as a tree: the very same function, which takes base 8 with four idle leaves: twice the
  products.
* cell of base 8: the one that the paper found; twice the products.
* ENAS' and DARTS' published cells of 12 and 9 highway nodes: 3.25 and 2.5 times the products, most
  of which wait for one another within a step. Their limit is as many times ``OF_PRODUCTS``.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from nasrunner.spaces.recurrent.baselines import LstmCell
from nasrunner.spaces.recurrent.cells import StepCell, TreeCell
from nasrunner.spaces.recurrent.highway_cells import HighwayCell

STEPS, BATCH, UNITS = 35, 20, 650
LIMIT = {"cpu": 3.0, "cuda": 5.0}
OF_PRODUCTS = {"cpu": 1.5, "cuda": 5.0}

ADD_TANH, ADD_SIGMOID, ADD, MULT = (
    *(("add", "tanh"), ("add", "sigmoid")),
    *(("add", "identity"), ("elem_mult", "identity")),
)
CELLS: dict[str, StepCell] = {
    "LSTM cell": LstmCell(),
    "tree of base 4": TreeCell(
        (ADD_SIGMOID, ADD_TANH, ADD_SIGMOID, ADD_SIGMOID, MULT, MULT, ("add", "tanh")),
        ("elem_mult", "identity"),
        memory=6,
        injected=2,
    ),
    "LSTM as a tree of base 8": TreeCell(
        (
            *(ADD_SIGMOID, ADD_TANH, ADD_SIGMOID, ADD, ADD_SIGMOID, ADD, ADD, ADD),
            *(MULT, ADD, ADD, ADD, ADD_TANH, ADD, MULT),
        ),
        ("elem_mult", "identity"),
        memory=12,
        injected=2,
    ),
    "cell of base 8": TreeCell(
        (
            *(ADD_SIGMOID, ("add", "relu"), ADD_SIGMOID, ("elem_mult", "relu")),
            *(ADD_TANH, ADD_SIGMOID, ADD_TANH, ADD_SIGMOID),
            *(("elem_mult", "tanh"), ADD_TANH, ("elem_mult", "tanh"), ADD_SIGMOID),
            *(MULT, ADD_TANH, ("elem_mult", "tanh")),
        ),
        ("add", "tanh"),
        memory=12,
        injected=8,
    ),
    "ENAS' cell": HighwayCell(
        "tanh",
        (
            *((0, "tanh"), (1, "relu"), (2, "relu"), (2, "tanh"), (2, "tanh"), (5, "relu")),
            *((1, "tanh"), (6, "relu"), (8, "relu"), (8, "relu"), (8, "relu")),
        ),
        "loose_ends",
        "edge",
    ),
    "DARTS' cell": HighwayCell(
        "tanh",
        (
            *((0, "relu"), (1, "relu"), (2, "tanh"), (3, "relu")),
            *((4, "relu"), (1, "identity"), (5, "relu"), (1, "relu")),
        ),
        "nodes",
        "node",
    ),
}


def limit_of(name: str, device: str) -> float:
    """What a cell may take, as a ratio to the LSTM."""
    cell = CELLS.get(name)
    if not isinstance(cell, HighwayCell):
        return LIMIT[device]
    products = 4 + 2 * len(cell.nodes)
    return OF_PRODUCTS[device] * products / 8


def main() -> None:
    """Prints every cell's ratio to ``nn.LSTM``; exits with 1 where one is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=LIMIT, default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"nn.LSTM": nn.LSTM(UNITS, UNITS, batch_first=True)}
    for name, cell in CELLS.items():
        layers[name] = cell.layer(UNITS, UNITS, 0.0)
    times: dict[str, list[float]] = {name: [] for name in layers}
    x = torch.randn(BATCH, STEPS, UNITS, device=arguments.device, requires_grad=True)
    calls = {name: one_call(layer.to(arguments.device), x) for name, layer in layers.items()}
    is_alone = arguments.device == "cpu" and arguments.threads == 1
    clock = time.process_time if is_alone else time.perf_counter
    for turn in range(arguments.repetitions + 1):
        for name, call in calls.items():
            seconds = timed(call, arguments.device, clock)
            if turn:  # the first one warms up
                times[name].append(seconds)
    print(
        f"{STEPS} steps, batch {BATCH}, hidden {UNITS}, {arguments.device}, "
        f"{arguments.threads} thread(s): forward + backward, median of {arguments.repetitions}"
    )
    is_met = True
    for name, seconds_of in times.items():
        ratios = [a / b for a, b in zip(seconds_of, times["nn.LSTM"], strict=True)]
        ratio, limit = statistics.median(ratios), limit_of(name, arguments.device)
        is_met = is_met and ratio <= limit
        print(
            f"{name:26} {1000 * statistics.median(seconds_of):8.1f} ms  ratio {ratio:.2f}"
            f"  limit {limit:g}"
        )
    sys.exit(0 if is_met else 1)


def one_call(layer: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """A forward and a backward pass."""

    def call() -> None:
        layer.zero_grad()
        y = layer(x)
        (y[0] if isinstance(y, tuple) else y).sum().backward()

    return call


def timed(call: Callable[[], None], device: str, clock: Callable[[], float]) -> float:
    """The seconds of one call."""
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    wait()
    start = clock()
    call()
    wait()
    return clock() - start


if __name__ == "__main__":
    main()
