"""Images a second of three CIFAR-10 children against a bare PyTorch loop: ``ratio >= 0.95``.

Run it as ``python benchmarks/child_throughput.py``, on a GPU with ``--device cuda``. Fixed children
of three spaces, trained by the project's child trainer as they are in a search, and by a loop as
one would write it by hand: channels last, all images on the device, the same augmentation and the
same fused SGD with Nesterov momentum, bfloat16 autocast on a GPU. Both validate after every epoch.
The first epoch warms up and is left out, with it all that is done once a child. The two take turns,
and each turn's ratio is taken for itself; the median counts. Seconds are the clock's on a GPU, and
the processor's on a CPU, where other programs would be measured with one thread.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from children import configured, drawn, run, shipped_space, timed_epochs, trainer_of, validate
from torch.nn import functional

from nasrunner.compose.construct import construct
from nasrunner.core import Genotype, SearchSpace
from nasrunner.data.cifar10 import pad_crop_flip

LIMIT = 0.95


@dataclass(frozen=True)
class Case:
    """A child: its space and the seed it is drawn with, and how much it trains in an epoch."""

    space: str
    seed: int
    batches: dict[str, int]
    batch_size: dict[str, int]


CASES = (
    Case("nasrl_conv", 3, {"cpu": 2, "cuda": 60}, {"cpu": 16, "cuda": 128}),
    Case("deepconv", 3, {"cpu": 6, "cuda": 300}, {"cpu": 32, "cuda": 128}),
    Case("nasbench201", 0, {"cpu": 6, "cuda": 150}, {"cpu": 32, "cuda": 128}),
)
VALIDATION = {"cpu": 32, "cuda": 512}
EPOCHS = {"cpu": 2, "cuda": 3}  # with the one that warms up


def main() -> None:
    """Prints every child's images a second and ratio; exits with 1 where one is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.perf_counter if arguments.device == "cuda" else time.process_time
    fitted = timed_epochs(clock)
    is_met = True
    for case in CASES:
        space = shipped_space(case.space)
        genotype = drawn(space, case.seed)
        config = configured_for(case, arguments.device)
        with tempfile.TemporaryDirectory() as folder:
            train = trainer_of(space, config).task(Path(folder), 0)
            by_hand: list[float] = []
            bare = partial(bare_loop, space, genotype, config, arguments.device, clock, by_hand)
            fit = partial(run, train, genotype)
            rates = in_turns(bare, fit, by_hand, fitted, arguments.turns)
        is_met &= report(case, config, arguments.device, rates)
    sys.exit(0 if is_met else 1)


def configured_for(case: Case, device: str) -> dict[str, Any]:
    """The child's configuration."""
    batch_size, validation = case.batch_size[device], VALIDATION[device]
    return configured(
        "data._target_=images.Images",
        f"+data.examples={batch_size * case.batches[device] + validation}",
        f"data.validation_examples={validation}",
        f"data.batch_size={batch_size}",
        "optimizer.nesterov=true",
        "optimizer.weight_decay=1e-4",
        f"trainer.max_epochs={EPOCHS[device]}",
        f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}",
        f"trainer.precision={'bf16-mixed' if device == 'cuda' else '32-true'}",
        data="cifar10",
        optimizer="sgd",
    )


def bare_loop(
    space: SearchSpace,
    genotype: Genotype,
    config: dict[str, Any],
    device: str,
    clock: Callable[[], float],
    moments: list[float],
) -> None:
    """The training one would write by hand; appends when each epoch ended."""
    data = construct(config["data"], "data")
    data.setup("fit")
    x_all, y_all = (each.to(device) for each in data.training_tensors())
    x_all = x_all.contiguous(memory_format=torch.channels_last)
    held_out = [tuple(each.to(device) for each in batch) for batch in data.val_dataloader()]
    torch.manual_seed(0)
    network, _ = space.freeze(genotype).build(tuple(config["data"]["in_shape"]))
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # is legal
    optimizer = construct(config["optimizer"], "optimizer", network.parameters())
    mixed = partial(torch.autocast, device, torch.bfloat16, enabled=device == "cuda")
    for _ in range(config["trainer"]["max_epochs"]):
        network.train()
        order = torch.randperm(len(x_all), device=device)
        for rows in torch.split(order, config["data"]["batch_size"]):
            x = pad_crop_flip(x_all[rows], config["data"]["pad"])
            optimizer.zero_grad()
            with mixed():
                predicted = network(x.contiguous(memory_format=torch.channels_last))
                loss = functional.cross_entropy(predicted, y_all[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with mixed():
            validate(network.eval(), held_out)
        moments.append(clock())


def in_turns(
    bare: Callable[[], object],
    fit: Callable[[], object],
    by_hand: list[float],
    fitted: list[float],
    turns: int,
) -> list[tuple[float, float]]:
    """Seconds of the epochs after the first, of the bare loop and of the child, in each turn."""
    measured = []
    for turn in range(turns):
        by_hand.clear()
        fitted.clear()
        for train in (bare, fit) if turn % 2 else (fit, bare):
            train()
        measured.append((by_hand[-1] - by_hand[0], fitted[-1] - fitted[0]))
    return measured


def report(
    case: Case, config: dict[str, Any], device: str, measured: list[tuple[float, float]]
) -> bool:
    """Prints a child; returns whether it reaches the goal."""
    num_images = (EPOCHS[device] - 1) * case.batches[device] * case.batch_size[device]
    bare, fit = (num_images / statistics.median(each) for each in zip(*measured, strict=True))
    ratio = statistics.median(by_hand / fitted for by_hand, fitted in measured)
    images = "CIFAR-10" if construct(config["data"], "data").is_real else "random images"
    print(
        f"{case.space:12} child {case.seed}, batch {case.batch_size[device]}, {images}, {device}: "
        f"bare {bare:.0f} images/s, trainer {fit:.0f} images/s, ratio {ratio:.3f}, goal {LIMIT}",
        flush=True,
    )
    return ratio >= LIMIT


if __name__ == "__main__":
    main()
