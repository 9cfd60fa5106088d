"""How often architectures skip: what shared weights are known to prefer too much."""

from collections.abc import Iterable

import numpy as np

from nasrunner.children.supernets.covering import with_every_option
from nasrunner.core import Genotype, SearchSpace
from nasrunner.core.decision import Decision
from nasrunner.core.space import are_numbers, modules_of, passes_on


class SkipCount:
    """Counts, in architectures of a space, the answers that skip.

    A skip is an option that passes its input on as it is, but for chance in training, whatever it
    is called; where a cell halves its input, also what it becomes there. An activation function of
    a recurrent cell is none: Liu et al. 2019, arXiv:1806.09055, count ``identity`` there among the
    activations. Nor is a number, such as 0 repetitions, nor an option that asks something itself.

    Args:
        space: what is searched.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._known: dict[str, frozenset[int]] = {}  # the options that skip, by kind of decision

    def shares(self, genotypes: Iterable[Genotype]) -> dict[str, float]:
        """Returns shares in [0, 1] by name; those of no decision are left out.

        ``skip_share``: of the decisions that may be answered by a skip, those that are;
        ``connection_share``: of the skip connections that a layer may take, those it takes.
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
        """Returns how many decisions of an architecture are answered by a skip."""
        return sum(self._answers(genotype)[0])

    def can_skip(self) -> bool:
        """Tells whether any decision of the space may be answered by a skip."""
        genotypes = with_every_option(self._space, np.random.default_rng(0))
        return any(self._answers(genotype)[0] for genotype in genotypes)

    def _answers(self, genotype: Genotype) -> tuple[list[bool], list[bool]]:
        """Which answers skip, of those that may; and which connections are taken."""
        skipped: list[bool] = []
        connected: list[bool] = []
        for decision in self._asked(genotype):
            index = genotype[decision.path]
            if decision.selection is not None:
                connected.append(bool(index))
            elif skips := self._skips(decision, genotype):
                skipped.append(index in skips)
        return skipped, connected

    def _skips(self, decision: Decision, genotype: Genotype) -> frozenset[int]:
        """The options of a decision that skip; none where all of them do."""
        if decision.kind not in self._known:
            found = self._looked_at(decision, genotype)
            self._known[decision.kind] = found
        return self._known[decision.kind]

    def _looked_at(self, decision: Decision, genotype: Genotype) -> frozenset[int]:
        count = len(decision.options)
        if count == 1 or are_numbers(decision.options):
            return frozenset()
        modules = modules_of(self._space, genotype, decision)
        passing = {index for index, each in enumerate(modules) if all(map(passes_on, each))}
        if not passing or len(passing) == count:
            return frozenset()
        asked = [
            {each.path for each in self._asked({**genotype, decision.path: index})}
            for index in range(count)
        ]
        by_all = set.intersection(*asked)
        return frozenset(index for index in passing if asked[index] == by_all)

    def _asked(self, genotype: Genotype) -> list[Decision]:
        """The active decisions of an architecture; those without an answer have the first."""
        asked: list[Decision] = []

        def look(decision: Decision) -> int:
            asked.append(decision)
            return genotype.get(decision.path, 0)

        self._space.walk(look)
        return asked
