"""Answers that keep a decision open: every option of it stays in the module that is resolved."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn, TypeVar

from nasrunner.core.decision import Decision, parts_of
from nasrunner.core.errors import SpaceError
from nasrunner.core.space.part import Part

P = TypeVar("P", bound=Part)

Answers = tuple[tuple[str, int], ...]
"""The answers that select an option: (decision path, option index) of each decision."""


class Case(NamedTuple):
    """One of the values that something can have.

    Attributes:
        answers: that select it; none: it is the only one.
        value: it.
    """

    answers: Answers
    value: Any


class KeepsAll:
    """Answers decisions with ``Kept``, in the place of a ``choose``.

    A decision of one option, and one that is forced, is answered as ever.

    Args:
        choice: makes the module that holds all of several cases.

    Attributes:
        kept: the decisions that are kept open, by path, in the order asked.
        selections: of decisions that select some of these, the paths that each option selects.
        followed: of decisions that one of these answers, which decision says which, and the paths
            by its options.
    """

    holds_all: bool = True
    """Whether every decision is kept open, so that modules may hold what no architecture has."""

    def __init__(self, choice: Callable[[Sequence[Case]], Part]) -> None:
        self._choice = choice
        self.kept: dict[str, Decision] = {}
        self.selections: dict[str, tuple[tuple[str, ...], ...]] = {}
        self.followed: dict[str, tuple[str, tuple[str, ...]]] = {}

    def __call__(self, decision: Decision) -> Any:
        if decision.forced is not None:
            return decision.forced
        if len(decision.options) == 1:
            return 0
        self.kept[decision.path] = decision
        return Kept(decision, self)

    def made(self, case: Case, make: Callable[[Any], Any]) -> Case:
        """Returns the case of what ``make`` makes of its value, whose decisions are asked here."""
        return Case(case.answers, make(case.value))

    def widen(self, path: str, labels: Sequence[str]) -> list[Answers]:
        """Gives a decision that is kept open further options, which no architecture has.

        Args:
            path: the decision's.
            labels: what these are called.

        Returns:
            The answers that select them.
        """
        before = self.kept[path]
        self.kept[path] = replace(before, options=(*before.options, *labels))
        first = len(before.options)
        return [((path, first + place),) for place in range(len(labels))]

    def keep(self, decision: Decision) -> str:
        """Keeps a decision open that no architecture has, in the place of those that it has.

        Returns:
            Its path.
        """
        self.kept[decision.path] = decision
        return decision.path

    def chosen(self, cases: Iterable[Case]) -> Any:
        """Returns the module that holds all cases; the only one as it is."""
        found = list(cases)
        return found[0].value if len(found) == 1 else self._choice(found)


class _Undecided:
    """Refuses to be what only one option is: a number, a position, a truth value."""

    __slots__ = ()

    @property
    def about(self) -> str:
        """The decision, as a person reads of it."""
        raise NotImplementedError

    def refuse(self) -> NoReturn:
        """Raises the error that says which decision is no mixture."""
        raise SpaceError(
            f"{self.about} cannot be kept open: what it decides is no sum of its options' outputs; "
            "legal: options that are layers of one place, or a search that runs one option at a "
            "time, such as searcher=spos or enas"
        )

    def __bool__(self) -> bool:
        self.refuse()

    def __index__(self) -> int:
        self.refuse()

    def _refused(self, *_: object) -> NoReturn:
        self.refuse()

    __int__ = __float__ = __iter__ = __len__ = __neg__ = _refused
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __floordiv__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = _refused


class Kept(_Undecided):
    """The answer to a decision that is kept open.

    A module that knows no such answer uses it as an index or a truth value, which is refused.

    Args:
        decision: it.
        keeping: who answered.
    """

    __slots__ = ("decision", "keeping")

    def __init__(self, decision: Decision, keeping: KeepsAll) -> None:
        self.decision = decision
        self.keeping = keeping

    @property
    def about(self) -> str:
        return f"{self.decision.path!r}"

    def each(self, make: Callable[[int], Any]) -> list[Case]:
        """Returns what an option makes, for all of them in order.

        Args:
            make: called with the index of each.
        """
        indices = range(len(self.decision.options))
        return [Case(((self.decision.path, index),), make(index)) for index in indices]

    def module(self, make: Callable[[int], Part]) -> Any:
        """Returns the module that holds what ``make`` makes of every option."""
        return self.keeping.chosen(self.each(make))


class KeptValue(_Undecided):
    """An argument of a module, every value of which is kept.

    Args:
        cases: the values.
        keeping: who answered.
    """

    __slots__ = ("cases", "keeping")

    def __init__(self, cases: Sequence[Case], keeping: KeepsAll) -> None:
        self.cases = tuple(cases)
        self.keeping = keeping

    @property
    def about(self) -> str:
        paths = dict.fromkeys(path for case in self.cases for path, _ in case.answers)
        return " and ".join(map(repr, paths))


def cases_of(value: Any) -> list[Case]:
    """Returns all values that a resolved argument stands for, one if no decision in it is kept."""
    if isinstance(value, KeptValue):
        return list(value.cases)
    if isinstance(value, Part) or not isinstance(value, Mapping | list | tuple):
        return [Case((), value)]
    names, parts = zip(*parts_of(value), strict=True) if value else ((), ())
    found = []
    for each in itertools.product(*map(cases_of, parts)):
        answers = tuple(answer for case in each for answer in case.answers)
        values = [case.value for case in each]
        if isinstance(value, Mapping):
            found.append(Case(answers, dict(zip(names, values, strict=True))))
        else:
            found.append(Case(answers, values if isinstance(value, list) else tuple(values)))
    return found if len(found) > 1 else [Case((), value)]


def opened(value: Any, make: Callable[[Any], P], ask: object) -> P:
    """Makes a module of an argument, or one that holds a module for each of its values.

    Args:
        value: the resolved argument.
        make: makes the module of one value.
        ask: what the argument was asked with.
    """
    if not isinstance(ask, KeepsAll):
        return make(value)
    found: P = ask.chosen(ask.made(case, make) for case in cases_of(value))
    return found
