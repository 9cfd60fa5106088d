"""A child's training against a bare PyTorch loop over the same tensors: ``ratio <= limit``.

Run it as ``python benchmarks/child_loop.py``. Every contender trains the same network on
scikit-learn's digits with the same optimizer, in one thread, and validates after every epoch. They
take turns, and each turn's ratios are taken for themselves, so that another program on the machine
slows all of them; the median counts. ``--processor-time`` is for a machine with much other work.

* bare: the loop one would write by hand.
* fit: Lightning's ``Trainer.fit`` in the fast loop; this is what the limit is for.
* child: the whole child, with its files, network, data, checkpoint and outcome.
* ordinary fit: the same in Lightning's own loop over batches (``trainer.fast_loop=false``).
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
from children import configured, run, seconds, timed_fit, trainer_of, validate
from torch.nn import functional

from nasrunner.children.lightning import LightningTask
from nasrunner.compose.construct import construct
from nasrunner.core import SearchSpace
from nasrunner.spaces.language.parsing import parse_space


@dataclass(frozen=True)
class Case:
    """A network, how it is trained, and the largest ratio to a bare loop that is accepted."""

    name: str
    network: dict[str, Any]
    overrides: tuple[str, ...]
    limit: float


MLP = {"concat": [{"affine": {"units": 64}}, "relu", {"affine": {"units": 64}}, "relu"]}
CNN = {"concat": [{"conv2d": {"filters": 48, "kernel_size": 3}}, "batch_norm", "relu"] * 2}
CASES = (
    Case("digits MLP, batch 32, 10 epochs", MLP, ("trainer.max_epochs=10",), 1.5),
    Case("CNN, batch 128, 5 epochs", CNN, ("trainer.max_epochs=5", "data.batch_size=128"), 1.05),
)


def main() -> None:
    """Prints every case's ratios; exits with 1 where one is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=11, help="turns of each contender")
    parser.add_argument("--processor-time", action="store_true", help="instead of the clock's")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.processor_time else time.perf_counter
    torch.set_num_threads(1)
    fit_times = timed_fit(clock)
    is_met = True
    for case in CASES:
        config = configured_for(case)
        names = ("bare", "fit", "child", "ordinary fit", "ordinary child")
        times: dict[str, list[float]] = {name: [] for name in names}
        with tempfile.TemporaryDirectory() as folder:
            fast, ordinary = (
                task_of(case, config, Path(folder), fast_loop=is_fast) for is_fast in (True, False)
            )
            network, bare = bare_loop(case, config)
            contenders: dict[str, Callable[[], object]] = {
                "bare": bare,
                "": partial(run, fast),
                "ordinary ": partial(run, ordinary),
            }
            for turn in range(arguments.repetitions + 1):
                order = list(contenders)
                for name in order[turn % 3 :] + order[: turn % 3]:
                    child = seconds(contenders[name], clock)
                    if turn == 0:
                        continue  # it warms up
                    if name == "bare":
                        times["bare"].append(child)
                    else:
                        times[f"{name}child"].append(child)
                        times[f"{name}fit"].append(fit_times[-1])
        is_met &= report(case, times, network)
    sys.exit(0 if is_met else 1)


def configured_for(case: Case) -> dict[str, Any]:
    """The child's configuration."""
    return configured(*case.overrides, data="digits", optimizer="adam")


def space_of(case: Case, config: dict[str, Any]) -> SearchSpace:
    """The space of the case's one network."""
    affine = {"affine": {"units": config["data"]["num_outputs"]}}
    return parse_space({"concat": [*case.network["concat"], affine]})


def task_of(case: Case, config: dict[str, Any], folder: Path, *, fast_loop: bool) -> LightningTask:
    """What trains the child, with the fast loop or with Lightning's own."""
    config = {**config, "trainer": {**config["trainer"], "fast_loop": fast_loop}}
    return trainer_of(space_of(case, config), config).task(folder, 0)


def bare_loop(case: Case, config: dict[str, Any]) -> tuple[str, Callable[[], None]]:
    """The architecture, and the hand-written training of it."""
    space = space_of(case, config)
    data = construct(config["data"], "data")
    data.setup("fit")

    def train() -> None:
        torch.manual_seed(0)
        network, _ = space.build(tuple(config["data"]["in_shape"]))
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # is legal
        optimizer = construct(config["optimizer"], "optimizer", network.parameters())
        batches, validation = data.train_dataloader(), data.val_dataloader()
        for _ in range(config["trainer"]["max_epochs"]):
            network.train()
            for x, y in batches:
                optimizer.zero_grad()
                loss = functional.cross_entropy(network(x), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            validate(network.eval(), validation)

    return space.text(), train


def report(case: Case, times: dict[str, list[float]], network: str) -> bool:
    """Prints a case; returns whether it is within its limit."""
    print(f"\n{case.name}: {network}")
    ratios = {}
    for name, values in times.items():
        turns = zip(values, times["bare"], strict=True)
        ratios[name] = statistics.median(value / bare for value, bare in turns)
        limit = f"   limit {case.limit}" if name == "fit" else ""
        milliseconds = 1000 * statistics.median(values)
        print(f"  {name:15} {milliseconds:8.1f} ms   {ratios[name]:5.2f} x bare{limit}")
    return ratios["fit"] <= case.limit


if __name__ == "__main__":
    main()
