"""A trainer and executors small enough to reason about by hand."""

import random
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nasrunner.core import (
    Blueprint,
    Genotype,
    Hear,
    Kind,
    OneByOne,
    Outcome,
    Proposal,
    SearchSpace,
    SpaceError,
    Train,
)
from nasrunner.executors.running import run_children
from nasrunner.study.rules import Rules

RULES = Rules(
    seed=3,
    max_children=20,
    max_hours=None,
    target_reward=None,
    max_failures=None,
    max_fruitless=1000,
    duplicates="reuse",
    failed_reward="worst",
    max_parameters=None,
    max_flops=None,
)


def figure1() -> SearchSpace:
    """Figure 1 of DeepArchitect: 24 architectures."""
    return _parsed(
        {
            "concat": [
                {"conv2d": {"filters": {"oneof": [32, 64]}, "kernel_size": {"oneof": [3, 5]}}},
                {"maybe_swap": ["batch_norm", "relu"]},
                {"optional": {"dropout": {"p": {"oneof": [0.5, 0.9]}}}},
                {"affine": {"units": 10}},
            ]
        }
    )


def chain(length: int = 6, width: int = 4) -> SearchSpace:
    """``length`` decisions of ``width`` options each."""
    units = {"oneof": list(range(1, width + 1))}
    return _parsed({"concat": [{"affine": {"units": units}} for _ in range(length)]})


def _parsed(tree: Mapping[str, Any]) -> SearchSpace:
    # It imports torch: two seconds that a worker of toys need not spend.
    from nasrunner.spaces.language.parsing import parse_space

    return parse_space(tree)


def toy_reward(genotype: Mapping[str, int]) -> float:
    """Between 0 and 1, the same in every process, different for most genotypes."""
    return zlib.crc32(repr(sorted(genotype.items())).encode()) / 2**32


def train_toy(proposal: Proposal, failing: Callable[[Proposal], bool] | None = None) -> Outcome:
    if failing is not None and failing(proposal):
        return Outcome(proposal, "failed", error="ZeroDivisionError: made to fail", cost_s=1.0)
    reward = toy_reward(proposal.genotype)
    return Outcome(proposal, "completed", reward, {"val_accuracy": reward}, cost_s=2.0)


def no_mistake() -> list[str]:
    """A rehearsal that finds nothing."""
    return []


def train_one(train: Train, proposal: Proposal) -> Outcome:
    """The outcome of one proposal."""
    (outcome,) = train([proposal])
    return outcome


class TakesAnything:
    """What a child trainer says that takes every proposal, one at a time, and reports nothing."""

    reports = False
    estimates = ()

    def check(self, proposal: Proposal) -> None:
        pass

    def check_heard(self, metrics: Mapping[str, Collection[int]]) -> None:
        pass

    @property
    def rewarded(self) -> Mapping[str, str]:
        return {}

    @property
    def trains_networks(self) -> bool:
        return False

    def plainest(self, proposal: Proposal) -> Proposal:
        return proposal

    def most_epochs(self, proposal: Proposal) -> int | None:
        return None

    def num_at_once(self, kind: Kind) -> int:
        return 1


@dataclass
class ToyTrainer(TakesAnything):
    """Rewards a genotype by its hash; counts what it is asked."""

    space: SearchSpace
    invalid: Callable[[Genotype], bool] = lambda genotype: False
    failing: Callable[[Proposal], bool] | None = None
    parameters: int = 100
    num_inspected: int = 0

    def inspect(self, genotype: Genotype) -> Blueprint:
        self.num_inspected += 1
        if self.invalid(genotype):
            raise SpaceError("'1/max_pool': no max_pool on an input of shape (1,)")
        values = self.space.values(genotype)
        return Blueprint(str(values), values, self.parameters, 2 * self.parameters)

    def rehearsal(self) -> Callable[[], list[str]]:
        return no_mistake

    def task(self, folder: Path, seed: int, policy: Any = None) -> Train:
        return OneByOne(partial(train_toy, failing=self.failing))


@dataclass
class ToyExecutor:
    """Runs children in ``slots`` slots; they end one at a time, in an order drawn from a seed."""

    is_remote = False
    is_on_this_machine = False
    is_simulated = False
    slots: int = 1
    seed: int = 0
    running: list[tuple[Sequence[Proposal], Iterator[Outcome]]] = field(default_factory=list)
    num_trained: int = 0
    on_wait: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def free_slots(self) -> int:
        return self.slots - len(self.running)

    def submit(
        self,
        train: Train,
        proposals: Sequence[Proposal],
        folders: Sequence[Path],
        hear: Hear | None = None,
    ) -> None:
        assert self.free_slots() > 0
        self.running.append((proposals, run_children(train, proposals, hear)))

    def wait(self) -> list[Outcome]:
        if self.running[0][0][0].index < 0:
            return list(self.running.pop()[1])  # the rehearsal
        self.on_wait()
        proposals, outcomes = self.running.pop(self.random.randrange(len(self.running)))
        self.num_trained += len(proposals)
        return list(outcomes)

    def close(self) -> None:
        self.running.clear()
