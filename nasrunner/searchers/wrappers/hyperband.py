"""Hyperband: successive halving with several trade-offs of many children against long trainings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from nasrunner.core.annotations import AtLeast, Count, Seed
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.wrappers.asha import len_of_bracket
from nasrunner.searchers.wrappers.rungs import Rungs, SynchronousBracket
from nasrunner.searchers.wrappers.successive_halving import Synchronous


class Hyperband(Synchronous):
    """Successive halving in brackets that begin with ever fewer children, at ever higher rungs.

    Li et al. 2018, arXiv:1603.06560, algorithm 1. After the last bracket, whose children are all
    trained to their ends, the first one comes again, until a budget is spent.

    Differs from the paper: another searcher takes the place of random sampling; epochs are whole,
    the last rung being the whole training where ``max_epochs`` is no power of eta; and the next
    bracket begins while the last children of a rung are trained.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        eta: of so many children one goes on, and each rung takes so many times the epochs of the
            one below; >= 2.
        rungs, min_epochs, max_epochs, fidelity: see ``Asha``.

    Raises:
        ValueError: the rungs do not increase, or there are none.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        eta: Annotated[int, AtLeast(2)],
        rungs: Sequence[int] | None,
        min_epochs: Count,
        max_epochs: Count | None,
        fidelity: Mapping[str, Sequence[float]] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        read = Rungs.read(rungs, fidelity, min_epochs, max_epochs, eta)
        self.eta = eta
        super().__init__(searcher=searcher, rungs=read, space=space, seed=seed)

    @property
    def begins_at_several(self) -> bool:
        return True

    def sizes(self, number: int) -> tuple[int, ...]:
        """Returns how many children bracket ``number`` trains for each of its rungs."""
        num_pauses = self.rungs.top - number % (self.rungs.top + 1)
        begun = len_of_bracket(num_pauses, self.rungs.top, self.eta)
        return tuple(begun // self.eta**rung for rung in range(num_pauses + 1))

    def bracket(self, number: int) -> SynchronousBracket:
        return SynchronousBracket(number % (self.rungs.top + 1), self.sizes(number))

    def advice(self, max_children: int | None) -> str | None:
        first = self.sizes(0)[0]
        if max_children is None or max_children >= first:
            return super().advice(max_children)
        return (
            f"A budget of {max_children} children is less than the first bracket of Hyperband, of "
            f"which the best go on: {first}."
        )
