"""How often architectures skip: what shared weights are known to prefer too much."""

from collections.abc import Iterable

from nasrunner.core import Genotype, SearchSpace
from nasrunner.core.space import enter

SKIPS = ("empty", "identity", "skip_connect", "skip")
"""The names of options that pass their input on as it is."""


class SkipCount:
    """Counts, in architectures of a space, the answers that skip.

    Args:
        space: what is searched.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._skips: dict[str, frozenset[int]] = {}  # decision path -> its options that skip
        self._connections: set[str] = set()
        for each in space.decisions(enter(space)):
            options = frozenset(i for i, name in enumerate(each.options) if name in SKIPS)
            if each.selection is not None:
                self._connections.add(each.path)
            elif options:
                self._skips[each.path] = options

    def shares(self, genotypes: Iterable[Genotype]) -> dict[str, float]:
        """Returns shares in [0, 1] by name; those of no decision are left out.

        ``skip_share``: of the decisions that may be answered by an option of ``SKIPS``, those that
        are; ``connection_share``: of the skip connections that a layer may take, those it takes.
        """
        skipped: list[bool] = []
        connected: list[bool] = []
        for genotype in genotypes:
            skipped += [g in self._skips[p] for p, g in genotype.items() if p in self._skips]
            connected += [bool(g) for p, g in genotype.items() if p in self._connections]
        found = {"skip_share": skipped, "connection_share": connected}
        return {name: sum(each) / len(each) for name, each in found.items() if each}
