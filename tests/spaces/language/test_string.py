"""Strings of tokens: what they ask, how many there are, and what they build."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasrunner.core import OneOf, SpaceError
from nasrunner.core.order import listed
from nasrunner.spaces import Affine, ClassLogits, Empty, Relu, String
from nasrunner.spaces.language.parsing import parse_space
from tests.spaces.enumeration import enumerate_genotypes

LAYER = {"concat": [{"affine": {"units": {"oneof": [2, 3]}}}, {"or": ["relu", "tanh"]}]}
SMALL: dict[str, Any] = {
    "string": {"max_length": 3, "first": LAYER, "token": {"or": [LAYER, {"dropout": {"p": 0.5}}]}}
}


def test_one_decision_picks_a_layer_with_all_that_it_is_or_the_end() -> None:
    space = parse_space(SMALL)
    first = [f"affine(units={units}) → {name}" for units in (2, 3) for name in ("relu", "tanh")]
    assert space.signature() == {
        "string/first": tuple(first),
        "string/*": ("final", *first, "dropout(p=0.5)"),
    }


def test_the_final_token_ends_the_string_and_nothing_more_is_asked() -> None:
    space = parse_space(SMALL)
    assert space.walk(lambda decision: 0) == {"string/first": 0, "string/1": 0}
    answers = {"string/first": 3, "string/1": 5, "string/2": 2}
    assert space.walk(lambda decision: answers[decision.path]) == answers  # no room for an end
    assert space.freeze(answers).text() == (
        "affine(units=3) → tanh → dropout(p=0.5) → affine(units=2) → tanh"
    )


def test_it_is_as_many_networks_as_it_lists_and_all_are_different() -> None:
    space = parse_space(SMALL)
    found = [space.freeze(genotype).text() for genotype in enumerate_genotypes(space)]
    assert space.size() == len(found) == len(set(found)) == 4 * (1 + 5 + 25)
    assert [space.freeze(genotype).text() for genotype in listed(space)] == found
    assert {len(space.walk(lambda d, last=last: last % len(d.options))) for last in (0, 1)} == {
        2,
        3,
    }


def test_a_layers_path_has_its_place_in_the_string() -> None:
    frozen = parse_space(SMALL).network.freeze({"string/first": 0, "string/1": 1, "string/2": 0})
    paths = [layer.path for layer in frozen.modules]  # type: ignore[attr-defined]
    assert paths == ["string/first", "string/1/or/0"]


def test_a_string_of_one_token_has_no_end_to_ask_for() -> None:
    space = String(1, Affine(OneOf((2, 3))), Relu())  # type: ignore[arg-type]
    assert space.size() == 2
    assert list(space.signature()) == ["string/first"]
    assert String(2, Relu(), Empty()).freeze({"string/first": 0, "string/1": 1}).text() == "relu"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": {"oneof": [2, 3]}}, "max_length of string must be a whole number, got"),
        ({"max_length": 0}, r"max_length must be int >= 1, got 0"),
        ({"token": {"affine": {"units": {"range": [1, 1001, 1]}}}}, "token of string .*1,001"),
        (
            {
                "first": {
                    "repeat": {
                        "times": {"schedule": {"start": 1, "step": 1, "end": 2, "every": 5}},
                        "body": "relu",
                    }
                }
            },
            "first of string must have no schedule",
        ),
    ],
)
def test_what_is_no_vocabulary_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space({"string": {**SMALL["string"], **changes}})


def test_an_open_string_is_not_built() -> None:
    with pytest.raises(SpaceError, match="its tokens have to be chosen: freeze it first"):
        String(2, Relu(), Empty()).build((3,))


def test_two_classes_have_one_neuron_whose_cross_entropy_is_that_of_a_sigmoid() -> None:
    network, shape = ClassLogits(2).build((5,))
    assert shape == (2,)
    assert sum(p.numel() for p in network.parameters()) == 5 + 1
    x_BF, y_B = torch.randn(8, 5), torch.tensor([0, 1] * 4)
    neuron = next(m for m in network.modules() if isinstance(m, nn.Linear))
    loss = nn.functional.cross_entropy(network(x_BF), y_B)
    expected = nn.functional.binary_cross_entropy_with_logits(neuron(x_BF)[:, 0], y_B.float())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    probability_B = network(x_BF).softmax(-1)[:, 1]
    np.testing.assert_allclose(
        probability_B.detach(), neuron(x_BF).sigmoid()[:, 0].detach(), rtol=1e-5
    )


def test_more_classes_have_a_neuron_each_and_images_are_flattened() -> None:
    network, shape = ClassLogits(3).build((2, 4, 4))
    assert shape == (3,)
    assert network(torch.randn(6, 2, 4, 4)).shape == (6, 3)
    assert sum(p.numel() for p in network.parameters()) == 3 * (32 + 1)
