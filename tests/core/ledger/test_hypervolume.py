"""Hypervolumes, beside a count of the cells of a grid that points dominate."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.goals import Goals, reference_point
from nasrunner.core.ledger.hypervolume import dominated, hypervolume
from nasrunner.core.ledger.objectives import Objective


@pytest.mark.parametrize("dimension", [1, 2, 3])
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_hypervolume_counts_the_cells_that_points_dominate(
    dimension: int, data: st.DataObject
) -> None:
    point = st.tuples(*[st.integers(0, 6)] * dimension)
    points = data.draw(st.lists(point, max_size=8))
    reference = data.draw(st.tuples(*[st.integers(0, 3)] * dimension))
    cells = itertools.product(*(range(low, 6) for low in reference))
    counted = sum(
        any(all(x > cell for x, cell in zip(p, place, strict=True)) for p in points)
        for place in cells
    )
    assert hypervolume(points, reference) == counted


def test_more_than_three_objectives_have_no_hypervolume() -> None:
    with pytest.raises(ValueError, match="1 to 3 dimensions"):
        hypervolume([(1, 1, 1, 1)], (0, 0, 0, 0))
    goals = Goals(tuple(Objective(name, "max") for name in "abcd"))
    assert dominated(goals, [], dict.fromkeys("abcd", 0.0)) is None


def test_what_is_minimised_counts_downwards_from_the_reference() -> None:
    goals = Goals((Objective("a", "max"), Objective("b", "min", limit=10)))
    points = [(3, 4), (5, 8), (9, 11)]  # the last one is beyond the limit
    outcomes = [
        goals.judged(Outcome(Proposal(i, {}), "completed", 0.0, {"a": a, "b": b}))
        for i, (a, b) in enumerate(points)
    ]
    reference = reference_point(goals, outcomes)
    assert reference == {"a": 3, "b": 10}
    assert dominated(goals, outcomes, {"a": 1, "b": 10}) == 2 * 6 + 2 * 2
    assert dominated(goals, [], {}) is None
