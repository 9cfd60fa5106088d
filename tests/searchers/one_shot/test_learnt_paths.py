"""A controller that a supernet's rewards teach, and what shapes its probabilities."""

import copy
import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core.ports import LearningPolicy, Lessons
from nasrunner.core.space import enter
from nasrunner.searchers.one_shot.learnt_paths import LearntPaths
from nasrunner.searchers.one_shot.paths import FairPaths, UniformPaths
from nasrunner.searchers.policy.controller import Controller
from nasrunner.searchers.policy.rollout import NumpyController, Rollout
from nasrunner.searchers.policy.transcript import Transcript
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space

ONE = {"concat": [{"or": ["relu", "tanh", "elu"]}, {"affine": {"units": 3}}]}
WIDTH = {"affine": {"units": {"oneof": [8, 16]}}}
SKIPS = {"concat": [{"skip_layers": {"times": 4, "layer": WIDTH}}, {"affine": {"units": 3}}]}


def controller_of(space: Any, init_range: float = 0.5, **shape: Any) -> Controller:
    return Controller(
        space.signature(),
        has_selections=any(each.selection for each in space.decisions(enter(space))),
        hidden_units=5,
        num_layers=1,
        init_range=init_range,
        predicts=False,
        **shape,
        rng=np.random.default_rng(0),
    )


def learnt(space: Any, controller: Controller | None = None, **changes: Any) -> LearntPaths:
    settings: dict[str, Any] = {
        "learning_rate": 0.05,
        "baseline_decay": 0.5,
        "entropy_bonus": 0.0,
        "skip_weight": 0.0,
        "skip_share": 0.4,
        "lessons": Lessons(3, 2, 5),
    }
    return LearntPaths(space, controller or controller_of(space), **{**settings, **changes})


def shares(policy: LearntPaths, count: int = 600) -> list[float]:
    drawn = policy.draw(count, np.random.default_rng(1))
    return [sum(each["0/or"] == option for each in drawn) / count for option in range(3)]


def test_what_is_rewarded_is_drawn_more_often_and_is_the_likeliest() -> None:
    space = parse_space(ONE)
    policy, rng = learnt(space), np.random.default_rng(0)
    before = shares(policy)
    for _ in range(40):
        genotypes = policy.draw(4, rng)
        policy.learn(genotypes, [float(each["0/or"] == 2) for each in genotypes])
    after = shares(policy)
    assert before[2] < 0.6
    assert after[2] > 0.9
    assert policy.likeliest() == {"0/or": 2}


def test_a_step_follows_the_gradient_that_the_paper_gives() -> None:
    space = parse_space(ONE)
    policy = learnt(space)
    twin = copy.deepcopy(policy.controller)
    genotypes = [{"0/or": 0}, {"0/or": 2}]
    policy.learn(genotypes, [1.0, 0.0])
    transcripts = [Transcript.of(twin.vocabulary, space, each) for each in genotypes]
    log_p_B, _ = twin.forward(transcripts)
    # b is 1 for the first reward, its own, and 1 for the second.
    torch.autograd.backward(-(log_p_B * torch.tensor([0.0, -1.0])).mean())
    for mine, other in zip(policy.controller.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)
    assert policy.baseline == 0.5


def test_it_goes_on_from_its_state_to_the_bit() -> None:
    space = load_space("small_cnn")
    one, other = learnt(space), learnt(space)
    rng = np.random.default_rng(0)
    for _ in range(3):
        one.learn(one.draw(4, rng), [0.1, 0.7, 0.2, 0.4])
    other.load_state_dict(copy.deepcopy(dict(one.state_dict())))
    for policy in (one, other):
        again = np.random.default_rng(5)
        policy.learn(policy.draw(4, again), [0.3, 0.1, 0.6, 0.2])
    first, second = one.state_dict(), other.state_dict()
    assert first["baseline"] == second["baseline"]
    for name, weight in first["controller"].items():
        assert torch.equal(weight, second["controller"][name]), name
    assert one.likeliest() == other.likeliest()


def test_it_says_its_entropy_a_decision_and_forgets_it() -> None:
    space = parse_space(ONE)
    policy = learnt(space, controller_of(space, init_range=1e-6))
    assert policy.measured() == {}
    policy.learn([{"0/or": 0}, {"0/or": 1}], [0.5, 0.5])
    measured = policy.measured()
    assert measured["policy_entropy"] == pytest.approx(math.log(3), rel=1e-4)
    assert measured["policy_baseline"] == 0.5
    assert policy.measured() == {"policy_baseline": 0.5}


def test_the_probabilities_of_one_decision_are_the_controllers_own() -> None:
    space = parse_space(ONE)
    policy = learnt(space)
    vocabulary = policy.controller.vocabulary
    transcripts = [Transcript.of(vocabulary, space, {"0/or": option}) for option in range(3)]
    log_p_B, _ = policy.controller.forward(transcripts)
    told = policy.probabilities()["0/or"]
    assert list(told) == ["relu", "tanh", "elu"]
    assert list(told.values()) == pytest.approx(log_p_B.exp().tolist(), abs=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        SKIPS,
        {"concat": [{"optional": WIDTH}, {"affine": {"units": 3}}]},
        {"concat": [{"repeat": {"times": {"oneof": [1, 2, 12]}, "body": WIDTH}}]},
    ],
    ids=["selections", "asked in some", "one kind"],
)
def test_probabilities_are_how_often_options_are_drawn(given: Any) -> None:
    space = parse_space(given)
    policy = learnt(space, controller_of(space, init_range=0.8))
    state = json.dumps(policy.state_dict(), default=lambda each: each.tolist())
    told = policy.probabilities()
    assert told == policy.probabilities()
    assert json.dumps(policy.state_dict(), default=lambda each: each.tolist()) == state
    drawn = policy.draw(2_000, np.random.default_rng(3))
    assert set(told) == {path for each in drawn for path in each}
    numbers = [int(path.split("/")[2]) for path in told if path.count("/") == 4]
    assert numbers == sorted(numbers)
    for path, options in told.items():
        asked = [each[path] for each in drawn if path in each]
        shares = np.bincount(asked, minlength=len(options)) / len(asked)
        assert list(options.values()) == pytest.approx(shares.tolist(), abs=0.09), path
        assert sum(options.values()) == pytest.approx(1.0)


def test_only_what_learns_is_taught() -> None:
    space = parse_space(ONE)
    assert isinstance(learnt(space), LearningPolicy)
    assert not isinstance(FairPaths(space), LearningPolicy)
    assert not isinstance(UniformPaths(space), LearningPolicy)


def probabilities(controller: Controller) -> np.ndarray:
    """Of the options of the space's only decision, as they are drawn."""
    space = parse_space(ONE)
    (decision,) = space.decisions(enter(space))
    rollout = Rollout(NumpyController(controller), np.random.default_rng(0))
    rollout.advance(decision)
    return rollout.probabilities(decision)


def test_logits_are_divided_by_the_temperature_and_bounded_by_the_tanh() -> None:
    space = parse_space(ONE)
    plain, hot, bounded = (
        controller_of(space, init_range=3.0, **shape)
        for shape in ({}, {"temperature": 5.0}, {"temperature": 5.0, "tanh_constant": 2.5})
    )
    logits = np.log(probabilities(plain))
    logits -= logits.mean()
    expected = np.exp(logits / 5)
    np.testing.assert_allclose(probabilities(hot), expected / expected.sum(), rtol=1e-6)
    with torch.no_grad():
        bounded.head.weight.mul_(1e6)
        bounded.head.bias.mul_(1e6)
    extreme = probabilities(bounded)  # logits of -2.5 and 2.5
    assert extreme.min() >= math.exp(-2.5) / (math.exp(-2.5) + 2 * math.exp(2.5)) - 1e-9
    assert extreme.max() / extreme.min() == pytest.approx(math.exp(5.0), rel=1e-3)


@pytest.mark.parametrize("space", [ONE, SKIPS])
@pytest.mark.parametrize("shape", [{}, {"temperature": 5.0, "tanh_constant": 2.5}])
def test_what_is_drawn_is_as_likely_as_the_gradient_takes_it_for(
    space: Any, shape: dict[str, Any]
) -> None:
    space = parse_space(space)
    controller = controller_of(space, init_range=2.0, **shape)
    for seed in range(5):
        rollout = Rollout(NumpyController(controller), np.random.default_rng(seed))
        genotype = space.walk(rollout.choose)
        transcript = Transcript.of(controller.vocabulary, space, genotype)
        (log_p,), _ = controller.forward([transcript])
        assert float(log_p.detach()) == pytest.approx(rollout.log_probability, rel=1e-4)


def test_a_selection_is_bounded_as_two_logits_are() -> None:
    space = parse_space(SKIPS)
    controller = controller_of(space, init_range=2.0, tanh_constant=1.5)
    assert controller.attention is not None
    with torch.no_grad():
        controller.attention.score.weight.mul_(1e6)
    chances = set()
    for seed in range(3):
        rollout = Rollout(NumpyController(controller), np.random.default_rng(seed))
        space.walk(rollout.choose)
        chances |= {round(each, 4) for found in rollout._chances.values() for each in found}
    certain = 1 / (1 + math.exp(-3.0))  # softmax of -1.5 and 1.5
    assert chances <= {round(certain, 4), round(1 - certain, 4)}


def test_the_divergence_of_skips_is_that_of_bernoulli_variables() -> None:
    space = parse_space(SKIPS)
    controller = controller_of(space, init_range=1e-6)  # every probability is one half
    genotypes = [space.walk(lambda decision, answer=answer: answer) for answer in (0, 1)]
    transcripts = [Transcript.of(controller.vocabulary, space, each) for each in genotypes]
    _, _, divergence_B = controller.judge(transcripts, 0.4)
    one = 0.5 * math.log(0.5 / 0.4) + 0.5 * math.log(0.5 / 0.6)
    num_asked = [len(each.selected) for each in transcripts]
    num_takers = [len({taker for taker, _, _ in each.selected}) for each in transcripts]
    assert num_takers == [3, 3]
    assert num_asked == [6, 6]
    assert divergence_B.tolist() == pytest.approx([one * 6 / 3] * 2, rel=1e-4)
    assert controller.judge(transcripts)[2].tolist() == [0.0, 0.0]


def test_a_weight_of_skips_draws_them_towards_their_share() -> None:
    space = parse_space(SKIPS)
    taken = {}
    for weight in (0.0, 5.0):
        policy, rng = learnt(space, skip_weight=weight, skip_share=0.1), np.random.default_rng(0)
        for _ in range(60):
            policy.learn(policy.draw(4, rng), [0.5] * 4)
        drawn = [each for each in policy.draw(100, rng)]
        answers = [v for each in drawn for path, v in each.items() if "/from/" in path]
        taken[weight] = sum(answers) / len(answers)
    assert taken[5.0] == pytest.approx(0.1, abs=0.06)
    assert taken[0.0] > 0.25


def test_its_state_is_plain_but_for_tensors() -> None:
    policy = learnt(parse_space(ONE))
    policy.learn([{"0/or": 0}], [0.5])
    json.dumps(dict(policy.state_dict()), default=lambda value: value.tolist())
