"""Tests of many cases alike: a few run by default, more in CI, and all with ``make test-all``."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pytest

Case = tuple[Any, ...]


def some_in_ci(cases: Iterable[Any], quick: Collection[Any], ci: Collection[Any] = ()) -> list[Any]:
    """Marks all but the quick cases as slow; where some are ``ci``'s, the others as matrix."""

    def marks(case: Any) -> list[pytest.MarkDecorator]:
        if case in quick:
            return []
        return [pytest.mark.matrix if ci and case not in ci else pytest.mark.slow]

    return [pytest.param(case, marks=marks(case)) for case in cases]


def covering(cases: Sequence[Case], times: int = 1, turn: int = 0) -> list[Case]:
    """Chooses few of the cases, so that each value at each place is in ``times`` of them.

    What is in fewer cases is in all of these. Pairs are spread: of the cases with a value, those
    come first whose other values were chosen least. The choice depends on its arguments alone.

    Args:
        cases: of one length; any part of the product of their values.
        times: how often each value is chosen at least.
        turn: begins elsewhere, so that tests of several properties share few of their pairs.
    """
    places = range(len(cases[0]))
    having: list[dict[Any, list[Case]]] = [{} for _ in places]
    for case in cases:
        for place in places:
            having[place].setdefault(case[place], []).append(case)
    used = [Counter[Any]() for _ in places]
    chosen: dict[Case, None] = {}
    for place in sorted(places, key=lambda place: -len(having[place])):
        for number, (value, group) in enumerate(having[place].items()):
            start = (turn + number) % len(group)
            turned = [*group[start:], *group[:start]]
            while used[place][value] < min(times, len(group)):
                case = min(
                    (each for each in turned if each not in chosen),
                    key=lambda each: sum(used[other][each[other]] for other in places),
                )
                chosen[case] = None
                for other in places:
                    used[other][case[other]] += 1
    return [case for case in cases if case in chosen]


def spread(
    cases: Iterable[Case],
    *,
    quick: int = 1,
    ci: int = 1,
    turn: int = 0,
    is_slow: Callable[..., bool] = lambda *case: False,
) -> list[Any]:
    """Makes a matrix the parameters of a test: a covering array by default, another in CI.

    Args:
        quick: how often each value is in the default tests.
        ci: how often it is in those of CI beside them, which are marked as slow; what is left is
            marked as matrix.
        turn: of ``covering``.
        is_slow: says of a case that it never is a default test; called with its values.
    """
    cases = [*cases]
    fast = [case for case in cases if not is_slow(*case)]
    default = set(covering(fast, quick, turn) if fast and quick else ())
    left = [case for case in cases if case not in default]
    in_ci = set(covering(left, ci, turn) if left and ci else ())
    return [
        pytest.param(
            *case,
            marks=[]
            if case in default
            else [pytest.mark.slow if case in in_ci else pytest.mark.matrix],
        )
        for case in cases
    ]


def one_in(
    every: int,
    turn: int,
    names: str | Sequence[str],
    cases: Iterable[Any],
    *,
    rest: pytest.MarkDecorator = pytest.mark.slow,
    **named: Any,
) -> pytest.MarkDecorator:
    """Parametrizes a test with all cases, of which one in so many is a default test.

    Args:
        every: the cases from one of those to the next.
        turn: the place of the first, so that tests of several properties share few cases.
        rest: the mark of all others that have none of their own.
    """
    is_one = isinstance(names, str) and "," not in names
    marked: list[Any] = []
    for index, case in enumerate(cases):
        if isinstance(case, type(pytest.param())):
            values, marks, name = case.values, [*case.marks], case.id
        else:
            values, marks, name = (case,) if is_one else case, [], None
        if index % every != turn % every and not marks:
            marks = [rest]
        marked.append(pytest.param(*values, marks=marks, id=name))
    return pytest.mark.parametrize(names, marked, **named)
