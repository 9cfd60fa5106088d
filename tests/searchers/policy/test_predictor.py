"""The predictor that shares the controller's embeddings and LSTM, and its adversarial reward."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core import Decision, Outcome, SearchSpace
from nasrunner.searchers.policy.objectives import Ppo
from nasrunner.searchers.policy.policy_gradient import PolicyGradient
from nasrunner.searchers.policy.transcript import Transcript
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.policy.test_policy_gradient import reinforce
from tests.searchers.worlds import load_space, reward_of, run


def predicting(space: SearchSpace, **changes: Any) -> PolicyGradient:
    return reinforce(space, **{"predictor_weight": 1.0, **changes})


def flattened(searcher: PolicyGradient) -> dict[str, np.ndarray]:
    return {n: w.detach().numpy().copy() for n, w in searcher.controller.named_parameters()}


def test_without_a_predictor_weights_and_proposals_are_as_they_were() -> None:
    without, with_one = reinforce(load_space("mlp")), predicting(load_space("mlp"))
    assert without.controller.predictor is None
    others = flattened(with_one)
    assert set(others) - set(flattened(without)) == {"predictor.weight", "predictor.bias"}
    for name, weight in flattened(without).items():
        np.testing.assert_array_equal(weight, others[name])


@pytest.mark.parametrize("space", ["mlp", "nasrl_conv_small"])
def test_the_predictor_is_one_layer_on_the_state_after_the_last_answer(space: str) -> None:
    searcher = predicting(load_space(space))
    genotypes = [searcher.suggest(index).genotype for index in range(6)]
    controller = searcher.controller
    assert controller.predictor is not None
    for genotype, predicted in zip(genotypes, searcher.predict(genotypes), strict=True):
        transcript = Transcript(controller.vocabulary)

        def answer(decision: Decision, genotype: Any = genotype, to: Any = transcript) -> int:
            to.open(decision)
            to.answer(decision, genotype[decision.path])
            return int(genotype[decision.path])

        searcher.space.walk(answer)
        rows = [*transcript.fed, transcript.next]
        fed = [
            (1 - share) * controller.embedding.weight[row]
            + (share * controller.embedding.weight[row + 1] if share else 0)
            for row, share in rows
        ]
        _, (hidden, _) = controller.lstm(torch.stack(fed))  # alone, without padding
        expected = controller.predictor(hidden[-1]).item()
        assert predicted == pytest.approx(expected, abs=1e-5)


def test_the_loss_has_the_predictors_squared_error_in_it_and_shapes_the_lstm() -> None:
    space = parse_space({"affine": {"units": {"oneof": [8, 16, 32]}}})
    searcher = predicting(space, predictor_weight=0.5, children_per_replica=4)
    searcher._targets = {0: 1.0, 1: -0.5}
    batch = [(searcher.suggest(0), 0.0), (searcher.suggest(1), 0.0)]  # the policy gains nothing
    predicted = searcher.predict([each.genotype for each, _ in batch])
    loss = searcher.loss(batch, searcher.controller)
    expected = 0.5 * ((predicted[0] - 1.0) ** 2 + (predicted[1] + 0.5) ** 2) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.autograd.backward(loss)
    for name in ("embedding.weight", "lstm.weight_hh_l0"):
        gradient = dict(searcher.controller.named_parameters())[name].grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0


def test_the_predictor_learns_what_architectures_are_worth_in_units_of_the_reward() -> None:
    space = load_space("nasbench_macro")
    searcher = predicting(
        space,
        hidden_units=16,
        num_layers=1,
        init_range=0.3,
        learning_rate=0.02,
        children_per_replica=8,
        predictor_weight=100.0,
    )

    def worth(genotype: Any) -> float:
        return 50.0 + 2.0 * sum(index == 1 for index in genotype.values())

    run(searcher, 800, lambda proposal: worth(proposal.genotype))
    streams = [np.random.default_rng(seed) for seed in range(60)]
    others = [space.walk(lambda decision, rng=rng: int(rng.integers(3))) for rng in streams]
    predicted = searcher.predict(others)
    assert np.corrcoef(predicted, [worth(genotype) for genotype in others])[0, 1] > 0.7
    usual = dict.fromkeys(others[0], 1)  # what the policy has come to
    assert searcher.suggest(800).genotype == usual
    assert searcher.predict([usual])[0] == pytest.approx(66.0, abs=0.5)


def test_what_is_predicted_badly_is_rewarded_against_a_baseline_of_its_own() -> None:
    space = parse_space({"affine": {"units": {"oneof": [8, 16, 32]}}})
    searcher = predicting(space, adversarial_weight=0.2, children_per_replica=3, baseline_decay=0.9)
    rewards = [1.0, 2.0, 6.0]
    proposals = []
    for _ in rewards:
        proposal = searcher.propose()
        assert proposal is not None
        proposals.append(proposal)
    told: list[list[float]] = []
    loss = searcher.loss

    def seen(results: Any, controller: Any) -> Any:
        told.append([advantage for _, advantage in results])
        return loss(results, controller)

    searcher.loss = seen  # type: ignore[method-assign]
    guesses = searcher.predict([each.genotype for each in proposals])  # of untrained: in deviations
    for proposal, reward in zip(proposals, rewards, strict=True):
        searcher.observe(Outcome(proposal, "completed", reward))
    deviation = math.sqrt((4 + 1 + 9) / 3)
    targets = [(reward - 3.0) / deviation for reward in rewards]
    errors = [abs(guess - target) for guess, target in zip(guesses, targets, strict=True)]
    second = errors[0]
    third = 0.9 * second + 0.1 * errors[1]
    surprises = [0.0, errors[1] - second, errors[2] - third]
    plain = [0.0, 2.0 - 1.0, 6.0 - 1.1]
    expected = [a + 0.2 * deviation * s for a, s in zip(plain, surprises, strict=True)]
    assert told == [pytest.approx(expected, rel=1e-5)]


def test_replicas_and_ppo_learn_to_predict_too() -> None:
    space = load_space("mlp")
    for changes in ({"replicas": 2}, {"objective": Ppo(clip=0.2, num_steps=2)}):
        searcher = predicting(space, adversarial_weight=0.1, **changes)
        before = flattened(searcher)
        run(searcher, 12)
        after = flattened(searcher)
        assert searcher.num_updates == 6
        assert not np.array_equal(before["predictor.weight"], after["predictor.weight"])


def test_a_resumed_search_predicts_the_same() -> None:
    space = load_space("mlp")
    made = [predicting(space, adversarial_weight=0.1) for _ in range(2)]
    proposals = run(made[0], 9)
    for proposal in proposals:
        made[1].register(proposal)
        made[1].observe(Outcome(proposal, "completed", reward_of(proposal)))
    genotypes = [each.genotype for each in proposals]
    np.testing.assert_array_equal(made[0].predict(genotypes), made[1].predict(genotypes))
    assert made[0].suggest(9) == made[1].suggest(9)


def test_an_adversary_without_a_predictor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"adversarial_weight=0.5 rewards the errors of a predi"):
        reinforce(load_space("mlp"), adversarial_weight=0.5)
