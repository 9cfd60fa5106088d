"""Fronts and crowding, by hand and beside a comparison of all with all."""

import math

import numpy as np

from nasrunner.searchers.evolution.crowding import crowding_distances, front_numbers, qualities


def test_fronts_are_those_of_a_comparison_of_all_with_all() -> None:
    scores_PM = np.random.default_rng(3).integers(0, 6, size=(40, 3)).astype(float)
    left, number = set(range(40)), 0
    found = front_numbers(scores_PM)
    while left:
        front = {
            i
            for i in left
            if not any(
                (scores_PM[j] >= scores_PM[i]).all() and (scores_PM[j] > scores_PM[i]).any()
                for j in left
            )
        }
        assert {i for i in range(40) if found[i] == number} == front
        left, number = left - front, number + 1
    assert number > 3


def test_crowding_distances_by_hand() -> None:
    scores_PM = np.array([[0.0, 10.0], [1.0, 8.0], [2.0, 4.0], [4.0, 0.0]])
    # (2 - 0) / 4 + (10 - 4) / 10 and (4 - 1) / 4 + (8 - 0) / 10
    assert crowding_distances(scores_PM).tolist() == [math.inf, 1.1, 1.55, math.inf]
    assert crowding_distances(np.ones((3, 2))).tolist() == [0.0, 0.0, 0.0]


def test_members_within_limits_come_before_those_beyond_by_how_far_these_are() -> None:
    scores = [(9.0, 9.0), (1.0, 0.0), (0.0, 0.0), (5.0, 5.0), (0.0, 1.0)]
    found = qualities(scores, [0.5, 0.0, 0.0, 0.25, 0.0])
    assert [quality[0] for quality in found] == [-3, 0, -1, -2, 0]
    assert [quality[0] for quality in qualities(scores, [2.0, 3.0, 1.0, 1.0, 4.0])] == [
        -1,
        -2,
        0,
        0,
        -3,
    ]
