"""Searches of a supernet, as a study sees them."""

import functools
from collections import Counter

import numpy as np
import pytest

from nasrunner.core import Outcome, Proposal
from nasrunner.searchers.one_shot.paths import FairPaths, UniformPaths
from nasrunner.searchers.one_shot.single_path import SinglePathOneShot
from nasrunner.searchers.sampling.exhaustive import ExhaustiveSearch
from nasrunner.searchers.sampling.random import RandomSearch
from nasrunner.searchers.stopping.median_stopping import MedianStopping
from tests.searchers.worlds import load_space, reward_of

SETTINGS = {"num_estimates": 8, "num_trained": 3, "supernet": None, "is_fair": False}


def one_shot(inner=RandomSearch, **changes):
    space = load_space("figure1")
    inner = functools.partial(inner)
    return SinglePathOneShot(searcher=inner, space=space, seed=0, **{**SETTINGS, **changes})


def played(searcher, rewards=reward_of):
    """All that it proposes, each observed before the next; a supernet has no reward."""
    proposals: list[Proposal] = []
    while (proposal := searcher.propose()) is not None:
        proposals.append(proposal)
        reward = None if proposal.kind == "supernet" else rewards(proposal)
        searcher.observe(Outcome(proposal, "completed", reward))
    return proposals


def test_the_best_estimates_are_trained_once_each_best_first():
    searcher = one_shot(supernet={"trainer.max_epochs": 60})
    first, *others = played(searcher)
    assert (first.kind, first.genotype) == ("supernet", {})
    assert first.fidelity == {"trainer.max_epochs": 60}
    estimates = [each for each in others if each.kind == "estimate"]
    trained = [each for each in others if each.kind == "train"]
    assert others == [*estimates, *trained]
    assert len(estimates) == 8
    assert {each.sources[0].child for each in estimates} == {0}
    assert all(each.asked == () for each in trained)
    by_score = {each.hash: reward_of(each) for each in estimates}
    best = sorted(by_score, key=lambda each: -by_score[each])[:3]
    assert [each.hash for each in trained] == best
    assert searcher.why_done == "the best of 8 networks of the supernet are trained"


def test_it_waits_for_the_supernet_and_for_all_estimates():
    searcher = one_shot(num_estimates=2, num_trained=2)
    supernet = searcher.propose()
    assert not searcher.is_ready
    assert list(searcher.needs()) == [0]
    searcher.observe(Outcome(supernet, "completed"))
    estimates = [searcher.propose(), searcher.propose()]
    assert not searcher.is_ready
    searcher.observe(Outcome(estimates[1], "completed", 0.5))
    assert not searcher.is_ready
    searcher.observe(Outcome(estimates[0], "failed", error="it broke"))
    assert searcher.is_ready
    assert list(searcher.needs()) == []
    assert searcher.propose().hash == estimates[1].hash
    assert searcher.propose() is None


def test_an_inner_searcher_that_has_no_more_ends_the_estimates():
    searcher = one_shot(ExhaustiveSearch, num_estimates=1000)
    kinds = Counter(each.kind for each in played(searcher))
    assert kinds == {"supernet": 1, "estimate": load_space("figure1").size(), "train": 3}


def test_the_inner_searcher_learns_the_estimates_alone():
    learnt: list[float] = []

    class Listens(RandomSearch):
        def learn(self, outcome):
            learnt.append(outcome.known_reward)

    proposals = played(one_shot(Listens))
    assert learnt == [reward_of(each) for each in proposals if each.kind == "estimate"]


def test_more_cannot_be_trained_than_are_estimated():
    with pytest.raises(ValueError, match=r"num_trained must be at most num_estimates \(8\), got 9"):
        one_shot(num_trained=9)


def test_fair_paths_take_each_option_of_a_decision_equally_often():
    space = load_space("nasbench_macro")  # eight decisions of three options
    rng = np.random.default_rng(0)
    policy = FairPaths(space)
    drawn = policy.draw(30, rng)
    for begin in range(0, 30, 3):
        for path in drawn[0]:
            assert {each[path] for each in drawn[begin : begin + 3]} == {0, 1, 2}
    assert len({tuple(each.values()) for each in drawn}) > 20


@pytest.mark.parametrize("kind", [FairPaths, UniformPaths])
def test_a_policy_goes_on_from_its_state(kind):
    space = load_space("small_cnn")
    rng, policy = np.random.default_rng(0), kind(space)
    policy.draw(5, rng)
    again, there = kind(space), np.random.default_rng(0)
    there.bit_generator.state = rng.bit_generator.state
    again.load_state_dict(policy.state_dict())
    assert again.draw(7, there) == policy.draw(7, rng)


def test_estimates_are_not_watched_by_an_inner_searcher():
    rule = {"metric": "val_accuracy", "mode": "max", "reward": {}, "min_epochs": 1}
    inner = functools.partial(MedianStopping, searcher=RandomSearch, min_children=1, **rule)
    with pytest.raises(ValueError, match="MedianStopping watches children while they train, and"):
        one_shot(inner)
