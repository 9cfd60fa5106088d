"""Rank agreements with intervals, against scipy's τ and ρ."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nasrunner.calibrate.agreement import PartScores, agreement


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("digits", [9, 0])
def test_of_one_part_it_is_scipys_tau_b_and_rho(seed: int, digits: int) -> None:
    draws = np.random.default_rng(seed)
    rewards = np.round(draws.normal(size=25), digits)
    values = np.round(rewards + draws.normal(size=25), digits)
    found = agreement([PartScores(range(25), values.tolist())], rewards, rng())
    assert found.tau == pytest.approx(kendalltau(values, rewards).statistic)
    assert found.rho == pytest.approx(spearmanr(values, rewards).statistic)
    assert found.low < found.tau < found.high


def test_only_pairs_of_one_part_are_compared() -> None:
    rewards = np.array([1.0, 2.0, 3.0, 4.0])
    parts = [
        PartScores([0, 1], [5.0, 6.0]),
        PartScores([2, 3], [2.0, 1.0]),
        PartScores([0, 3], [0.0, 9.0]),
    ]
    found = agreement(parts, rewards, rng())
    assert found.tau == pytest.approx((1 - 1 + 1) / 3)
    assert found.rho == pytest.approx((1 - 1 + 1) / 3)


def test_the_mean_of_the_others_is_found_to_say_nothing() -> None:
    """Left out one by one it would be found to rank children exactly the wrong way round."""
    rewards = np.random.default_rng(0).normal(size=30)
    parts = []
    for part in range(3):
        left_out = np.arange(part, 30, 3)
        mean = float(np.delete(rewards, left_out).mean())
        parts.append(PartScores(left_out.tolist(), [mean] * 10))
    found = agreement(parts, rewards, rng())
    assert np.isnan(found.tau)
    assert np.isnan(found.rho)
    assert np.isnan(found.low)


def test_the_interval_covers_the_tau_of_the_population_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        one, noise = draws.normal(size=(2, 40))
        other = 0.7 * one + np.sqrt(1 - 0.49) * noise  # a normal pair with ρ = 0.7
        found = agreement([PartScores(range(40), other.tolist())], one, rng())
        covered += found.low <= 2 / np.pi * np.arcsin(0.7) <= found.high
    # 95 of 100 are meant; 86 are four standard deviations below
    assert covered >= 86


def test_a_child_without_a_score_is_left_out() -> None:
    rewards = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = agreement([PartScores([0, 2, 4], [1.0, 2.0, 3.0])], rewards, rng())
    assert found.tau == pytest.approx(1.0)


@pytest.mark.parametrize(("num_scored", "has_interval"), [(2, False), (4, False), (5, True)])
def test_an_interval_rests_on_five_children_with_a_score(
    num_scored: int, has_interval: bool
) -> None:
    rewards = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    scores = [3.0, 1.0, 2.0, 5.0, 4.0]
    found = agreement([PartScores(range(num_scored), scores[:num_scored])], rewards, rng())
    assert np.isfinite(found.tau)
    assert [bool(np.isfinite(end)) for end in (found.low, found.high)] == [has_interval] * 2
    parts = [PartScores([0, 1], [2.0, 1.0]), PartScores([2, 3], [1.0, 2.0])]
    parts += [PartScores([1, 4], [1.0, 2.0])][: num_scored // 5]  # five children, two at a time
    assert np.isfinite(agreement(parts, rewards, rng()).low) == has_interval
