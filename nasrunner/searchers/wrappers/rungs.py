"""Rungs: after how much of their trainings children are compared, and who goes on from there."""

import bisect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from nasrunner.core.records import Proposal


@dataclass(frozen=True)
class Rungs:
    """What trainings are compared after; the last rung, above these, is the whole training.

    Attributes:
        amounts: ascending: after how many epochs a training is paused, or what the fidelity is.
        fidelity: the key of the child's configuration whose number that is; None: epochs.
        max_epochs: of a whole training; None: nobody knows.
        ignored: see ``Searcher.ignored``.
    """

    amounts: tuple[float, ...]
    fidelity: str | None = None
    max_epochs: int | None = None
    ignored: str | None = None

    @classmethod
    def read(
        cls,
        rungs: Sequence[int] | None,
        fidelity: Mapping[str, Sequence[float]] | None,
        min_epochs: int,
        max_epochs: int | None,
        eta: int,
    ) -> "Rungs":
        """Reads the arguments of a searcher.

        Args:
            rungs: epochs; None: ``min_epochs`` · eta^k for k = 0, 1, … as long as a further one is
                at most ``max_epochs``.
            fidelity: a key -> its numbers, instead; None: there is none.
            min_epochs: of the first rung, if no others are given; else it is ignored, and should
                be 1, or that of the rungs.
            max_epochs: of a whole training; None: nobody knows.
            eta: how much longer each is trained than those of the rung below.

        Raises:
            ValueError: says which of them do not increase, or that there would be none.
        """
        if fidelity is not None:
            found = cls._of_fidelity(rungs, fidelity, max_epochs)
            return replace(found, ignored=_ignored("fidelity", dict(fidelity), (1,), min_epochs))
        if rungs is None:
            if max_epochs is None:
                raise ValueError(
                    "max_epochs must be the epochs of a whole training where rungs are not given; "
                    "trainer.max_epochs, which it is by default, is null or not there"
                )
            spaced, epochs = [], min_epochs
            while epochs * eta <= max_epochs:
                spaced.append(epochs)
                epochs *= eta
            if not spaced:
                raise ValueError(
                    f"max_epochs must be at least min_epochs * eta = {min_epochs * eta}, or no "
                    f"child is paused, got {max_epochs}"
                )
            return cls(tuple(spaced), max_epochs=max_epochs)
        _check_increasing("rungs", rungs)
        if rungs[0] < 1:
            raise ValueError(f"rungs must be epochs >= 1, got {list(rungs)}")
        if max_epochs is not None and rungs[-1] >= max_epochs:
            raise ValueError(
                f"rungs must be below max_epochs={max_epochs}, after which training ends anyway, "
                f"got {list(rungs)}"
            )
        ignored = _ignored("rungs", list(rungs), (1, rungs[0]), min_epochs)
        return cls(tuple(rungs), max_epochs=max_epochs, ignored=ignored)

    @classmethod
    def _of_fidelity(
        cls,
        rungs: Sequence[int] | None,
        fidelity: Mapping[str, Sequence[float]],
        max_epochs: int | None,
    ) -> "Rungs":
        if rungs is not None:
            raise ValueError(
                f"rungs={list(rungs)} pause trainings and fidelity={dict(fidelity)} trains anew; "
                "legal is one of them, the other null"
            )
        if len(fidelity) != 1:
            raise ValueError(
                "fidelity must be one key of the child's configuration with its numbers, such as "
                f"{{trainer.max_epochs: [1, 3]}}, got {dict(fidelity)}"
            )
        ((key, numbers),) = fidelity.items()
        _check_increasing(f"fidelity.{key}", numbers)
        return cls(tuple(numbers), key, max_epochs)

    @property
    def whole_epochs(self) -> Collection[int]:
        """See ``Searcher.whole_epochs``."""
        return () if self.max_epochs is None else (self.max_epochs,)

    @property
    def top(self) -> int:
        """The number of the last rung, the whole training."""
        return len(self.amounts)

    def asked(self, proposal: Proposal, rung: int) -> Proposal:
        """Returns a proposal that asks for as much training as a rung takes."""
        if rung == self.top:
            return proposal
        amount = self.amounts[rung]
        if self.fidelity is None:
            return replace(proposal, until=int(amount))
        return replace(proposal, fidelity={self.fidelity: amount})

    def of(self, proposal: Proposal) -> int | None:
        """Returns the rung that a proposal is trained for; None: it is none of them."""
        amount: float | None = proposal.until
        if self.fidelity is not None:
            amount = proposal.fidelity.get(self.fidelity)
        if amount is None:
            return self.top
        return self.amounts.index(amount) if amount in self.amounts else None


def _ignored(key: str, given: object, legal: Collection[int], min_epochs: int) -> str | None:
    """Says that epochs of the first rung are ignored where other rungs are given."""
    if min_epochs in legal:
        return None
    return (
        f"min_epochs={min_epochs} is of the first rung where neither rungs nor a fidelity are "
        f"given, and {key} is {given}; legal with it is min_epochs="
        f"{' or '.join(map(str, dict.fromkeys(legal)))}"
    )


def _check_increasing(name: str, numbers: Sequence[float]) -> None:
    if not numbers or any(b <= a for a, b in itertools.pairwise(numbers)):
        raise ValueError(f"{name} must be numbers that increase, at least one, got {list(numbers)}")


class Rung:
    """Children that were trained as far as a rung, best first; of equal ones the earlier one."""

    def __init__(self) -> None:
        self._ranked: list[tuple[float, int]] = []  # (-reward, child)
        self._staying: list[tuple[float, int]] = []  # those of them that have not gone on

    def __len__(self) -> int:
        return len(self._ranked)

    @property
    def staying(self) -> Collection[int]:
        """Those that have not gone on, best first."""
        return [child for _, child in self._staying]

    def add(self, child: int, reward: float) -> None:
        for ranked in (self._ranked, self._staying):
            bisect.insort(ranked, (-reward, child))

    def best_of(self, num_best: int) -> int | None:
        """Returns the best child that has not gone on, if it is among so many of all."""
        if not self._staying:
            return None
        first = self._staying[0]
        return first[1] if bisect.bisect_left(self._ranked, first) < num_best else None

    def go_on(self, child: int) -> None:
        place = 0  # of the best, as a rule
        while self._staying[place][1] != child:
            place += 1
        del self._staying[place]


class Bracket(ABC):
    """Children that are compared with one another at each of several rungs.

    Attributes:
        first: the rung that they are begun with.
    """

    def __init__(self, first: int, top: int) -> None:
        self.first = first
        self._rungs = {number: Rung() for number in range(first, top + 1)}
        self._top = top

    @abstractmethod
    def begin(self, child: int) -> None:
        """Takes a new child."""

    def add(self, child: int, rung: int, reward: float) -> None:
        """Takes the reward of a child at a rung."""
        self._rungs[rung].add(child, reward)

    @abstractmethod
    def drop(self, child: int, rung: int) -> None:
        """Takes notice that a child has no reward at a rung, and never will."""

    @abstractmethod
    def due(self, *, is_closed: bool) -> tuple[int, int] | None:
        """Returns a child that is to go on, and the rung that it has come to; None: there is none.

        Args:
            is_closed: whether no further children are begun.
        """

    def go_on(self, child: int, rung: int) -> None:
        """Takes notice that a child goes on from a rung."""
        self._rungs[rung].go_on(child)

    @abstractmethod
    def may_go_on(self) -> Collection[int]:
        """Returns the children that are paused and may go on."""


class AsynchronousBracket(Bracket):
    """Lets a child go on as soon as it is among the best 1/eta of its rung, the highest first.

    Li et al. 2020, arXiv:1810.05934, algorithm 2, ``get_job``.
    """

    def __init__(self, first: int, top: int, eta: int) -> None:
        super().__init__(first, top)
        self._eta = eta

    def begin(self, child: int) -> None:
        pass

    def drop(self, child: int, rung: int) -> None:
        pass

    def due(self, *, is_closed: bool) -> tuple[int, int] | None:
        for number in range(self._top - 1, self.first - 1, -1):
            rung = self._rungs[number]
            if (child := rung.best_of(len(rung) // self._eta)) is not None:
                return child, number
        return None

    def may_go_on(self) -> Collection[int]:
        return [child for n, rung in self._rungs.items() if n < self._top for child in rung.staying]


class SynchronousBracket(Bracket):
    """Lets the best of a rung go on once all that are trained for it have ended.

    Jamieson & Talwalkar 2016, arXiv:1502.07943, algorithm 1; Li et al. 2018, arXiv:1603.06560.

    Args:
        first: see ``Bracket``.
        sizes: how many children are trained for each rung from there.
    """

    def __init__(self, first: int, sizes: Sequence[int]) -> None:
        super().__init__(first, first + len(sizes) - 1)
        self._sizes = dict(enumerate(sizes, first))
        self._num_begun = dict.fromkeys(self._sizes, 0)
        self._num_ended = dict.fromkeys(self._sizes, 0)

    @property
    def is_full(self) -> bool:
        """Whether it takes no further children."""
        return self._num_begun[self.first] >= self._sizes[self.first]

    def begin(self, child: int) -> None:
        self._num_begun[self.first] += 1

    def add(self, child: int, rung: int, reward: float) -> None:
        super().add(child, rung, reward)
        self._num_ended[rung] += 1

    def drop(self, child: int, rung: int) -> None:
        self._num_ended[rung] += 1

    def go_on(self, child: int, rung: int) -> None:
        super().go_on(child, rung)
        self._num_begun[rung + 1] += 1

    def due(self, *, is_closed: bool) -> tuple[int, int] | None:
        is_full = is_closed or self.is_full
        for number in range(self.first, self._top):
            if not is_full or self._num_ended[number] < self._num_begun[number]:
                return None  # somebody is still to come to this rung
            if (child := self._next(number)) is not None:
                return child, number
        return None

    def may_go_on(self) -> Collection[int]:
        children: list[int] = []
        for number in range(self.first, self._top):
            left = max(0, self._sizes[number + 1] - self._num_begun[number + 1])
            children += list(self._rungs[number].staying)[:left]
        return children

    @property
    def is_over(self) -> bool:
        """Whether nobody goes on in it any more, and all have ended."""
        return (
            self.is_full
            and self._num_ended == self._num_begun
            and self.due(is_closed=False) is None
        )

    def _next(self, rung: int) -> int | None:
        """Who goes on next from a rung to which nobody comes any more."""
        if self._num_begun[rung + 1] >= self._sizes[rung + 1]:
            return None
        return next(iter(self._rungs[rung].staying), None)
