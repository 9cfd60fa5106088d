"""Asynchronous successive halving: children go on as soon as they are among the best of a rung."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import Annotated

from nasrunner.core.annotations import AtLeast, Count, Seed
from nasrunner.core.records import Proposal
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Space
from nasrunner.searchers.wrappers.promoting import Promoting
from nasrunner.searchers.wrappers.rungs import AsynchronousBracket, Bracket, Rungs


class Asha(Promoting):
    """Goes on with a child as soon as it is among the best 1/eta of its rung, whoever still trains.

    Li et al. 2020, arXiv:1810.05934, algorithm 2: whenever a worker is free, the highest rung that
    has somebody to promote does so, and where there is none the inner searcher proposes one more
    child. With several brackets each has rungs of its own, of which it leaves out the lowest;
    children begin in them in the shares that Hyperband has (section 3.3 of the paper).

    Differs from the paper: another searcher takes the place of random sampling, and the last rung
    is the whole training where ``max_epochs`` is no power of eta.

    Args:
        searcher: makes the inner one from ``space=`` and ``seed=``.
        eta: of so many children one goes on, and each rung takes so many times the epochs of the
            one below; >= 2.
        rungs: the epochs after which children are compared; None: ``min_epochs`` · eta^k.
        min_epochs: of the first rung, if ``rungs`` are not given.
        max_epochs: of a whole training.
        num_brackets: the second begins with the second rung, and so on.
        fidelity: {key of the child's configuration: numbers}: children are trained anew at each of
            them, instead of being paused; and at last as they are configured.

    Raises:
        ValueError: the rungs do not increase, there are none, or fewer than brackets.
    """

    def __init__(
        self,
        *,
        searcher: Callable[..., Searcher],
        eta: Annotated[int, AtLeast(2)],
        rungs: Sequence[int] | None,
        min_epochs: Count,
        max_epochs: Count | None,
        num_brackets: Count,
        fidelity: Mapping[str, Sequence[float]] | None,
        space: Space,
        seed: Seed,
    ) -> None:
        read = Rungs.read(rungs, fidelity, min_epochs, max_epochs, eta)
        super().__init__(searcher=searcher, rungs=read, space=space, seed=seed)
        if num_brackets > read.top + 1:
            raise ValueError(
                f"num_brackets must be at most {read.top + 1}, the number of rungs with the whole "
                f"training, got {num_brackets}"
            )
        self.eta = eta
        self._brackets = [AsynchronousBracket(k, read.top, eta) for k in range(num_brackets)]
        self._num_begun = [0] * num_brackets
        self._shares = [len_of_bracket(read.top - k, read.top, eta) for k in range(num_brackets)]

    @property
    def brackets(self) -> Collection[Bracket]:
        return self._brackets

    @property
    def begins_at_several(self) -> bool:
        return len(self._brackets) > 1

    def register(self, proposal: Proposal) -> None:
        place = self._place_of_next()
        num_climbers = len(self._climbers)
        super().register(proposal)
        self._num_begun[place] += len(self._climbers) - num_climbers

    def advice(self, max_children: int | None) -> str | None:
        needed = self.eta**self.rungs.top
        if self.rungs.fidelity is not None:  # each of those below is a child, too
            needed = sum(self.eta**rung for rung in range(self.rungs.top + 1))
        if max_children is None or max_children >= needed or len(self._brackets) > 1:
            return super().advice(max_children)
        return (
            f"A budget of {max_children} children may train none to its end: at each of "
            f"{self.rungs.top} rungs one of searcher.eta={self.eta} goes on, so one of about "
            f"{needed}. "
            "Fewer rungs, a smaller eta or more children mend that."
        )

    def _bracket_of_next(self) -> Bracket:
        return self._brackets[self._place_of_next()]

    def _place_of_next(self) -> int:
        """The bracket that is furthest behind its share."""
        behind = [(n + 1) / s for n, s in zip(self._num_begun, self._shares, strict=True)]
        return behind.index(min(behind))


def len_of_bracket(num_pauses: int, most_pauses: int, eta: int) -> int:
    """Returns n, the children that a bracket of Hyperband begins with.

    ⌈(s_max + 1) / (s + 1) · eta^s⌉; Li et al. 2018, arXiv:1603.06560, algorithm 1, line 4, with
    B = (s_max + 1) · R.

    Args:
        num_pauses: s, the rungs below the whole training.
        most_pauses: s_max.
        eta: of so many children one goes on.
    """
    return math.ceil(Fraction((most_pauses + 1) * eta**num_pauses, num_pauses + 1))
