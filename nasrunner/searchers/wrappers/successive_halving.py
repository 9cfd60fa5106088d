"""Successive halving: of so many children the best go on, once all have come to a rung."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

from nasrunner.core.annotations import AtLeast, Count, Seed
from nasrunner.core.records import Outcome, Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.wrappers.promoting import Promoting
from nasrunner.searchers.wrappers.rungs import Bracket, Rungs, SynchronousBracket


class Synchronous(Promoting):
    """Begins bracket after bracket, each as soon as the one before has all its children.

    While the last of a rung are trained, free workers begin children of the next bracket.
    """

    def __init__(
        self, *, searcher: Callable[..., Searcher], rungs: Rungs, space: Space, seed: int
    ) -> None:
        super().__init__(searcher=searcher, rungs=rungs, space=space, seed=seed)
        self._open = [self.bracket(0)]
        self._num_brackets = 1

    @property
    def brackets(self) -> Collection[Bracket]:
        return self._open

    def register(self, proposal: Proposal) -> None:
        super().register(proposal)
        if self._open[-1].is_full:
            self._open.append(self.bracket(self._num_brackets))
            self._num_brackets += 1

    def observe(self, outcome: Outcome) -> None:
        super().observe(outcome)
        self._open = [each for each in self._open if not each.is_over]

    @abstractmethod
    def bracket(self, number: int) -> SynchronousBracket:
        """Returns bracket 0, 1, 2, …"""

    def _bracket_of_next(self) -> Bracket:
        return self._open[-1]


class SuccessiveHalving(Synchronous):
    """Trains so many children a little, the best 1/eta of them further, and again.

    Jamieson & Talwalkar 2016, arXiv:1502.07943, algorithm 1, with a factor of eta instead of two.
    When a bracket has all its children, the next one begins, until a budget is spent.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        num_children: n: those a bracket begins with, at least eta^(number of rungs), so that one
            comes to its end.
        eta: of so many children one goes on, and each rung takes so many times the epochs of the
            one below; >= 2.
        rungs, min_epochs, max_epochs, fidelity: see ``Asha``.

    Raises:
        ValueError: the rungs do not increase, there are none, or no child would come to its end.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        num_children: Count,
        eta: Annotated[int, AtLeast(2)],
        rungs: Sequence[int] | None,
        min_epochs: Count,
        max_epochs: Count | None,
        fidelity: Mapping[str, Sequence[float]] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        read = Rungs.read(rungs, fidelity, min_epochs, max_epochs, eta)
        self.sizes = [num_children // eta**rung for rung in range(read.top + 1)]
        if self.sizes[-1] < 1:
            raise ValueError(
                f"num_children must be at least eta^{read.top} = {eta**read.top}, or none comes to "
                f"its end, got {num_children}"
            )
        super().__init__(searcher=searcher, rungs=read, space=space, seed=seed)

    @property
    def begins_at_several(self) -> bool:
        return False

    def bracket(self, number: int) -> SynchronousBracket:
        return SynchronousBracket(0, self.sizes)

    def advice(self, max_children: int | None) -> str | None:
        if max_children is None or max_children >= self.sizes[0]:
            return super().advice(max_children)
        return (
            f"A budget of {max_children} children is less than a bracket, of which the best go on: "
            f"searcher.num_children={self.sizes[0]}."
        )
