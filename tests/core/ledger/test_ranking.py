import math
from dataclasses import replace
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrunner.core import Outcome, Proposal
from nasrunner.core.ledger.ranking import Ranking, mean_of
from nasrunner.core.records import NETWORK


def outcome(index: int, units: int, reward: float | None, reused_from: int | None = None):
    status = "failed" if reward is None else "completed"
    return Outcome(Proposal(index, {"units": units}), status, reward, reused_from=reused_from)


def test_an_architecture_has_the_mean_of_its_trainings():
    ranking = Ranking(
        [outcome(0, 0, 0.9), outcome(1, 1, 0.8), outcome(2, 0, 0.5), outcome(3, 0, None)]
    )
    best = [(each.index, each.reward, each.rewards) for each in ranking.best(5)]
    assert best == [(1, 0.8, (0.8,)), (0, pytest.approx(0.7), (0.9, 0.5))]
    assert ranking.top() == ranking.best(1)[0]


def test_genotypes_that_make_one_network_are_one_architecture():
    told = [(0, 0, 0.9), (1, 1, 0.5), (2, 2, 0.8)]
    same = ("network:a", "network:a", "network:b")
    outcomes = [
        replace(each, proposal=replace(each.proposal, identity=network))
        for each, network in zip((outcome(*one) for one in told), same, strict=True)
    ]
    ranking = Ranking(outcomes)
    assert [(each.index, each.reward) for each in ranking.best(5)] == [
        (2, 0.8),
        (0, pytest.approx(0.7)),
    ]


def test_one_that_failed_before_stands_with_its_first_reward():
    ranking = Ranking([outcome(0, 0, None), outcome(1, 0, 0.6)])
    assert [each.index for each in ranking.best(5)] == [1]


def test_an_outcome_that_is_reused_is_no_training():
    ranking = Ranking([outcome(0, 0, 0.6), outcome(1, 1, 0.6), outcome(2, 0, 0.6, reused_from=0)])
    assert [each.rewards for each in ranking.best(5)] == [(0.6,), (0.6,)]


def test_what_a_mean_is_of_is_known_and_told():
    alone = Ranking([outcome(0, 0, 0.5)]).best(1)[0]
    assert (alone.num_trainings, alone.spread, mean_of(1, None)) == (1, None, "")
    several = replace(outcome(0, 0, 0.5), metrics={"trainings": 3.0, "reward_std": 0.01})
    mean = Ranking([several]).best(1)[0]
    assert (mean.num_trainings, mean.spread) == (3, pytest.approx(0.01))
    assert mean_of(mean.num_trainings, mean.spread) == " ± 0.01 (mean of 3)"
    again = Ranking([outcome(0, 0, 0.5), outcome(1, 0, 0.7)]).best(1)[0]
    assert (again.num_trainings, again.spread) == (2, pytest.approx(0.02**0.5))


def test_the_spread_of_means_is_that_of_all_their_trainings():
    rewards = [[0.5, 0.6, 0.9], [0.7, 0.8, 0.2]]
    outcomes = [
        replace(
            outcome(index, 0, fmean(each)), metrics={"trainings": 3.0, "reward_std": stdev(each)}
        )
        for index, each in enumerate(rewards)
    ]
    best = Ranking(outcomes).best(1)[0]
    assert best.num_trainings == 6
    assert best.spread == pytest.approx(stdev([*rewards[0], *rewards[1]]))


def test_nothing_is_best_where_nothing_has_a_reward():
    ranking = Ranking([outcome(0, 0, None), outcome(1, 1, math.nan)])
    assert ranking.top() is None
    assert ranking.best(3) == []
    assert ranking.mean_of_best(1) is None


def test_the_mean_of_the_best_needs_so_many_architectures():
    ranking = Ranking([outcome(0, 0, 0.6), outcome(1, 0, 0.8), outcome(2, 1, 0.1)])
    assert ranking.mean_of_best(1) == pytest.approx(0.7)
    assert ranking.mean_of_best(2) == pytest.approx(0.4)
    assert ranking.mean_of_best(3) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 0.1, 0.4, 0.5, 0.9]))))
def test_the_top_is_the_best_after_each_outcome_and_add_says_whether_it_is_this_one(children):
    ranking = Ranking()
    for index, (units, reward) in enumerate(children):
        is_top = ranking.add(outcome(index, units, reward))
        best = ranking.best(1)
        top = ranking.top()
        assert (top.reward if top else None) == (best[0].reward if best else None)
        if is_top:
            assert top is not None
            assert top.outcome.proposal.genotype == {"units": units}


def test_the_best_are_found_by_their_networks() -> None:
    known = Proposal(0, {"a": 1}, identity=f"{NETWORK}0123456789abcdef")
    ranking = Ranking([Outcome(known, "completed", 0.5)])
    assert [ranked.index for ranked in ranking.best(5)] == [0]
