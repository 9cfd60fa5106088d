import math

import numpy as np
import pytest
from scipy import stats

from nasrunner.report.comparison.statistics import (
    Difference,
    Estimate,
    best_so_far,
    difference,
    estimate,
    mean_and_error,
    share_above,
    stepped,
    student_t,
)

nan = math.nan


def test_the_best_so_far_is_undefined_before_the_first_reward_and_kept_through_failures():
    rewards = np.array([nan, nan, 0.5, nan, 0.3, 0.7, nan])
    expected = [nan, nan, 0.5, 0.5, 0.5, 0.7, 0.7]
    np.testing.assert_array_equal(best_so_far(rewards), expected)
    assert len(best_so_far(np.zeros(0))) == 0


def test_negative_rewards_have_a_best():
    np.testing.assert_array_equal(best_so_far(np.array([-3.0, -5.0, -1.0])), [-3, -3, -1])


def test_a_stepped_curve_keeps_each_value_until_the_next_place():
    places, values = np.array([2.0, 4.0, 4.0]), np.array([0.1, 0.2, 0.3])
    at = np.array([0.0, 1.99, 2.0, 3.9, 4.0, 100.0])
    np.testing.assert_array_equal(stepped(places, values, at), [nan, nan, 0.1, 0.1, 0.3, 0.3])


def test_a_child_without_a_reward_is_below_every_threshold():
    rewards = np.array([0.5, nan, 0.8, 0.8])
    shares = share_above(rewards, np.array([0.0, 0.5, 0.6, 0.8, 0.9]))
    np.testing.assert_array_equal(shares, [0.75, 0.75, 0.5, 0.5, 0.0])
    assert np.isnan(share_above(np.zeros(0), np.array([0.5]))).all()


def test_mean_and_standard_error_by_hand():
    # 1, 2, 6: mean 3, variance (4 + 1 + 9) / 2 = 7
    mean, error = mean_and_error(np.array([[1.0, 1.0], [2.0, nan], [6.0, 1.0]]))
    np.testing.assert_allclose(mean, [3.0, nan])
    np.testing.assert_allclose(error, [math.sqrt(7 / 3), nan])


def test_one_study_has_a_mean_and_no_error():
    mean, error = mean_and_error(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(mean, [1.0, 2.0])
    assert np.isnan(error).all()


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.7062), (4, 2.77645), (9, 2.26216), (49, 2.00958)]
)
def test_quantiles_of_students_t_are_those_of_the_tables(degrees, quantile):
    assert student_t(0.975, degrees) == pytest.approx(quantile, rel=1e-5)
    assert student_t(0.025, degrees) == pytest.approx(-quantile, rel=1e-5)


def test_an_interval_of_many_values_is_the_percentile_bootstrap_of_scipy():
    values = np.random.default_rng(5).exponential(size=400)
    found = estimate(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.04 * width)


def test_an_interval_of_few_values_is_wider_than_the_plain_percentiles():
    values = [0.1, 0.4, 0.5, 0.6, 1.1]
    found = estimate(values)
    plain = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.low < plain.low
    assert found.high > plain.high


@pytest.mark.parametrize(("size", "at_least"), [(5, 0.89), (10, 0.92)])
def test_about_95_percent_of_the_intervals_hold_the_true_mean(size, at_least):
    rng = np.random.default_rng(0)
    found = [estimate(rng.normal(size=size)) for _ in range(300)]
    share = np.mean([each.low <= 0 <= each.high for each in found])
    assert at_least <= share <= 0.98


def test_too_few_values_have_no_interval():
    assert estimate([2.0]) == Estimate(2.0, None, None)
    assert math.isnan(estimate([]).mean)


def test_equal_values_have_an_interval_of_no_width():
    found = estimate([0.7, 0.7, 0.7])
    assert (found.low, found.high) == pytest.approx((0.7, 0.7))


def test_an_estimate_is_the_same_every_time():
    assert estimate([1.0, 2.0, 4.0]) == estimate([1.0, 2.0, 4.0])


def test_searchers_are_compared_at_the_seeds_that_both_have():
    one = {0: 1.0, 1: 5.0, 2: 9.0, 7: 100.0}
    other = {0: 0.5, 1: 4.5, 2: 9.5, 8: -100.0}
    found = difference(one, other)
    assert found.is_paired
    assert found.counts == (3, 3)
    assert found.num_ahead == 2
    assert found.estimate.mean == pytest.approx((0.5 + 0.5 - 0.5) / 3)


def test_a_few_seeds_in_common_do_not_make_many_others_useless():
    one = {seed: 1.0 + 0.01 * seed for seed in range(0, 10)}
    other = {seed: 0.01 * seed for seed in range(8, 20)}
    found = difference(one, other)
    assert not found.is_paired
    assert found.counts == (10, 12)


def test_pairs_show_what_the_spread_between_seeds_hides():
    level = {seed: 10.0 * seed for seed in range(6)}
    ahead = {seed: value + 1 + 0.01 * seed for seed, value in level.items()}
    assert difference(ahead, level).verdict == "ahead"
    assert difference(level, ahead).verdict == "behind"
    elsewhere = {seed + 100: value for seed, value in level.items()}
    unpaired = difference(ahead, elsewhere)
    assert not unpaired.is_paired
    assert unpaired.counts == (6, 6)
    assert unpaired.num_ahead is None
    assert unpaired.verdict == "undecided"


def test_an_unpaired_difference_of_far_groups_is_seen():
    one = {seed: 5.0 + 0.1 * seed for seed in range(5)}
    other = {seed: 1.0 + 0.1 * seed for seed in range(10, 17)}
    found = difference(one, other)
    assert found.verdict == "ahead"
    assert found.estimate.mean == pytest.approx(5.2 - 2.3)
    assert found.estimate.low < 2.9 < found.estimate.high


@pytest.mark.parametrize("num_seeds", [1, 2, 4])
def test_few_seeds_give_no_verdict_however_clear_they_look(num_seeds):
    one = {seed: 2.0 + 0.1 * seed for seed in range(num_seeds)}
    other = {seed: 1.0 for seed in range(num_seeds)}
    assert difference(one, other).verdict == "too few seeds"


def test_nothing_to_compare_is_told_as_such():
    found = difference({}, {0: 1.0})
    assert found.counts == (0, 1)
    assert math.isnan(found.estimate.mean)
    assert found.verdict == "too few seeds"


def test_the_same_rewards_are_no_difference():
    same = {seed: 0.1 * seed for seed in range(5)}
    found = difference(same, same)
    assert isinstance(found, Difference)
    assert (found.estimate.mean, found.num_ahead) == (0.0, 0)
    assert found.verdict == "undecided"
