"""The ensemble of perceptrons, and the tokens that it shares with the LSTMs."""

from typing import Any

import numpy as np
import pytest
import torch

from nasrunner.core import SearchSpace
from nasrunner.core.order import rollouts
from nasrunner.searchers.surrogates.lstm import LstmEnsemble
from nasrunner.searchers.surrogates.mlp import MlpEnsemble, Perceptrons
from nasrunner.searchers.surrogates.tokens import Tokens
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space


def ensemble(space: SearchSpace, **changes: Any) -> MlpEnsemble:
    arguments: dict[str, Any] = {
        "embedding_units": 8,
        "hidden_units": 16,
        "num_members": 3,
        "num_steps": 80,
        "batch_size": 16,
        "learning_rate": 0.02,
        "share": "labels",
    }
    return MlpEnsemble(**{**arguments, **changes}, space=space)


def lstm(space: SearchSpace, **changes: Any) -> LstmEnsemble:
    arguments: dict[str, Any] = {
        "hidden_units": 8,
        "num_members": 2,
        "num_steps": 5,
        "batch_size": 16,
        "learning_rate": 0.02,
    }
    return LstmEnsemble(**{**arguments, **changes}, space=space)


BLOCKS = {
    "concat": [
        {"fork": {"merge": "add", "branches": [{"or": ["relu", "tanh"]}, "elu"]}},
        {"fork": {"merge": "add", "branches": [{"or": ["gelu", "relu", "tanh"]}, "elu"]}},
        {"affine": {"units": {"oneof": [4, 8]}}},
    ]
}
"""Two blocks of which the second chooses among more, and something else."""


def test_kinds_have_tokens_of_their_own_and_labels_share_them_between_blocks() -> None:
    space = parse_space(BLOCKS)
    genotype = {"0/fork/0/or": 1, "1/fork/0/or": 0, "2/affine/units": 0}
    kinds, labels = Tokens(space, "kinds"), Tokens(space, "labels")
    assert (kinds.num_rows, len(kinds.roles)) == (7, 3)
    assert [row for _, row in kinds.read(genotype)] == [1, 2, 5]
    assert (labels.num_rows, len(labels.roles)) == (5, 2)
    assert [row for _, row in labels.read(genotype)] == [1, 2, 3]
    assert [row for _, row in labels.read({**genotype, "1/fork/0/or": 2})] == [1, 1, 3]
    assert [row for _, row in labels.read(genotype, ["0/fork/0/or"])] == [2, 3]


def test_members_are_perceptrons_over_the_mean_embedding_of_each_role() -> None:
    members, rows_of_roles, sizes = 2, [[0, 2], [1, 3, 4]], (3, 6)
    rng = np.random.default_rng(0)
    perceptrons = Perceptrons(rows_of_roles, members, sizes, torch.tensor(0.3), rng)
    # Of the first role token 0 twice and token 2 once, of the second one token 4.
    shares = torch.tensor([2 / 3, 0.0, 1 / 3, 0.0, 1.0]).expand(members, 1, -1)
    found = perceptrons.predict(shares)
    for member in range(members):
        own = {name: weight[member].detach() for name, weight in perceptrons.weights.items()}
        embedding = own["embedding_RD"]
        means = torch.cat([(2 * embedding[0] + embedding[2]) / 3, embedding[4]])
        hidden = torch.relu(means @ own["hidden_IH"] + own["bias_H"][0])
        expected = hidden @ own["head_H"][:, 0] + own["head_bias"][0]
        assert float(found[member, 0].detach()) == pytest.approx(float(expected), abs=1e-6)


def test_shares_are_of_the_answers_of_a_role() -> None:
    body = {"or": ["relu", "tanh"]}
    space = parse_space({"repeat": {"times": {"oneof": [1, 3]}, "body": body}})
    surrogate = ensemble(space)
    answers = {"repeat/times": 1, "repeat/0/or": 0, "repeat/1/or": 1, "repeat/2/or": 1}
    short = {"repeat/times": 0, "repeat/0/or": 0}
    np.testing.assert_allclose(
        surrogate._shares([answers, short]), [[0, 1, 1 / 3, 2 / 3], [1, 0, 1, 0]], rtol=1e-6
    )
    surrogate.implied = ["repeat/times"]
    np.testing.assert_allclose(surrogate._shares([short]), [[0, 0, 1, 0]])


@pytest.mark.parametrize("name", ["mlp", "mlp_string", "small_cnn"])
def test_a_rule_of_values_is_learnt_in_a_conditional_space(name: str) -> None:
    """The rule: the share of all answers, whichever are asked, that are one of three options."""
    space, rng = load_space(name), np.random.default_rng(1)
    genotypes = rollouts(space, rng, 160)
    rewards = np.array([np.mean([i in (0, 1, 2) for i in g.values()]) for g in genotypes])
    targets = (rewards - rewards.mean()) / rewards.std()
    surrogate = ensemble(space)
    surrogate.fit(genotypes[:120], targets[:120], rng)
    mean, std = surrogate.predict(genotypes[120:])
    assert np.corrcoef(mean, targets[120:])[0, 1] > 0.5
    assert std.min() > 0


def test_it_follows_from_its_stream_alone_and_leaves_the_global_one_where_it_was() -> None:
    space = load_space("mlp")
    genotypes = rollouts(space, np.random.default_rng(0), 20)
    targets = np.linspace(-1, 1, 20)
    surrogate, predictions = ensemble(space, num_steps=5), []
    before = torch.get_rng_state()
    for seed in (1, 2, 1):
        surrogate.fit(genotypes, targets, np.random.default_rng(seed))
        predictions.append(surrogate.predict(genotypes))
    np.testing.assert_array_equal(predictions[0], predictions[2])
    assert not np.array_equal(predictions[0], predictions[1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [ensemble, lstm])
def test_many_candidates_are_predicted_as_few_are(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load_space("mlp_string")
    genotypes = rollouts(space, np.random.default_rng(0), 23)
    surrogate = make(space, num_steps=5)
    surrogate.fit(genotypes, np.linspace(-1, 1, 23), np.random.default_rng(1))
    whole = surrogate.predict(genotypes)
    monkeypatch.setattr("nasrunner.searchers.surrogates.ensemble._AT_ONCE", 5)
    np.testing.assert_allclose(surrogate.predict(genotypes), whole, atol=1e-6)


@pytest.mark.parametrize("make", [ensemble, lstm])
def test_what_is_implied_is_not_read(make: Any) -> None:
    body = {"or": ["relu", "tanh"]}
    space = parse_space({"concat": [{"affine": {"units": {"oneof": [1, 2]}}}, body]})
    surrogate = make(space)
    surrogate.implied = ["0/affine/units"]
    answers = [{"0/affine/units": units, "1/or": place} for units in (0, 1) for place in (0, 1)]
    surrogate.fit(answers, np.array([0.0, 1.0, 2.0, 3.0]), np.random.default_rng(0))
    mean, _ = surrogate.predict(answers)
    assert mean[0] == mean[2] != mean[1] == mean[3]


@pytest.mark.parametrize("make", [ensemble, lstm])
def test_a_space_of_one_architecture_is_fitted(make: Any) -> None:
    surrogate = make(parse_space("relu"))
    surrogate.fit([{}, {}], np.array([1.0, 1.0]), np.random.default_rng(0))
    mean, _ = surrogate.predict([{}])
    assert mean == pytest.approx([1.0], abs=0.3)
