"""Finds every genotype of a space by asking it again and again: the long way to its size."""

import itertools
from collections.abc import Iterator

import numpy as np

from nasrunner.core import Decision, Genotype, Space


def enumerate_genotypes(space: Space) -> Iterator[Genotype]:
    """Depth first; each genotype once, provided that decisions have unique paths."""
    answers: list[int] = []
    widths: list[int] = []
    while True:
        position = itertools.count()
        del widths[:]

        def choose(decision: Decision, position: Iterator[int] = position) -> int:
            index = next(position)
            widths.append(len(decision.options))
            if index == len(answers):
                answers.append(0)
            return answers[index]

        yield space.walk(choose)
        while answers and answers[-1] == widths[len(answers) - 1] - 1:
            answers.pop()
        if not answers:
            return
        answers[-1] += 1


def draw(space: Space, seed: int) -> Genotype:
    """A random genotype."""
    rng = np.random.default_rng(seed)
    return space.walk(lambda decision: int(rng.integers(len(decision.options))))
