"""Rank correlations, against scipy's, and what of a ledger they are of."""

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata, spearmanr

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.agreement import (
    PredictedLevel,
    Predictions,
    kendalls_tau,
    mean_ranks,
    rank_correlation,
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_values", [3, 12, 40])
def test_it_is_scipys_with_and_without_ties(seed: int, num_values: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, num_values))
    for left, right in ((one, other), (np.round(one), np.round(other, 1))):
        assert mean_ranks(left).tolist() == (rankdata(left) - 1).tolist()
        expected = spearmanr(left, right).statistic
        assert rank_correlation(left.tolist(), right.tolist()) == pytest.approx(expected)
        expected = kendalltau(left, right).statistic
        assert kendalls_tau(left.tolist(), right.tolist()) == pytest.approx(expected)


def test_it_is_not_defined_where_one_is_the_same_for_all() -> None:
    assert rank_correlation([1.0, 2.0], [3.0, 3.0]) is None
    assert rank_correlation([1.0], [3.0]) is None
    assert kendalls_tau([1.0, 2.0], [3.0, 3.0]) is None
    assert Predictions().correlation is None


def test_whole_trainings_that_were_predicted_count_once() -> None:
    found = Predictions()
    told: list[tuple[dict[str, object], float | None]] = [
        ({"predicted": 0.5}, 0.6),
        ({"predicted": 0.4}, None),
        ({}, 0.9),
        ({"predicted": 0.2, "kind": "estimate"}, 0.2),
        ({"predicted": 0.2, "fidelity": {"trainer.max_epochs": 1}}, 0.3),
        ({"predicted": 0.1}, 0.2),
    ]
    for index, (fields, reward) in enumerate(told):
        proposal = Proposal(index, {"a": index}, **fields)  # type: ignore[arg-type]
        found.add(Outcome(proposal, "completed" if reward is not None else "failed", reward))
    again = Proposal(9, {"a": 0}, predicted=0.7)
    found.add(Outcome(again, "completed", 0.6, reused_from=0))
    assert found.pairs == [(0.5, 0.6), (0.1, 0.2)]
    assert found.correlation == pytest.approx(1.0)


def test_levels_are_compared_apart_and_only_where_they_were_predicted_from_those_before() -> None:
    found = Predictions()
    told = [
        ({"level": 1, "round": 1}, None, 0.9),
        ({"level": 3, "round": 1}, 0.5, 0.1),
        ({"level": 2, "round": 1}, 0.1, 0.3),
        ({"level": 2, "round": 1}, 0.2, 0.2),
        ({"level": 2, "round": 1}, 0.3, 0.4),
        ({"level": 3, "round": 2}, 0.6, 0.2),
        ({}, 0.7, 0.7),
    ]
    for index, (notes, predicted, reward) in enumerate(told):
        proposal = Proposal(index, {"a": index}, predicted=predicted, notes=notes)
        found.add(Outcome(proposal, "completed", reward))
    assert len(found.pairs) == 6
    half, third = pytest.approx(1 / 2), pytest.approx(1 / 3)
    assert found.levels == [PredictedLevel(2, 3, half, third), PredictedLevel(3, 1, None, None)]
