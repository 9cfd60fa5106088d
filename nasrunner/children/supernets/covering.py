"""Visits the architectures of a space until the weights that they share stop growing."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core import Genotype, SearchSpace, SpaceError
from nasrunner.core.decision import Decision
from nasrunner.core.machine.memory import least_memory_gb, memory_gb
from nasrunner.core.order import rollout

_QUIET = 200
"""After so many random architectures in a row that need nothing new no other is visited."""


@dataclass(frozen=True)
class Cover:
    """Which architectures were visited.

    Attributes:
        visited: how many.
        impossible: how many of these cannot be built.
        news: the last one that needed a further or a larger weight, counted from 1; 0: none did.
        is_settled: whether so many came after it that no other is expected to.
        largest: parameters of the largest network among them.
        possible: the first that can be built; None: none can.
        needed: those that needed a further or a larger weight, in order; also impossible ones,
            whose first layers could be built.
    """

    visited: int
    impossible: int
    news: int
    is_settled: bool
    largest: int
    possible: Genotype | None
    needed: tuple[Genotype, ...]


def cover(
    weights: SharedWeights, seed: int, most_s: float, memory: "MemoryLimit | None" = None
) -> Cover:
    """Makes the shared weights that the networks of a space need, as large as these need them.

    Each option of each decision is tried beside the largest numbers; then random architectures
    are, until 200 in a row need nothing new.

    Args:
        weights: grow.
        seed: of what is drawn.
        most_s: seconds of processor time after which no further architecture is visited.
        memory: how much of it their training may take; None: nobody asks.

    Raises:
        SpaceError: they are too large for the memory, as soon as that is known.
    """
    ends = time.process_time() + most_s
    rng = np.random.default_rng(seed)
    visited = impossible = news = quiet = largest = 0
    needed: list[Genotype] = []
    possible: Genotype | None = None
    for genotype, is_random in _visits(weights.space, rng):
        if quiet >= _QUIET or time.process_time() > ends:
            break
        before = weights.num_changes
        if memory is not None and visited.bit_count() == 1:  # 1, 2, 4, …: counting takes time
            memory.check(weights.num_parameters)
        visited += 1
        try:
            largest = max(largest, weights.size_of(genotype))
            possible = genotype if possible is None else possible
        except SpaceError:
            impossible += 1
        if weights.num_changes > before:
            news, quiet = visited, 0
            needed.append(genotype)
        elif is_random:
            quiet += 1
    if memory is not None:
        memory.check(weights.num_parameters)
    is_settled = quiet >= _QUIET
    return Cover(visited, impossible, news, is_settled, largest, possible, tuple(needed))


@dataclass(frozen=True)
class MemoryLimit:
    """How much memory the training of shared weights may take.

    Attributes:
        limit_gb: ``limits.memory_gb``, in 10^9 bytes; None: what the machine has.
        remembered: numbers that the optimizer remembers of each weight.
    """

    limit_gb: float | None = None
    remembered: int = 0

    def check(self, parameters: int) -> None:
        """Refuses shared weights that are too large, before they are made.

        Args:
            parameters: how many numbers they are.

        Raises:
            SpaceError: their training takes more memory than it may, or than this machine has.
        """
        needed_gb, there_gb = least_memory_gb(parameters, self.remembered), memory_gb()
        if self.limit_gb is not None and needed_gb > self.limit_gb:
            most = f"limits.memory_gb={self.limit_gb:.4g} (null: what this machine has)"
        elif needed_gb > there_gb:
            most = f"the {there_gb:.4g} GB that this machine has"
        else:
            return
        raise SpaceError(
            f"a supernet's training takes at least {needed_gb:.4g} GB, more than {most}: "
            f"{parameters:,} parameters, each {2 + self.remembered} times (as weight, as gradient, "
            "in the optimizer's state); legal: a smaller space, or more memory"
        )


WHOLE_MACHINE = MemoryLimit()
"""What is taken where nobody limits it: all that the machine has."""


def numbers_remembered(config: Config, construct: Construct) -> int:
    """Counts the numbers that an optimizer remembers of each weight once it has taken a step.

    Args:
        config: the supernet's.
        construct: builds the optimizer.

    Returns:
        2 for Adam, 1 for SGD with momentum. Tensors of another shape than the weight's, such as
        those of LBFGS, are not counted, nor is what an optimizer has that does not step so small a
        weight.
    """
    weight = nn.Parameter(torch.zeros(2, 3, device="cpu"))

    def closure() -> torch.Tensor:
        weight.grad = torch.ones_like(weight)
        return torch.ones(())

    optimizer = construct(config["optimizer"], "optimizer", [weight])
    try:
        optimizer.step(closure)  # as Lightning calls it
    except Exception:  # of a user's own: what is counted is the least that is taken
        return 0
    remembered = optimizer.state[weight].values()
    return sum(isinstance(each, torch.Tensor) and each.shape == weight.shape for each in remembered)


def _visits(space: SearchSpace, rng: np.random.Generator) -> Iterator[tuple[Genotype, bool]]:
    """Architectures, and whether they are random ones."""
    for genotype in with_every_option(space, rng):
        yield genotype, False
    while True:
        yield rollout(space, rng), True


def with_every_option(space: SearchSpace, rng: np.random.Generator) -> Iterator[Genotype]:
    """Yields architectures with each option of each decision, beside the largest numbers.

    Args:
        space: whose they are.
        rng: draws the answers that are no numbers.
    """
    tried: set[tuple[str, int]] = set()
    waiting: deque[Genotype] = deque([{}])
    while waiting:
        given = waiting.popleft()
        asked: list[Decision] = []

        def choose(decision: Decision) -> int:
            asked.append(decision)  # noqa: B023 - called here
            answer = given.get(decision.path)  # noqa: B023
            return _largest(decision, rng) if answer is None else answer

        genotype = space.walk(choose)
        yield genotype
        before: Genotype = {}
        for decision in asked:
            tried.add((decision.path, genotype[decision.path]))
            for option in range(len(decision.options)):
                if (decision.path, option) not in tried:
                    tried.add((decision.path, option))
                    waiting.append({**before, decision.path: option})
            before[decision.path] = genotype[decision.path]


def _largest(decision: Decision, rng: np.random.Generator) -> int:
    options = decision.options
    if decision.is_ordered:
        return options.index(max(options))
    return int(rng.integers(len(options)))
