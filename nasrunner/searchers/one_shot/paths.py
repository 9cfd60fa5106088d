"""Policies that draw the architectures of a supernet's steps, and learn nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.order import rollout
from nasrunner.core.space import Space


class FairPaths:
    """Draws architectures in which each option of a decision occurs as often as its others.

    Of the draws in which a decision is asked, as many in a row as it has options have each of them
    once, in random order; so that no weight is trained more often than its rivals. Chu et al. 2021,
    arXiv:1907.01845 (FairNAS), strict fairness.

    Differs from the paper: each draw is a step of the optimizer, where theirs adds up the gradients
    of as many draws as there are options; decisions may have different numbers of options, and be
    asked in some draws alone; and an architecture that cannot be built is drawn for nothing.

    Args:
        space: whose decisions are answered.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._left: dict[str, list[int]] = {}  # decision path -> what its present row still has

    def draw(self, count: int, rng: np.random.Generator) -> Sequence[Genotype]:
        """Draws architectures, one after the other."""

        def choose(decision: Decision) -> int:
            if not (left := self._left.setdefault(decision.path, [])):
                left.extend(rng.permutation(len(decision.options)).tolist())
            return left.pop()

        return [self.space.walk(choose) for _ in range(count)]

    def learn(self, genotypes: Sequence[Genotype], rewards: Sequence[float]) -> None:
        """Ignores how good they were."""

    def state_dict(self) -> Mapping[str, Any]:
        """Returns the options that are left of each decision."""
        return {"left": self._left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state_dict`` returned."""
        self._left = {path: list(left) for path, left in state["left"].items()}


class UniformPaths:
    """Draws each option of a decision with the same probability.

    Guo et al. 2019, arXiv:1904.00420 (SPOS), uniform sampling.

    Args:
        space: whose decisions are answered.
    """

    def __init__(self, space: Space) -> None:
        self.space = space

    def draw(self, count: int, rng: np.random.Generator) -> Sequence[Genotype]:
        """Draws architectures, independently of one another."""
        return [rollout(self.space, rng) for _ in range(count)]

    def learn(self, genotypes: Sequence[Genotype], rewards: Sequence[float]) -> None:
        """Ignores how good they were."""

    def state_dict(self) -> Mapping[str, Any]:
        """Returns nothing: it remembers nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores nothing."""
