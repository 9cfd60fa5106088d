"""Search by gradients: one supernet of all options, and what is derived from it is trained."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence

from nasrunner.core.annotations import Seed
from nasrunner.core.decision import Genotype
from nasrunner.core.order import Key, key_of
from nasrunner.core.records import KnownOutcome, Outcome, Proposal
from nasrunner.core.relaxation import Relaxation
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.one_shot.unscheduled import check_unscheduled


class GradientSearch(Searcher):
    """Trains one supernet that holds all options, and trains what was derived from first weights.

    The supernet's outcome says what it has found: the derived architecture first, and then those
    that were drawn. Each of them is a child, and these rewards are the study's.

    Args:
        supernet: the settings that the supernet is trained with instead of a child's: dotted keys
            of its configuration -> numbers, such as ``trainer.max_epochs``; None: there are none.
    """

    repeats = False

    def __init__(self, *, supernet: Mapping[str, float] | None, space: Space, seed: Seed) -> None:
        super().__init__(space=space, seed=seed)
        check_unscheduled(space, type(self).__name__)
        self.supernet = dict(supernet or {})
        self._supernet: int | None = None  # its index, once it is proposed
        self._found: list[Genotype] | None = None  # to be trained, the derived one first
        self._taken: set[Key | str] = set()  # what was trained, and its network
        self._num_found = 0
        self._num_lacking = 0  # of those that were to be drawn
        self._skips: float | None = None  # of the derived one, where there is a most of them

    @abstractmethod
    def policy(self) -> Relaxation:
        """Returns how options are weighed, and what the weights learn by."""

    @property
    def is_ready(self) -> bool:
        return self._supernet is None or self._found is not None

    def suggest(self, index: int) -> Proposal | None:
        if self._supernet is None:
            return Proposal(index, {}, kind="supernet", fidelity=self.supernet)
        return Proposal(index, self._found[0]) if self._found else None

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if proposal.kind == "supernet":
            self._supernet = proposal.index
            return
        self._taken |= self._known_by(proposal.genotype)
        if self._found is not None:  # what users give to begin with comes before
            self._found = self._left(self._found)

    def learn(self, outcome: Outcome) -> None:
        if outcome.proposal.kind == "supernet":
            self._found = self._left(outcome.found)
            self._num_found = len(self._found)
            self._num_lacking = 1 + self.policy().num_sampled - len(outcome.found)
            self._skips = outcome.metrics.get("found_skips")

    def forget(self, proposal: Proposal) -> None:
        if proposal.kind == "supernet":
            self._found = []

    def learn_known(self, outcomes: Sequence[KnownOutcome]) -> None:
        pass

    @property
    def ignores_known(self) -> str:
        return "its supernet learns from gradients, and other studies have rewards of trainings"

    def needs(self) -> Collection[int]:
        return ()

    @property
    def asks_for(self) -> Sequence[Proposal]:
        return (Proposal(0, {}, kind="supernet", fidelity=self.supernet),)

    @property
    def why_done(self) -> str:
        found = "1 architecture" if self._num_found == 1 else f"{self._num_found} architectures"
        return f"what the supernet has found is trained, {found}{self._fewer}{self._beyond_skips}"

    def advice(self, max_children: int | None) -> str | None:
        num_found = 1 + self.policy().num_sampled
        if max_children is None or max_children >= num_found:
            return None
        return (
            f"max_children={max_children} ends the search before the derived architecture "
            f"and searcher.num_sampled={num_found - 1} others are trained."
        )

    @property
    def _fewer(self) -> str:
        """Says so where fewer architectures were found than were asked for."""
        if self._num_lacking <= 0:
            return ""
        return (
            f"; for searcher.num_sampled={self.policy().num_sampled} no further network was drawn "
            "that differs from these and has a path from its input to its output"
        )

    @property
    def _beyond_skips(self) -> str:
        """Says so where every derived architecture had more skips than it may."""
        most = self.policy().max_skips
        if most is None or self._skips is None or self._skips <= most:
            return ""
        return (
            f"; the derived one has {self._skips:.0f} skips, more than searcher.max_skips={most}: "
            "each that was derived had, and it is the first of them"
        )

    def _left(self, found: Sequence[Genotype]) -> list[Genotype]:
        """Those that were not trained, each network once."""
        taken, left = set(self._taken), []
        for genotype in found:
            known_by = self._known_by(genotype)
            if taken.isdisjoint(known_by):
                left.append(dict(genotype))
            taken |= known_by
        return left

    def _known_by(self, genotype: Genotype) -> set[Key | str]:
        """Itself, and its network where the study tells networks apart."""
        network = self.identity_of(genotype)
        return {key_of(genotype)} if network is None else {key_of(genotype), network}
