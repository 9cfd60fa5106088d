"""Importance of decisions against analyses of variance by hand, and what is shown of it."""

import itertools

import numpy as np
import optuna
import pytest

from nasrunner.report.decisions.answers import Answers
from nasrunner.report.decisions.importance import MIN_CHILDREN, importance, most_telling_first
from nasrunner.report.decisions.learnt import learnt_section
from nasrunner.report.decisions.paths import NOT_ASKED, AnswerTable, answer_table
from nasrunner.report.decisions.section import decisions_section
from nasrunner.report.page.parts import hovers_of
from tests.report.decisions.test_answers import TWO, study_of, two


def table_of(answers, rewards, names=None):
    answers_ND = np.array(answers)
    names = names or [f"d{d}" for d in range(answers_ND.shape[1])]
    options = [tuple(range(5))] * len(names)
    indices = range(len(answers_ND))
    return AnswerTable(
        names, names, options, [True] * len(names), indices, answers_ND, np.array(rewards)
    )


def full_factorial(*counts):
    return list(itertools.product(*map(range, counts)))


def test_shares_of_an_additive_reward_are_those_of_the_analysis_of_variance():
    answers = full_factorial(3, 4, 2) * 4
    effect = [0.0, 1.5, 0.5, 1.0]
    rewards = [a + effect[b] for a, b, _ in answers]
    found = importance(table_of(answers, rewards))
    # variances: of 0, 1, 2: 2 / 3; of the effect: 1.25 / 4
    of_a, of_b = 2 / 3, 0.3125
    expected = [of_a / (of_a + of_b), of_b / (of_a + of_b), 0.0]
    np.testing.assert_allclose(found.shares_D, expected, atol=0.03)
    assert found.predicted > 0.95


def test_what_decisions_make_together_is_in_no_share():
    answers = full_factorial(2, 2, 2) * 8
    found = importance(table_of(answers, [float(a != b) for a, b, _ in answers]))
    assert found.shares_D.sum() < 0.1
    # 2 a + (a xor b): variances 1 and 1 / 4
    found = importance(table_of(answers, [2.0 * a + (a != b) for a, b, _ in answers]))
    np.testing.assert_allclose(found.shares_D, [0.8, 0.0, 0.0], atol=0.05)


def test_shares_are_of_equally_likely_answers_whoever_was_drawn_more_often():
    """A searcher that has settled still tells what an option is worth."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((2, 300)) < [[0.1], [0.5]]).astype(int)
    found = importance(table_of(np.stack([a, b], 1), 1.0 * a + 1.0 * b))
    np.testing.assert_allclose(found.shares_D, [0.5, 0.5], atol=0.05)


def test_rewards_that_are_chance_are_not_predicted():
    rng = np.random.default_rng(0)
    found = importance(table_of(rng.integers(0, 3, size=(60, 4)), rng.normal(size=60)))
    assert found.predicted < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_chance_is_not_predicted_by_the_most_telling_of_very_many_decisions(seed):
    rng = np.random.default_rng(seed)
    table = table_of(rng.integers(0, 3, size=(100, 200)), rng.normal(size=100))
    found = importance(most_telling_first(table))
    assert len(found.table.paths) == 20
    assert found.predicted < 0.0


def test_one_of_very_many_decisions_that_matters_is_found_and_predicts():
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 3, size=(100, 60))
    table = table_of(answers, answers[:, 41] + 0.1 * rng.normal(size=100))
    found = importance(most_telling_first(table))
    assert found.table.names[int(found.shares_D.argmax())] == "d41"
    assert found.predicted > 0.9


def test_too_few_children_or_equal_rewards_have_no_importance():
    answers = full_factorial(2, 2) * 10
    assert importance(table_of(answers[: MIN_CHILDREN - 1], range(MIN_CHILDREN - 1))) is None
    assert importance(table_of(answers, [0.5] * 40)) is None


def test_what_optuna_logs_is_left_as_it_was():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        importance(table_of(full_factorial(2, 2) * 10, range(40)))
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


def test_children_that_were_chosen_with_equal_rewards_have_no_importance(tmp_path):
    rewards = [0.5] * 2000
    rewards[3] = 0.9  # of five in a row the first is chosen
    children = [(two(n % 2, n % 3), reward) for n, reward in enumerate(rewards)]
    study = study_of(tmp_path, TWO, children)
    assert importance(answer_table(study)) is None
    section = decisions_section(study)
    assert [part.name for part in section.parts] == ["parallel"]
    assert "the 400 that were evenly chosen of 2,000 have equal rewards" in section.text
    assert "those that explain most alone first" in section.parts[0].caption


def test_the_most_telling_decision_is_looked_at_first():
    answers = full_factorial(2, 3) * 4
    found = most_telling_first(table_of(answers, [float(b) for _, b in answers], ["a", "b"]))
    assert found.names == ["b", "a"]


def test_a_child_without_a_decision_was_not_asked(tmp_path):
    study = study_of(tmp_path, TWO, [(two(0, 1), 0.5), (two(1, 2, 0), 0.7), (two(1, 0), None)])
    found = answer_table(study)
    assert found.indices == [0, 1]
    assert dict(zip(found.names, found.answers_ND.T.tolist(), strict=True)) == {
        "affine units": [0, 1],
        "number of layers": [0, 1],
        "layer 1 activation": [1, 2],
        "layer 2 activation": [NOT_ASKED, 0],
    }


def test_the_section_shows_importance_from_twenty_children_on(tmp_path):
    rng = np.random.default_rng(0)
    drawn = [(int(u), *map(int, rng.integers(0, 3, size=2))) for u in rng.integers(0, 2, size=40)]
    children = [(two(u, b), 0.5 * u + 0.1 * b + 0.001 * c) for u, b, c in drawn]
    few = decisions_section(study_of(tmp_path, TWO, children[:10]))
    assert [part.name for part in few.parts] == ["parallel"]
    assert "it takes 20" in few.text
    bars, shares, parallel = decisions_section(study_of(tmp_path, TWO, children)).parts
    assert [row[0] for row in shares.values] == ["affine units", "layer 1 activation"]
    assert bars.hovers["affine units"] == "0/affine/units"
    assert "40 trained children" in bars.caption
    axes = parallel.figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [
        "affine units",
        "layer 1\nactivation",
        "reward",
    ]
    assert sum(len(lines.get_segments()) for lines in axes.collections) == 40


def test_a_clipped_name_that_stands_for_several_decisions_has_no_hover(tmp_path, monkeypatch):
    children = [(two(n % 2, n % 3), 0.5 * (n % 2) + 0.1 * (n % 3)) for n in range(24)]
    study = study_of(tmp_path, TWO, children)
    for module in ("section", "learnt"):
        monkeypatch.setattr(f"nasrunner.report.decisions.{module}.clipped", lambda *_: "alike")
    monkeypatch.setattr(Answers, "explained", None)
    bars, *_ = decisions_section(study).parts
    learnt = learnt_section(study).parts[0]
    assert [bars.hovers, learnt.hovers] == [{}, {}]


def test_texts_that_stand_for_one_thing_keep_their_hovers():
    shown = [("a…", "a/1"), ("b", "b/1"), ("a…", "a/2")]
    assert hovers_of(shown) == {"b": "b/1"}


def test_of_very_many_children_three_hundred_lines_are_drawn_and_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr("nasrunner.report.decisions.section.importance", lambda table: None)
    children = [(two(n % 2, n % 3), n / 400) for n in range(400)]
    (plot,) = decisions_section(study_of(tmp_path, TWO, children)).parts
    others, best = plot.figure.axes[0].collections
    assert (len(others.get_segments()), len(best.get_segments())) == (300, 5)
    assert [line[-1][1] for line in best.get_segments()] == pytest.approx(
        [(n / 400 - 0.049875) / (399 / 400 - 0.049875) for n in range(395, 400)], abs=1e-3
    )
    assert "300 are drawn" in plot.caption
