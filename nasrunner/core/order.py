"""The architectures of a space one by one: at random, or in lexicographic order."""

from collections.abc import Collection

import numpy as np

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.space import Space

Key = frozenset[tuple[str, int]]
"""A genotype as a member of a set."""


def key_of(genotype: Genotype) -> Key:
    """The answers in no order."""
    return frozenset(genotype.items())


def rollout(space: Space, rng: np.random.Generator) -> Genotype:
    """An architecture with every active decision drawn uniformly."""
    return space.walk(lambda decision: int(rng.integers(len(decision.options))))


def untaken(space: Space, taken: Collection[Key], rng: np.random.Generator) -> Genotype:
    """A random architecture that is not taken; there must be one.

    Where it is taken, the next in lexicographic order that is not, and from the last architecture
    back to the first.
    """
    genotype = rollout(space, rng)
    while key_of(genotype) in taken:
        genotype = after(space, genotype) or first(space)
    return genotype


def first(space: Space) -> Genotype:
    """The first architecture in lexicographic order."""
    return space.walk(lambda decision: 0)


def after(space: Space, genotype: Genotype) -> Genotype | None:
    """The next architecture in lexicographic order; None after the last.

    The last answer that can be raised is; what is asked after it starts at 0. The first
    architecture, where the genotype is of an earlier stage of the space.
    """
    asked: list[Decision] = []

    def replay(decision: Decision) -> int:
        asked.append(decision)
        return genotype.get(decision.path, 0)

    if space.walk(replay) != genotype:
        return first(space)
    raisable = [d.path for d in asked if genotype[d.path] + 1 < len(d.options)]
    if not raisable:
        return None
    kept = {d.path for d in asked[: [d.path for d in asked].index(raisable[-1])]}

    def step(decision: Decision) -> int:
        if decision.path == raisable[-1]:
            return genotype[decision.path] + 1
        return genotype[decision.path] if decision.path in kept else 0

    return space.walk(step)
