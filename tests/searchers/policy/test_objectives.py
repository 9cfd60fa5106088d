import math

import numpy as np
import pytest
import torch

from nasrunner.core import Outcome, Proposal
from nasrunner.searchers.policy.objectives import Ppo, Reinforce
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.policy.test_policy_gradient import reinforce
from tests.searchers.worlds import load_space


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "slope"),
    [
        (1.1, 2.0, 2.2, 2.2),  # inside [0.8, 1.2]: r A, and d(r A) / d log p = r A
        (1.5, 2.0, 2.4, 0.0),  # likely enough already
        (0.5, 2.0, 1.0, 1.0),  # it has become unlikely by mistake
        (0.5, -2.0, -1.6, 0.0),  # unlikely enough already
        (1.5, -2.0, -3.0, -3.0),  # it has become likely by mistake
    ],
)
def test_ppo_has_the_gain_of_equation_7(
    ratio: float, advantage: float, gain: float, slope: float
) -> None:
    log_p_B = torch.tensor([math.log(0.3 * ratio)], dtype=torch.double, requires_grad=True)
    drawn_B, advantages_B = torch.tensor([math.log(0.3)]).double(), torch.tensor([advantage])
    found_B = Ppo(clip=0.2, num_steps=4).gain(log_p_B, drawn_B, advantages_B)
    torch.autograd.backward(found_B.sum())
    assert found_B.item() == pytest.approx(gain, rel=1e-6)
    assert log_p_B.grad is not None
    assert log_p_B.grad.item() == pytest.approx(slope, rel=1e-6)


def test_the_first_step_of_ppo_is_that_of_reinforce() -> None:
    gradients = []
    for objective in (Reinforce(), Ppo(clip=0.2, num_steps=1)):
        searcher = reinforce(load_space("nasrl_conv_small"), objective=objective)
        results = [(searcher.suggest(0), 0.7), (searcher.suggest(1), -0.3)]
        torch.autograd.backward(searcher.loss(results, searcher.controller))
        gradients.append([w.grad.numpy() for w in searcher.controller.parameters()])  # type: ignore[union-attr]
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert max(np.abs(one).max() for one in gradients[0]) > 1e-3


@pytest.mark.parametrize("num_steps", [1, 40])
def test_ppo_takes_its_steps_and_stops_where_the_ratio_is_clipped(num_steps: int) -> None:
    space = parse_space({"affine": {"units": {"oneof": [8, 16]}}})
    searcher = reinforce(
        space,
        objective=Ppo(clip=0.2, num_steps=num_steps),
        children_per_replica=1,
        baseline_decay=0.0,
        learning_rate=0.01,
    )
    searcher.baseline = 0.0
    before = searcher.suggest(0)
    searcher.learn(Outcome(before, "completed", 1.0))
    with torch.no_grad():
        log_p_B, _ = searcher.controller.forward([searcher._replay(before)])
    ratio = math.exp(log_p_B.item() - before.notes["log_probability"])
    assert searcher.num_updates == 1
    # 40 steps go past the clip by what Adam has in momentum, but not on to certainty, 2
    low, high = (1, 1.15) if num_steps == 1 else (1.2, 1.6)
    assert low < ratio < high


def test_what_it_was_drawn_with_is_told_with_a_proposal() -> None:
    searcher = reinforce(load_space("mlp"), children_per_replica=1)
    updates = []
    for _ in range(3):
        proposal = searcher.propose()
        assert isinstance(proposal, Proposal)
        updates.append(proposal.notes["update"])
        searcher.observe(Outcome(proposal, "completed", 1.0))
    assert updates == [0, 1, 2]
