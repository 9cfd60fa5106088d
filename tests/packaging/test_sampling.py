"""What is tested of a matrix by default, and what by CI: every value of it, with pairs spread."""

import itertools
from collections import Counter

import pytest

from tests.sampling import covering, one_in, some_in_ci, spread

NINE_BY_FOUR = list(itertools.product(range(9), "abcd"))


def chosen(parameters: list[object], *marks: str) -> list[object]:
    """The values of those parameters that have these marks and no others."""
    found = []
    for each in parameters:
        assert isinstance(each, type(pytest.param()))
        if tuple(mark.name for mark in each.marks) == marks:
            found.append(each.values if len(each.values) > 1 else each.values[0])
    return found


@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize("times", [1, 2, 3])
def test_each_value_is_covered_as_often_as_is_asked_for(times: int, turn: int) -> None:
    cases = covering(NINE_BY_FOUR, times, turn)
    assert len(cases) == len(set(cases)) == 9 * times  # no more than the longest axis needs
    rows, columns = Counter(row for row, _ in cases), Counter(column for _, column in cases)
    assert set(rows.values()) == {times}
    assert columns.total() == 9 * times
    assert max(columns.values()) - min(columns.values()) <= 1


def test_what_is_in_fewer_cases_is_in_all_of_these() -> None:
    cases = [(1, "a"), (1, "b"), (2, "a"), (3, "c")]
    assert covering(cases, times=2) == cases


def test_other_turns_choose_other_pairs() -> None:
    first, second = (set(covering(NINE_BY_FOUR, turn=turn)) for turn in (0, 1))
    assert len(first & second) <= 3


def test_a_matrix_is_spread_over_default_tests_ci_and_the_rest() -> None:
    parameters = spread(NINE_BY_FOUR, is_slow=lambda row, column: column == "d")
    quick, in_ci, rest = (chosen(parameters, *m) for m in ((), ("slow",), ("matrix",)))
    assert len(parameters) == len(quick) + len(in_ci) + len(rest) == len(NINE_BY_FOUR)
    assert {column for _, column in quick} == {*"abc"}
    assert {row for row, _ in quick} == {row for row, _ in in_ci} == {*range(9)}
    assert {column for _, column in in_ci} == {*"abcd"}
    assert len(rest) == 36 - 18


def test_one_in_three_is_a_default_test() -> None:
    cases = [*range(5), pytest.param(5, marks=pytest.mark.gpu), pytest.param(6, id="six")]
    parameters = one_in(3, 2, "number", cases).args[1]
    assert chosen(parameters) == [2]
    assert chosen(parameters, "gpu") == [5]
    assert chosen(parameters, "slow") == [0, 1, 3, 4, 6]
    assert parameters[-1].id == "six"
    pairs = one_in(2, 0, ("a", "b"), [(1, 2), (3, 4)], rest=pytest.mark.matrix).args[1]
    assert (chosen(pairs), chosen(pairs, "matrix")) == ([(1, 2)], [(3, 4)])


def test_those_that_ci_is_to_have_are_slow_and_others_of_the_matrix() -> None:
    assert chosen(some_in_ci(range(4), quick=[1]), "slow") == [0, 2, 3]
    of_ci = some_in_ci(range(4), quick=[1], ci=[0])
    assert (chosen(of_ci), chosen(of_ci, "slow")) == ([1], [0])
    assert chosen(of_ci, "matrix") == [2, 3]
