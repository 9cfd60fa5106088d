"""The ensemble of LSTMs that reads genotypes."""

from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core import SearchSpace
from nasrunner.core.order import rollouts
from nasrunner.searchers.surrogates.ensemble import left_out
from nasrunner.searchers.surrogates.lstm import LstmEnsemble, Readers
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space


def ensemble(space: SearchSpace, **changes: Any) -> LstmEnsemble:
    arguments: dict[str, Any] = {
        "hidden_units": 16,
        "num_members": 3,
        "num_steps": 60,
        "batch_size": 16,
        "learning_rate": 0.02,
    }
    return LstmEnsemble(**{**arguments, **changes}, space=space)


def test_members_are_torchs_lstm_with_an_embedding_and_a_linear_layer() -> None:
    members, rows, hidden = 3, 7, 5
    readers = Readers(members, rows, hidden, torch.tensor(0.3), np.random.default_rng(0))
    read = torch.tensor([[[6, 0, 2, 5], [6, 4, 6, 6]], [[6, 1, 1, 1], [6, 3, 2, 6]]] * 2)[:members]
    last = torch.tensor([[3, 1], [3, 2], [2, 0]])
    found = readers.predict(read, last)
    for member in range(members):
        own = {name: weight[member].detach() for name, weight in readers.weights.items()}
        lstm = torch.nn.LSTM(hidden, hidden, batch_first=True)
        ours = ["cell", "input", "forget", "output"]
        theirs = [ours.index(gate) for gate in ("input", "forget", "cell", "output")]
        with torch.no_grad():
            for name, weight in (("input_HG", lstm.weight_ih_l0), ("state_HG", lstm.weight_hh_l0)):
                weight.copy_(torch.cat([own[name].T.chunk(4)[gate] for gate in theirs]))
            lstm.bias_ih_l0.copy_(torch.cat([own["bias_G"][0].chunk(4)[g] for g in theirs]))
            lstm.bias_hh_l0.zero_()
            for place in range(2):
                fed = own["embedding_RH"][read[member, place, : last[member, place] + 1]]
                _, (state, _) = lstm(fed)
                expected = state[0] @ own["head_H"][:, 0] + own["head_bias"][0]
                assert float(found[member, place]) == pytest.approx(float(expected), abs=1e-6)


def test_the_mean_and_the_spread_are_those_of_the_members() -> None:
    space = load_space("mlp")
    genotypes = rollouts(space, np.random.default_rng(0), 20)
    surrogate = ensemble(space, num_steps=5)
    surrogate.fit(genotypes, np.linspace(-1, 1, 20), np.random.default_rng(1))
    assert surrogate._readers is not None
    mean, std = surrogate.predict(genotypes[:4])
    for place, genotype in enumerate(genotypes[:4]):
        rows, last = surrogate._padded([surrogate._rows(genotype)])
        alone = surrogate._readers.predict(rows.expand(3, -1, -1), last.expand(3, -1))
        values = alone[:, 0].detach().numpy().astype(float)
        assert mean[place] == pytest.approx(values.mean(), abs=1e-6)
        assert std[place] == pytest.approx(values.std(), abs=1e-6)
    assert std.min() > 0


def test_each_child_is_left_out_by_one_member_where_there_are_enough() -> None:
    is_left_out = left_out(3, 8, np.random.default_rng(0))
    assert is_left_out.sum(axis=0).tolist() == [1] * 8
    assert sorted(is_left_out.sum(axis=1)) == [2, 3, 3]
    assert not left_out(3, 5, np.random.default_rng(0)).any()


def test_the_order_of_answers_is_seen() -> None:
    """The reward is that of the first ``relu`` in a chain: no count of answers knows it."""
    body = {"or": ["relu", "tanh"]}
    space = parse_space({"repeat": {"times": {"oneof": [4, 5, 6]}, "body": body}})
    rng = np.random.default_rng(0)
    genotypes = rollouts(space, rng, 160)

    def first_relu(genotype: Any) -> float:
        answers = [genotype.get(f"repeat/{place}/or", 1) for place in range(6)]
        return float(answers.index(0) if 0 in answers else 6)

    rewards = np.array([first_relu(genotype) for genotype in genotypes])
    targets = (rewards - rewards.mean()) / rewards.std()
    surrogate = ensemble(space, num_steps=150)
    surrogate.fit(genotypes[:100], targets[:100], rng)
    mean, _ = surrogate.predict(genotypes[100:])
    assert np.corrcoef(mean, targets[100:])[0, 1] > 0.8


@pytest.mark.parametrize("name", ["mlp", "small_cnn", "nasrl_conv_small"])
def test_a_rule_of_values_is_learnt_in_a_conditional_space(name: str) -> None:
    """The rule: the share of all answers, whichever are asked, that are the first option."""
    space, rng = load_space(name), np.random.default_rng(1)
    genotypes = rollouts(space, rng, 160)
    rewards = np.array([np.mean([i == 0 for i in g.values()]) for g in genotypes])
    targets = (rewards - rewards.mean()) / rewards.std()
    surrogate = ensemble(space)
    surrogate.fit(genotypes[:120], targets[:120], rng)
    mean, _ = surrogate.predict(genotypes[120:])
    assert np.corrcoef(mean, targets[120:])[0, 1] > 0.5


def test_it_follows_from_its_stream_alone_and_leaves_the_global_one_where_it_was() -> None:
    space = load_space("mlp")
    genotypes = rollouts(space, np.random.default_rng(0), 20)
    targets = np.linspace(-1, 1, 20)
    surrogate, predictions = ensemble(space, num_steps=5), []
    before = torch.get_rng_state()
    for seed in (1, 2, 1):
        surrogate.fit(genotypes, targets, np.random.default_rng(seed))
        predictions.append(surrogate.predict(genotypes))
        torch.rand(1)
        torch.set_rng_state(before)
    np.testing.assert_array_equal(predictions[0], predictions[2])
    assert not np.array_equal(predictions[0], predictions[1])
    surrogate.fit(genotypes, targets, np.random.default_rng(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("text", ["relu", {"or": ["relu", "tanh"]}])
@pytest.mark.parametrize("number", [1, 3])
def test_one_child_and_equal_children_can_be_fitted(text: Any, number: int) -> None:
    space = parse_space(text)
    genotype = space.walk(lambda decision: 0)
    surrogate = ensemble(space)
    surrogate.fit([genotype] * number, np.full(number, 0.7), np.random.default_rng(0))
    mean, std = surrogate.predict([genotype])
    np.testing.assert_allclose(mean, [0.7], atol=0.1)
    assert np.isfinite(std).all()
