"""Children as the benchmarks train them: from the shipped YAML, without a study."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional

from nasrunner.children.fit.module import ChildModule
from nasrunner.children.lightning import LightningTrainer
from nasrunner.compose.construct import construct
from nasrunner.core import Genotype, Outcome, Proposal, SearchSpace, Train
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw

CONFIG = Path(__file__).parent.parent / "conf"


def configured(*overrides: str, **groups: str) -> dict[str, Any]:
    """A child's configuration; groups default to classification without a scheduler."""
    names = {"task": "classification", "scheduler": "none", "trainer": "lightning"} | groups
    with initialize_config_dir(str(CONFIG.resolve()), version_base="1.3"):
        config = compose(overrides=[*(f"+{g}={n}" for g, n in names.items()), *overrides])
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def shipped_space(
    name: str,
    num_outputs: int = 10,
    hyperparameters: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """A space of the project, in which these hyperparameters are searched, too.

    Args:
        name: of its file in conf/space.
        num_outputs: of its networks.
        hyperparameters: decisions by the keys of what they set.
        changes: other values by their dotted keys in the file.
    """
    config = OmegaConf.load(CONFIG / "space" / f"{name}.yaml")
    for key, value in (changes or {}).items():
        OmegaConf.update(config, key, value)
    whole = OmegaConf.create({"data": {"num_outputs": num_outputs}, "space": config})
    plain: Any = OmegaConf.to_container(whole, resolve=True)
    searched = {"hyperparameters": dict(hyperparameters)} if hyperparameters else {}
    return parse_space({**plain["space"], **searched})


def drawn(space: SearchSpace, seed: int) -> Genotype:
    """A random child, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return space.walk(lambda decision: int(rng.integers(len(decision.options))))


def trainer_of(space: SearchSpace, config: dict[str, Any]) -> LightningTrainer:
    """The child trainer of a configuration."""
    trainer: LightningTrainer = construct(
        config["trainer"],
        "trainer",
        space=space,
        config=config,
        in_shape=tuple(config["data"]["in_shape"]),
        construct=construct,
        draw=draw,
    )
    return trainer


def run(train: Train, genotype: Genotype | None = None) -> Outcome:
    """Trains the child; exits with its error when it fails."""
    (outcome,) = train([Proposal(0, genotype or {})])
    if outcome.status != "completed":
        sys.exit(f"a child {outcome.status}: {outcome.error}")
    return outcome


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


def timed_fit(clock: Callable[[], float]) -> list[float]:
    """Makes every ``Trainer.fit`` append its seconds to the list returned."""
    times: list[float] = []
    fit = pl.Trainer.fit

    def timed(*args: Any, **kwargs: Any) -> None:
        times.append(seconds(lambda: fit(*args, **kwargs), clock))

    pl.Trainer.fit = timed  # type: ignore[method-assign]
    return times


def timed_epochs(clock: Callable[[], float]) -> list[float]:
    """Makes every child append to the list returned when each of its epochs ended."""
    moments: list[float] = []
    on_end = ChildModule.on_train_epoch_end

    def timed(self: ChildModule) -> None:
        on_end(self)
        moments.append(clock())

    ChildModule.on_train_epoch_end = timed  # type: ignore[method-assign]
    return moments


def seconds(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """How long a call takes."""
    start = clock()
    call()
    return clock() - start
