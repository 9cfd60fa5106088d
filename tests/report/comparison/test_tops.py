"""The best different children of searches, compared as Zoph & Le 2017 do."""

import math

import numpy as np
import pytest

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.ranking import Ranking
from nasrunner.recorded import find_studies, read_study
from nasrunner.report.comparison.baselines import compared, find_baselines
from nasrunner.report.comparison.best_children import lead, top_parts
from nasrunner.report.comparison.groups import groups
from nasrunner.report.comparison.progress import progress
from nasrunner.report.comparison.statistics import verdicts
from tests.report.recordings import EVOLUTION, Recording, recorded

nan = math.nan


def top_so_far(rewards, children, count):
    """The mean of the best different children after each reward, NaN where there are fewer."""
    ranking, found = Ranking(), []
    for place, (reward, child) in enumerate(zip(rewards, children, strict=True)):
        ranking.add(Outcome(Proposal(place, {child: 0}), "completed", float(reward)))
        mean = ranking.mean_of_best(count)
        found.append(nan if mean is None else mean)
    return np.array(found)


def study(folder, children, reason="max_children=100 is spent", **changes):
    """A study of these (units, reward) pairs."""
    made = Recording(folder, **changes)
    for units, reward in children:
        made.child(reward, units=units)
    return made.end(reason)


def two_groups(tmp_path):
    evolution, random = groups(find_studies([tmp_path]), "settings")
    assert (evolution.label, random.label) == ("evolution", "random")
    return evolution, random


# What is averaged


def test_the_mean_of_the_best_two_different_children_by_hand():
    rewards = np.array([0.5, nan, 0.5, 0.3, 0.9, 0.9, 0.4, 0.7])
    children = ["a", "b", "a", "c", "d", "d", "e", "f"]
    expected = [nan, nan, nan, 0.4, 0.7, 0.7, 0.7, 0.8]
    np.testing.assert_allclose(top_so_far(rewards, children, 2), expected)


def test_a_child_trained_again_counts_once_with_the_mean_of_its_rewards():
    rewards = np.array([0.5, 0.4, 0.8, 0.6, 0.7])
    children = ["a", "b", "a", "a", "b"]
    # a: 0.5, 0.65, 1.9 / 3; b: 0.4, 0.55
    expected = [nan, 0.45, 0.525, (1.9 / 3 + 0.4) / 2, (1.9 / 3 + 0.55) / 2]
    np.testing.assert_allclose(top_so_far(rewards, children, 2), expected)


@pytest.mark.parametrize("count", [1, 5, 15])
def test_it_is_what_sorting_all_children_gives(count):
    rng = np.random.default_rng(count)
    rewards = np.where(rng.random(200) < 0.2, nan, rng.normal(size=200))
    children = [str(child) for child in rng.integers(40, size=200)]
    for place, found in enumerate(top_so_far(rewards, children, count), start=1):
        rewards_of: dict[str, list[float]] = {}
        for reward, child in zip(rewards[:place], children[:place], strict=True):
            if not math.isnan(reward):
                rewards_of.setdefault(child, []).append(reward)
        ranked = sorted(map(np.mean, rewards_of.values()))[-count:]
        assert found == pytest.approx(np.mean(ranked) if len(ranked) == count else nan, nan_ok=True)


def test_repeated_outcomes_are_one_child_and_failed_ones_none(tmp_path):
    made = Recording(tmp_path / "a")
    for reward in (0.1, 0.2, None, 0.3, 0.4):
        made.child(reward)
    for _ in range(3):
        made.record(Outcome(made.propose(4), "completed", 0.4, reused_from=4))
    made.child(0.5, units=9)
    found = progress(read_study(made.end()))
    assert math.isnan(found.best_after(8, 5))
    assert found.best_after(9, 5) == pytest.approx(0.3)
    assert math.isnan(found.best_after(9, 15))
    assert found.best_after(10, 5) is None


def test_the_best_reward_of_a_study_is_that_of_its_leaderboard(tmp_path):
    retrained = [(1, 0.9), (2, 0.6), (1, 0.1), (1, 0.2)]  # 0.4 is the mean of the first
    found = read_study(study(tmp_path / "a", retrained, duplicates="retrain"))
    assert progress(found).best_E.tolist() == pytest.approx([0.9, 0.9, 0.6, 0.6])
    assert found.best(1)[0].proposal.index == 1
    assert found.best(1)[0].outcome.reward == progress(found).best_E[-1]


@pytest.mark.parametrize(
    ("reason", "top_5"), [("the space is exhausted", 0.3), ("target_reward=0.4 is reached", None)]
)
def test_only_a_space_without_further_children_says_what_the_best_five_will_be(
    tmp_path, reason, top_5
):
    folder = study(tmp_path / "a", [(n, 0.1 * n) for n in range(1, 6)], reason)
    found = progress(read_study(folder))
    assert found.best_after(1000) == 0.5
    after = found.best_after(1000, 5)
    assert after == (None if top_5 is None else pytest.approx(top_5))


# The difference


def test_a_difference_is_of_different_children_at_the_same_seeds(tmp_path):
    for seed in range(5):
        low = [(n, 0.1 * n + 0.01 * seed) for n in range(5)]  # mean 0.2
        study(tmp_path / f"r{seed}", low, seed=seed)
        # Ten evaluations of its best child are one child.
        gap = 0.3 + 0.001 * (seed - 2)
        high = [*((n, reward + gap) for n, reward in low), *[(4, low[4][1] + gap)] * 10]
        study(tmp_path / f"e{seed}", high, seed=seed, searcher=EVOLUTION)
    evolution, random = two_groups(tmp_path)
    found = compared(evolution, random, 5, 5)
    assert found.is_paired
    assert found.counts == (5, 5)
    assert found.estimate.mean == pytest.approx(0.3)
    half = 2.7764 * 0.001 * 2.5**0.5 / 5**0.5  # Student's t with 4 degrees of freedom
    assert (found.estimate.low, found.estimate.high) == pytest.approx((0.3 - half, 0.3 + half))
    assert [each.text for each in verdicts([found])] == ["ahead"]
    assert compared(evolution, random, 15, 15).counts == (0, 0)


def test_a_line_goes_from_where_the_last_has_enough_to_where_the_first_ends(tmp_path):
    study(tmp_path / "e", [(n, 0.5) for n in range(20)], searcher=EVOLUTION)
    repeating = [(0, 0.2)] * 3 + [(n, 0.2) for n in range(1, 10)]
    study(tmp_path / "r", repeating)
    evolution, random = two_groups(tmp_path)
    five = lead(evolution, random, 5)
    np.testing.assert_array_equal(five.places_X, [7, 8, 9, 10, 11, 12])
    np.testing.assert_allclose(five.mean_X, 0.3)
    assert np.isnan(five.low_X).all()
    assert lead(evolution, random, 15) is None


def test_a_study_that_never_has_enough_children_does_not_hide_the_others(tmp_path):
    for seed in range(2):
        study(tmp_path / f"r{seed}", [(n, 0.1) for n in range(8)], seed=seed)
    study(tmp_path / "e0", [(n, 0.4) for n in range(8)], seed=0, searcher=EVOLUTION)
    study(tmp_path / "e1", [(0, 0.9)] * 8, seed=1, searcher=EVOLUTION)
    evolution, random = two_groups(tmp_path)
    np.testing.assert_allclose(lead(evolution, random, 5).mean_X, 0.3)
    np.testing.assert_allclose(lead(evolution, random, 1).mean_X, (0.3 + 0.8) / 2)


# The page


def test_the_figure_has_a_panel_for_each_search_and_a_line_for_each_count(tmp_path):
    for seed in range(3):
        plain = [0.1 + 0.01 * child + 0.001 * seed for child in range(20)]
        recorded(tmp_path / f"r{seed}", plain, seed=seed)
        for size in (5, 10):
            searcher = {**EVOLUTION, "population_size": size}
            better = [reward + 0.01 * size + 0.0001 * (seed - 1) for reward in plain]
            recorded(tmp_path / f"e{size}{seed}", better, seed=seed, searcher=searcher)
    found = groups(find_studies([tmp_path]), "settings")
    plot, table = top_parts(found, (10, 20), find_baselines(found, None))
    assert [axes.get_title(loc="left") for axes in plot.figure.axes] == [
        "evolution, population_size=10",
        "evolution, population_size=5",
    ]
    lines = {line.get_label(): line for line in plot.figure.axes[1].get_lines()}
    assert lines["5"].get_xdata()[[0, -1]].tolist() == [5, 20]
    np.testing.assert_allclose(lines["15"].get_ydata(), 0.05)
    assert "95 % interval" in plot.caption
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    told = [(row["evaluations"], row["searcher"][-2:], row["best children"]) for row in rows]
    assert told == [
        *[(10, "10", 1), (10, "10", 5), (10, "=5", 1), (10, "=5", 5)],
        *[(20, "10", 1), (20, "10", 5), (20, "10", 15), (20, "=5", 1), (20, "=5", 5)],
        (20, "=5", 15),
    ]
    assert rows[-1]["mean reward"] == pytest.approx(0.271)  # of 0.15 to 0.29, seed 1, and 0.05
    assert rows[-1]["of the baseline"] == pytest.approx(0.221)
    assert rows[-1]["minus random"] == pytest.approx(0.05)


def test_one_seed_has_no_interval_and_the_caption_says_so(tmp_path):
    recorded(tmp_path / "r", [0.1] * 6)
    recorded(tmp_path / "e", [0.2] * 6, searcher=EVOLUTION)
    found = groups(find_studies([tmp_path]), "settings")
    plot, table = top_parts(found, (6,), find_baselines(found, None))
    assert "there is no interval over seeds" in plot.caption
    assert [row[5:8] for row in table.rows] == [[pytest.approx(0.1), None, None]] * 2


def test_without_a_baseline_or_a_reward_there_is_nothing_to_show(tmp_path):
    recorded(tmp_path / "e", [0.2] * 6, searcher=EVOLUTION)
    recorded(tmp_path / "r", [None] * 6)
    found = groups(find_studies([tmp_path]), "settings")
    assert top_parts(found, (6,), {}) == []
    assert top_parts(found, (6,), find_baselines(found, None)) == []
