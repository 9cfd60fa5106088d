"""A child's training against a bare PyTorch loop over the same tensors: ``ratio <= limit``.

Run it as ``python benchmarks/child_loop.py``. Every contender trains the same network on
scikit-learn's digits with the same optimizer, in one thread, and validates after every epoch. They
take turns, and each turn's ratios are taken for themselves, so that another program on the machine
slows all of them; the median counts.

* bare: the loop one would write by hand.
* fit: Lightning's ``Trainer.fit`` in the fast loop; this is what the limit is for.
* child: the whole child, with its files, network, data, checkpoint and outcome.
* ordinary fit: the same in Lightning's own loop over batches (``trainer.fast_loop=false``).
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional

from nasrunner.children.lightning import LightningTrainer
from nasrunner.composition import construct
from nasrunner.core import Proposal
from nasrunner.spaces.drawing import draw
from nasrunner.spaces.language import parse_space

CONFIG = Path(__file__).parent.parent / "conf"
GROUPS = ("data", "task", "optimizer", "scheduler", "trainer")


@dataclass(frozen=True)
class Case:
    """A network, how it is trained, and the largest ratio to a bare loop that is accepted."""

    name: str
    network: dict[str, Any]
    overrides: tuple[str, ...]
    limit: float
    repetitions: int


MLP = {"concat": [{"affine": {"units": 64}}, "relu", {"affine": {"units": 64}}, "relu"]}
CNN = {"concat": [{"conv2d": {"filters": 48, "kernel_size": 3}}, "batch_norm", "relu"] * 2}
CASES = (
    Case("digits MLP, batch 32, 10 epochs", MLP, ("trainer.max_epochs=10",), 1.5, 11),
    Case(
        "CNN, batch 128, 5 epochs", CNN, ("trainer.max_epochs=5", "data.batch_size=128"), 1.05, 11
    ),
)


def main() -> None:
    """Prints every case's ratios; exits with 1 where one is above its limit."""
    torch.set_num_threads(1)
    fit_times = timed_fit()
    is_met = True
    for case in CASES:
        config = configured(case)
        names = ("bare", "fit", "child", "ordinary fit", "ordinary child")
        times: dict[str, list[float]] = {name: [] for name in names}
        with tempfile.TemporaryDirectory() as folder:
            fast, ordinary = (
                trainer_of(case, config, fast_loop=is_fast).task(Path(folder), 0)
                for is_fast in (True, False)
            )
            network, bare = bare_loop(case, config)
            contenders = {"bare": bare, "": partial(run, fast), "ordinary ": partial(run, ordinary)}
            for turn in range(case.repetitions + 1):
                order = list(contenders)
                for name in order[turn % 3 :] + order[: turn % 3]:
                    child = seconds(contenders[name])
                    if turn == 0:
                        continue  # it warms up
                    if name == "bare":
                        times["bare"].append(child)
                    else:
                        times[f"{name}child"].append(child)
                        times[f"{name}fit"].append(fit_times[-1])
        is_met &= report(case, times, network)
    sys.exit(0 if is_met else 1)


def configured(case: Case) -> dict[str, Any]:
    """The child's configuration from the shipped YAML."""
    with initialize_config_dir(str(CONFIG.resolve()), version_base="1.3"):
        groups = ["+data=digits", "+task=classification", "+optimizer=adam", "+scheduler=none"]
        config = compose(overrides=[*groups, "+trainer=lightning", *case.overrides])
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def space_of(case: Case, config: dict[str, Any]) -> Any:
    """The space of the case's one network."""
    affine = {"affine": {"units": config["data"]["num_outputs"]}}
    return parse_space({"concat": [*case.network["concat"], affine]})


def trainer_of(case: Case, config: dict[str, Any], *, fast_loop: bool) -> LightningTrainer:
    """The child trainer, with the fast loop or with Lightning's own."""
    config = {**config, "trainer": {**config["trainer"], "fast_loop": fast_loop}}
    return construct(
        config["trainer"],
        "trainer",
        space=space_of(case, config),
        config=config,
        in_shape=tuple(config["data"]["in_shape"]),
        construct=construct,
        draw=draw,
    )


def run(train: Callable[[Proposal], Any]) -> None:
    """Trains the child."""
    outcome = train(Proposal(0, {}))
    assert outcome.status == "completed", outcome.error


def bare_loop(case: Case, config: dict[str, Any]) -> tuple[str, Callable[[], None]]:
    """The architecture, and the hand-written training of it."""
    space = space_of(case, config)
    data = construct(config["data"], "data")
    data.setup("fit")

    def train() -> None:
        torch.manual_seed(0)
        network, _ = space.build(tuple(config["data"]["in_shape"]))
        optimizer = construct(config["optimizer"], "optimizer", network.parameters())
        batches, validation = data.train_dataloader(), data.val_dataloader()
        for _ in range(config["trainer"]["max_epochs"]):
            network.train()
            for x, y in batches:
                optimizer.zero_grad()
                loss = functional.cross_entropy(network(x), y)
                loss.backward()
                optimizer.step()
            validate(network.eval(), validation)

    return space.text(), train


@torch.no_grad()
def validate(network: nn.Module, batches: Any) -> tuple[float, float]:
    """Loss and accuracy."""
    loss = correct = count = 0.0
    for x, y in batches:
        predicted = network(x)
        loss += functional.cross_entropy(predicted, y, reduction="sum").item()
        correct += (predicted.argmax(dim=1) == y).sum().item()
        count += len(x)
    return loss / count, correct / count


def timed_fit() -> list[float]:
    """Makes every ``Trainer.fit`` append its seconds to the list returned."""
    times: list[float] = []
    fit = pl.Trainer.fit

    def timed(*args: Any, **kwargs: Any) -> None:
        times.append(seconds(lambda: fit(*args, **kwargs)))

    pl.Trainer.fit = timed  # type: ignore[method-assign]
    return times


def seconds(call: Callable[[], None]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


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
