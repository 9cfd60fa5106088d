"""Given architectures, each trained once at a fidelity."""

from collections.abc import Mapping, Sequence

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space


class AtFidelity(Searcher):
    """Proposes each of a list of architectures once, at one fidelity, in the order given.

    Args:
        genotypes: the architectures.
        fidelity: as of ``Proposal``.

    Raises:
        SpaceError: a genotype is no architecture of the space.
    """

    repeats = False

    def __init__(
        self,
        *,
        genotypes: Sequence[Mapping[str, int]],
        fidelity: Mapping[str, float],
        space: Space,
        seed: Seed,
    ) -> None:
        super().__init__(space=space, seed=seed)
        self.genotypes: list[Genotype] = [dict(each) for each in genotypes]
        self.fidelity = dict(fidelity)
        for genotype in self.genotypes:
            space.freeze(genotype)

    def suggest(self, index: int) -> Proposal | None:
        if index >= len(self.genotypes):
            return None
        return Proposal(index, self.genotypes[index], fidelity=self.fidelity)

    def learn(self, outcome: Outcome) -> None:
        pass

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return (Proposal(0, {}, fidelity=self.fidelity),)

    @property
    def why_done(self) -> str:
        return "each of the given architectures was proposed"
