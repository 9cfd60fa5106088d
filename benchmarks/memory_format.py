"""A step of convolutional children in torch's channels-last memory format against the usual one.

Run it as ``python benchmarks/memory_format.py``. Random children of each space; forward, backward
and a step of fused SGD in one thread. The two formats take turns, and each turn's ratio is taken
for itself; it is of processor seconds, those of the kernel included, which other programs on the
machine change least.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from children import drawn, shipped_space
from torch.nn import functional

from nasrunner.core import SearchSpace

CASES = (  # space, shape of an example, batch
    ("nasrl_conv_small", (1, 28, 28), 128),
    ("nasrl_conv_small", (1, 14, 14), 128),
    ("nasrl_conv_small", (1, 8, 8), 32),
    ("small_cnn", (3, 32, 32), 64),
    ("small_cnn", (1, 8, 8), 32),
    ("deepconv", (3, 32, 32), 16),
    ("nasrl_conv", (3, 32, 32), 16),
    ("nasbench201", (3, 32, 32), 32),
)


def main() -> None:
    """Prints the ratio of each child, and the median of each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--children", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, in_shape, batch_size in CASES:
        space = shipped_space(name)
        ratios = [
            ratio_of(space, child, in_shape, batch_size, arguments.repetitions)
            for child in range(arguments.children)
        ]
        shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
        size = "x".join(map(str, in_shape))
        print(f"{name:17} {size:8} {statistics.median(ratios):.2f}  {shown}", flush=True)


def ratio_of(
    space: SearchSpace,
    seed: int,
    in_shape: tuple[int, ...],
    batch_size: int,
    repetitions: int,
) -> float:
    """Processor time of a step of a random child: channels last over channels first."""
    genotype = drawn(space, seed)
    steps = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        network, _ = space.freeze(genotype).build(in_shape)
        steps.append(step_of(network, in_shape, batch_size, memory_format))
    ratios = []
    for turn in range(repetitions + 1):
        order = (0, 1) if turn % 2 else (1, 0)
        seconds = {which: processor_seconds(steps[which]) for which in order}
        if turn:  # the first one warms up
            ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


def step_of(
    network: torch.nn.Module,
    in_shape: tuple[int, ...],
    batch_size: int,
    memory_format: torch.memory_format,
) -> Callable[[], None]:
    """Trains a network with one batch."""
    network.to(memory_format=memory_format)  # type: ignore[call-overload]  # is legal
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    x, y = torch.randn(batch_size, *in_shape), torch.randint(0, 10, (batch_size,))

    def step() -> None:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x.contiguous(memory_format=memory_format)), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def processor_seconds(call: Callable[[], None]) -> float:
    """How long a call keeps a processor busy; short ones are repeated."""
    start, begin = time.process_time(), time.perf_counter()
    num_calls = 0
    while not num_calls or time.perf_counter() - begin < 0.05:
        call()
        num_calls += 1
    return (time.process_time() - start) / num_calls


if __name__ == "__main__":
    main()
