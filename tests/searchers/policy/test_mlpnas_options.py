"""What the controller of MLPNAS does otherwise: decay, baseline, discount, and all children."""

from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core import Outcome, Proposal
from nasrunner.searchers.policy.objectives import Reinforce
from nasrunner.searchers.policy.policy_gradient import PolicyGradient
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.policy.test_policy_gradient import reinforce, results_of
from tests.searchers.worlds import load_space


def learn(searcher: PolicyGradient, rewards: list[float]) -> list[Proposal]:
    proposals = []
    for reward in rewards:
        proposal = searcher.propose()
        assert proposal is not None
        searcher.observe(Outcome(proposal, "completed", reward))
        proposals.append(proposal)
    return proposals


def gradients(searcher: PolicyGradient) -> list[np.ndarray]:
    """Those of the last update."""
    found = [weight.grad for weight in searcher.controller.parameters()]
    return [each.numpy().copy() for each in found if each is not None]


def test_the_rate_decays_by_updates_as_keras_has_it() -> None:
    searcher = reinforce(load_space("mlp"), learning_rate=0.01, learning_rate_decay=0.1)
    rates = []
    for _ in range(3):
        learn(searcher, [0.2, 0.7])
        rates.append(searcher.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.01 / 1.1, 0.01 / 1.2])


def test_a_fixed_baseline_stays_and_judges_the_first_reward_too() -> None:
    searcher = reinforce(load_space("mlp"), fixed_baseline=0.5, children_per_replica=99)
    learn(searcher, [0.7, 0.9, 0.2])
    advantages = [advantage for _, advantage in results_of(searcher)]
    assert advantages == pytest.approx([0.2, 0.4, -0.3])
    assert searcher.baseline == 0.5


def test_a_discount_weighs_an_architecture_of_t_decisions_by_its_power_t() -> None:
    changes: dict[str, Any] = {"fixed_baseline": 0.5, "children_per_replica": 1}
    whole = reinforce(load_space("mlp_string"), **changes)
    discounted = reinforce(load_space("mlp_string"), **changes, discount=0.9)
    (proposal,) = learn(whole, [0.9])
    assert learn(discounted, [0.9]) == [proposal]
    num_decisions = len(proposal.genotype)
    assert num_decisions > 1
    for one, other in zip(gradients(whole), gradients(discounted), strict=True):
        np.testing.assert_allclose(other, 0.9**num_decisions * one, rtol=1e-4, atol=1e-8)
    assert max(np.abs(one).max() for one in gradients(whole)) > 1e-4


def test_from_all_children_it_learns_again_what_it_learnt_before() -> None:
    changes: dict[str, Any] = {"fixed_baseline": 0.5, "learning_rate": 0.02}
    rewards = [0.9, 0.3, 0.6, 0.1]
    from_all = reinforce(load_space("mlp_string"), **changes, learns_from="all")
    proposals = learn(from_all, rewards)
    first = reinforce(load_space("mlp_string"), **changes)
    assert learn(first, rewards[:2]) == proposals[:2]  # the first batch is all there is
    first.optimizer.zero_grad()
    both = [(each, reward - 0.5) for each, reward in zip(proposals, rewards, strict=True)]
    torch.autograd.backward(first.loss(both, first.controller))
    for one, other in zip(gradients(from_all), gradients(first), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def test_several_steps_of_reinforce_make_a_good_architecture_likelier_still() -> None:
    space = parse_space({"affine": {"units": {"oneof": [8, 16, 32]}}})
    chances = []
    for num_steps in (1, 10):
        objective = Reinforce(num_steps=num_steps)
        searcher = reinforce(space, fixed_baseline=0.0, children_per_replica=1, objective=objective)
        (proposal,) = learn(searcher, [1.0])
        with torch.no_grad():
            log_p_B, _ = searcher.controller.forward([searcher._replay(proposal)])
        chances.append(log_p_B.exp().item())
        assert searcher.num_updates == 1
    assert 1 / 3 - 0.1 < chances[0] < chances[1] - 0.2


def test_replicas_learn_from_their_own_children_alone() -> None:
    with pytest.raises(ValueError, match=r"learns_from=all .* replicas=3 .*replicas=null"):
        reinforce(load_space("mlp"), learns_from="all", replicas=3)
