"""How often architectures skip: what shared weights are known to prefer too much."""

from collections.abc import Iterable

from nasrunner.core import Genotype, SearchSpace
from nasrunner.core.decision import Decision

SKIPS = ("empty", "identity", "skip_connect", "skip")
"""The names of modules that pass their input on as it is."""

_OF_MODULES = ("or", "optional")
"""What the paths of decisions between modules end with; others are about a module's arguments."""


class SkipCount:
    """Counts, in architectures of a space, the answers that skip.

    Args:
        space: what is searched.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def shares(self, genotypes: Iterable[Genotype]) -> dict[str, float]:
        """Returns shares in [0, 1] by name; those of no decision are left out.

        ``skip_share``: of the decisions that may be answered by a module of ``SKIPS``, those that
        are, and an activation function is none; ``connection_share``: of the skip connections that
        a layer may take, those it takes.
        """
        skipped: list[bool] = []
        connected: list[bool] = []
        for genotype in genotypes:
            of_one = self._answers(genotype)
            skipped += of_one[0]
            connected += of_one[1]
        found = {"skip_share": skipped, "connection_share": connected}
        return {name: sum(each) / len(each) for name, each in found.items() if each}

    def number_in(self, genotype: Genotype) -> int:
        """Returns how many decisions of an architecture are answered by a module of ``SKIPS``."""
        return sum(self._answers(genotype)[0])

    def _answers(self, genotype: Genotype) -> tuple[list[bool], list[bool]]:
        """Which answers skip, of those that may; and which connections are taken."""
        skipped: list[bool] = []
        connected: list[bool] = []

        def look(decision: Decision) -> int:
            index = genotype[decision.path]
            if decision.selection is not None:
                connected.append(bool(index))
            elif _is_of_modules(decision) and any(name in SKIPS for name in decision.options):
                skipped.append(decision.options[index] in SKIPS)
            return index

        self._space.walk(look)
        return skipped, connected


def _is_of_modules(decision: Decision) -> bool:
    return decision.path.rpartition("/")[2] in _OF_MODULES
