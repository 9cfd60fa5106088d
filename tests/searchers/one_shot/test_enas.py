"""The search of a controller's supernet, as a study sees it."""

import numpy as np

from nasrunner.core import Outcome, Proposal
from nasrunner.core.order import rollout
from tests.searchers.worlds import load_space, make_searcher, reward_of


def found_of(space, count):
    return [rollout(space, np.random.default_rng(seed)) for seed in range(count)]


def test_what_the_supernet_found_is_estimated_in_its_order_and_the_best_trained():
    searcher, space = make_searcher("enas", "mlp"), load_space("mlp")
    supernet = searcher.propose()
    assert supernet.kind == "supernet"
    assert not searcher.is_ready
    found = found_of(space, 12)
    searcher.observe(Outcome(supernet, "completed", found=found))
    proposals: list[Proposal] = []
    while (proposal := searcher.propose()) is not None:
        searcher.observe(Outcome(proposal, "completed", reward_of(proposal)))
        proposals.append(proposal)
    assert [each.genotype for each in proposals[:12]] == found
    assert {each.kind for each in proposals[:12]} == {"estimate"}
    ranked = sorted(proposals[:12], key=lambda each: -reward_of(each))[:10]
    assert [each.genotype for each in proposals[12:]] == [each.genotype for each in ranked]
    assert searcher.why_done == "the best of 12 networks of the supernet are trained"


def test_no_more_are_estimated_than_asked():
    searcher, space = make_searcher("enas", "mlp"), load_space("mlp")
    searcher.observe(Outcome(searcher.propose(), "completed", found=found_of(space, 60)))
    kinds = []
    while (proposal := searcher.propose()) is not None:
        searcher.observe(Outcome(proposal, "completed", reward_of(proposal)))
        kinds.append(proposal.kind)
    assert kinds == ["estimate"] * 30 + ["train"] * 10


def test_the_policy_is_the_same_whenever_it_is_asked_for():
    drawn = []
    for seed in (0, 0, 1):
        searcher = make_searcher("enas", "small_cnn", seed)
        drawn += [searcher.policy().draw(5, np.random.default_rng(7)) for _ in range(2)]
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]
    assert drawn[4] != drawn[0]
