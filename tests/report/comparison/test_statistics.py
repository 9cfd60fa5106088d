import csv
import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nasrunner.report.comparison.statistics import (
    Difference,
    Estimate,
    Verdict,
    difference,
    estimate,
    mean_and_error,
    share_above,
    stepped,
    verdicts,
)
from tests.report.comparison.test_tops import top_so_far

nan = math.nan
DATA = Path(os.environ.get("NASRUNNER_DATA", Path(__file__).parents[3] / "../shared/data"))
MACRO = DATA / "nasbench_macro" / "nasbench_macro.csv.gz"


def by_seed(values, first=0):
    return dict(enumerate(values, start=first))


def ends(found):
    return found.estimate.low, found.estimate.high


def alone(found):
    """The verdict where no other is given."""
    return verdicts([found])[0].text


def test_the_best_so_far_is_undefined_before_the_first_reward_and_kept_through_failures():
    rewards = np.array([nan, nan, 0.5, nan, 0.3, 0.7, nan])
    expected = [nan, nan, 0.5, 0.5, 0.5, 0.7, 0.7]
    np.testing.assert_array_equal(top_so_far(rewards, list("abcdefg"), 1), expected)
    assert len(top_so_far(np.zeros(0), [], 1)) == 0


def test_negative_rewards_have_a_best():
    found = top_so_far(np.array([-3.0, -5.0, -1.0]), list("abc"), 1)
    np.testing.assert_array_equal(found, [-3, -3, -1])


def test_whoever_trains_a_child_again_and_again_is_not_favoured():
    rewards = np.array([0.5, 0.4, 0.9, 0.1, 0.6])
    # a: 0.5, then 0.7 with 0.9, then 0.5 with 0.1
    np.testing.assert_allclose(top_so_far(rewards, list("abaac"), 1), [0.5, 0.5, 0.7, 0.5, 0.6])


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


def test_an_interval_is_students_of_scipy():
    values = [0.1, 0.4, 0.5, 0.6, 1.1]
    found = estimate(values)
    theirs = stats.ttest_1samp(values, 0.0).confidence_interval()
    assert found.mean == pytest.approx(0.54)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("size", [5, 10])
@pytest.mark.parametrize("first_of_other", [0, 100], ids=["paired", "unpaired"])
@pytest.mark.parametrize("draw", ["normal", "gumbel", "exponential"])
def test_about_95_percent_of_the_intervals_of_equal_searchers_hold_0(size, first_of_other, draw):
    """Gumbel's is the distribution of the best of many rewards; exponential ones are skewed."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1500):
        one, other = getattr(rng, draw)(size=(2, size))
        found = difference(by_seed(one), by_seed(other, first_of_other)).estimate
        covered += found.low <= 0 <= found.high
    assert 0.935 <= covered / 1500 <= (0.97 if draw != "exponential" else 0.98)


def test_too_few_values_have_no_interval():
    assert estimate([2.0]) == Estimate(2.0, None, None)
    assert math.isnan(estimate([]).mean)


def test_equal_values_have_no_interval():
    assert estimate([0.7, 0.7, 0.7]) == Estimate(pytest.approx(0.7), None, None)


@pytest.mark.parametrize(("num_seeds", "expected"), [(2, 0.5), (5, 1 / 16), (6, 1 / 32)])
def test_equal_gaps_are_tested_by_their_signs(num_seeds, expected):
    one, other = [1.5] * num_seeds, [1.0] * num_seeds
    found = difference(by_seed(one), by_seed(other))
    theirs = stats.binomtest(num_seeds, num_seeds, 0.5)
    assert found.p == pytest.approx(expected) == pytest.approx(theirs.pvalue)
    assert ends(found) == (None, None)
    (verdict,) = verdicts([found])
    assert verdict.text == {2: "too few seeds", 5: "undecided", 6: "ahead"}[num_seeds]


ACCURATE = [330, 297, 311, 288, 303]  # of 360: less 3 of 360 these make gaps that are ulps apart


def test_gaps_that_differ_by_rounding_alone_are_equal():
    one, other = ([(n - less) / 360 for n in ACCURATE] for less in (0, 3))
    assert np.ptp(np.subtract(one, other)) > 0
    found = difference(by_seed(one), by_seed(other))
    assert (found.p, found.num_ahead, ends(found)) == (pytest.approx(1 / 16), 5, (None, None))
    assert found.estimate.mean == pytest.approx(3 / 360)
    assert alone(found) == "undecided"
    assert estimate(np.subtract(one, other) + 1).low is None


def test_a_side_that_varies_by_rounding_alone_is_constant():
    level = [330 / 360 + n * 1.2e-16 for n in range(5)]
    assert np.ptp(level) > 0
    lower = difference(by_seed(level), by_seed([327 / 360] * 5, 50))
    assert (lower.p, ends(lower)) == (pytest.approx(2 / 252), (None, None))
    same = difference(by_seed(level), by_seed([330 / 360] * 5, 50))
    assert (same.estimate.mean, same.p) == (0.0, 1.0)
    paired = difference(by_seed(level), by_seed(np.array(ACCURATE) / 360))
    assert paired.is_paired
    assert paired.correlation is None


def test_of_unequal_numbers_of_seeds_that_never_vary_the_smaller_tail_is_doubled():
    one, other = [1.5] * 4, [1.0] * 6

    def gap(a, b, axis):
        return a.mean(axis=axis) - b.mean(axis=axis)

    theirs = stats.permutation_test((one, other), gap, n_resamples=np.inf, vectorized=True)
    found = difference(by_seed(one), by_seed(other, 50))
    assert found.p == pytest.approx(2 / 210) == pytest.approx(theirs.pvalue)


def test_two_sides_that_never_vary_are_tested_by_who_has_which_values():
    one, other = [1.5] * 5, [1.0] * 5
    found = difference(by_seed(one), by_seed(other, 50))

    def gap(a, b, axis):
        return a.mean(axis=axis) - b.mean(axis=axis)

    theirs = stats.permutation_test((one, other), gap, n_resamples=np.inf, vectorized=True)
    assert found.p == pytest.approx(2 / 252) == pytest.approx(theirs.pvalue)


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


def test_intervals_and_ps_are_those_of_the_t_tests_of_scipy():
    one, other = np.random.default_rng(1).normal(size=(2, 6))
    paired, theirs = difference(by_seed(one), by_seed(other)), stats.ttest_rel(one, other)
    assert paired.p == pytest.approx(theirs.pvalue)
    assert ends(paired) == pytest.approx(theirs.confidence_interval())
    assert paired.correlation == pytest.approx(stats.pearsonr(one, other).statistic)
    unpaired = difference(by_seed(one), by_seed(5 * other[:4], 50))
    theirs = stats.ttest_ind(one, 5 * other[:4], equal_var=False)
    assert unpaired.p == pytest.approx(theirs.pvalue)
    assert ends(unpaired) == pytest.approx(theirs.confidence_interval())
    assert unpaired.correlation is None


def test_an_interval_leaves_out_0_where_p_is_below_5_percent():
    rng = np.random.default_rng(2)
    for first_of_other in (0, 100):
        one, other = rng.normal(size=(2, 100, 5))
        each = zip(one, other, strict=True)
        found = [difference(by_seed(a + 1), by_seed(b, first_of_other)) for a, b in each]
        assert 0 < sum(each.p < 0.05 for each in found) < 100
        assert all((each.p < 0.05) == (each.estimate.low > 0) for each in found if each.p > 1e-9)


def test_the_same_rewards_added_in_another_order_are_no_difference():
    one = {seed: 0.1 * seed + 0.7 for seed in range(5)}
    other = {seed: value + 2e-16 for seed, value in one.items()}
    assert list(one.values()) != list(other.values())
    found = difference(other, one)
    assert (found.estimate.mean, found.p, found.num_ahead) == (0.0, 1.0, 0)


def test_a_side_that_never_varies_has_no_correlation():
    found = difference({seed: 0.1 * seed for seed in range(5)}, dict.fromkeys(range(5), 0.3))
    assert found.is_paired
    assert found.correlation is None


# Verdicts


def a_difference(p, mean=1.0, num_seeds=5):
    return Difference(Estimate(mean, mean, mean), p, True, (num_seeds, num_seeds), None, None)


def test_verdicts_are_corrected_as_holm_does_by_hand():
    # Ascending: 0.01 * 4 = 0.04, 0.015 * 3 = 0.045, 0.02 * 2 = 0.04 -> 0.045, 0.3 * 1
    found = verdicts([a_difference(p) for p in (0.02, 0.3, 0.01, 0.015)])
    assert [each.p for each in found] == pytest.approx([0.045, 0.3, 0.04, 0.045])
    assert [each.text for each in found] == ["ahead", "undecided", "ahead", "ahead"]
    assert verdicts([a_difference(0.03)])[0].text == "ahead"
    assert [each.text for each in verdicts([a_difference(0.03)] * 2)] == ["undecided"] * 2
    assert verdicts([a_difference(0.9)] * 2)[1].p == 1.0


def test_a_difference_of_too_few_seeds_has_no_verdict_and_does_not_count():
    found = verdicts([a_difference(0.03, mean=-1.0), a_difference(0.001, num_seeds=4)])
    assert found == [Verdict("behind", 0.03), Verdict("too few seeds", None)]


def test_six_searchers_that_are_all_random_search_are_rarely_told_apart():
    rng = np.random.default_rng(3)
    sweeps = [sweep_of_equals(rng.normal(size=(6, 5))) for _ in range(600)]
    assert np.mean([by_interval for _, by_interval in sweeps]) > 0.15
    assert 0.01 <= np.mean([by_verdict for by_verdict, _ in sweeps]) <= 0.065


@pytest.mark.skipif(not MACRO.exists(), reason=f"{MACRO.parent} holds no table")
@pytest.mark.parametrize("budget", [25, 100])
def test_six_random_searches_of_nas_bench_macro_are_rarely_told_apart(budget):
    with gzip.open(MACRO, "rt") as file:
        rewards = np.array([float(row["mean_acc"]) for row in csv.DictReader(file)])
    rng = np.random.default_rng(4)
    sweeps = [
        sweep_of_equals(rewards[rng.integers(len(rewards), size=(6, 5, budget))].max(axis=2))
        for _ in range(600)
    ]
    assert np.mean([by_interval for _, by_interval in sweeps]) > 0.15
    assert 0.01 <= np.mean([by_verdict for by_verdict, _ in sweeps]) <= 0.065


def sweep_of_equals(values_GS):
    """Whether searches are told apart from the first: by verdicts, and by any interval alone."""
    first, *others = map(by_seed, values_GS)
    found = [difference(other, first) for other in others]
    by_verdict = any(each.text in ("ahead", "behind") for each in verdicts(found))
    return by_verdict, any(low > 0 or high < 0 for low, high in map(ends, found))


def test_a_few_seeds_in_common_do_not_make_many_others_useless():
    one = {seed: 1.0 + 0.01 * seed for seed in range(0, 10)}
    other = {seed: 0.01 * seed for seed in range(8, 20)}
    found = difference(one, other)
    assert not found.is_paired
    assert found.counts == (10, 12)


def test_pairs_show_what_the_spread_between_seeds_hides():
    level = {seed: 10.0 * seed for seed in range(6)}
    ahead = {seed: value + 1 + 0.01 * seed for seed, value in level.items()}
    assert alone(difference(ahead, level)) == "ahead"
    assert alone(difference(level, ahead)) == "behind"
    elsewhere = {seed + 100: value for seed, value in level.items()}
    unpaired = difference(ahead, elsewhere)
    assert not unpaired.is_paired
    assert unpaired.counts == (6, 6)
    assert unpaired.num_ahead is None
    assert alone(unpaired) == "undecided"


def test_an_unpaired_difference_of_far_groups_is_seen():
    one = {seed: 5.0 + 0.1 * seed for seed in range(5)}
    other = {seed: 1.0 + 0.1 * seed for seed in range(10, 17)}
    found = difference(one, other)
    assert alone(found) == "ahead"
    assert found.estimate.mean == pytest.approx(5.2 - 2.3)
    assert found.estimate.low < 2.9 < found.estimate.high


@pytest.mark.parametrize("num_seeds", [1, 2, 4])
def test_few_seeds_give_no_verdict_however_clear_they_look(num_seeds):
    one = {seed: 2.0 + 0.1 * seed for seed in range(num_seeds)}
    other = {seed: 1.0 for seed in range(num_seeds)}
    assert alone(difference(one, other)) == "too few seeds"


def test_nothing_to_compare_is_told_as_such():
    found = difference({}, {0: 1.0})
    assert found.counts == (0, 1)
    assert math.isnan(found.estimate.mean)
    assert alone(found) == "too few seeds"


def test_the_same_rewards_are_no_difference():
    same = {seed: 0.1 * seed for seed in range(5)}
    found = difference(same, same)
    assert isinstance(found, Difference)
    assert (found.estimate.mean, found.num_ahead) == (0.0, 0)
    assert alone(found) == "undecided"
