"""Architectures that a person writes down: by values or indices, whole or in part."""

import json
from typing import Any

import pytest

from nasrunner.core import ConfigError
from nasrunner.study.known.given import read_given
from tests.searchers.test_schedules import growing
from tests.toys import chain, figure1

WHOLE = {
    "0/conv2d/filters": 64,
    "0/conv2d/kernel_size": 3,
    "1/maybe_swap": "relu → batch_norm",
    "2/optional": "dropout",
    "2/optional/dropout/p": 0.9,
}
INDICES = {
    "0/conv2d/filters": 1,
    "0/conv2d/kernel_size": 0,
    "1/maybe_swap": 1,
    "2/optional": 1,
    "2/optional/dropout/p": 1,
}


@pytest.mark.parametrize(
    "entry",
    [
        WHOLE,
        {"answers": WHOLE, "index": 7, "reward": 0.9},  # of summary.json
        {"event": "proposed", "index": 7, "genotype": INDICES, "notes": {}},  # of a ledger
        {**WHOLE, "0/conv2d/filters": 64.0, "2/optional/dropout/p": 0.9000001},
        {**WHOLE, "0/conv2d/filters": "64"},
    ],
)
def test_values_and_indices_describe_the_same_architecture(entry: Any) -> None:
    given = read_given(figure1(), json.loads(json.dumps(entry)), 0, 3, "start_with.genotypes.0")
    assert given.genotype == INDICES
    assert given.drawn == ()


def test_an_index_is_not_taken_for_a_value_nor_a_value_for_an_index() -> None:
    space = chain(2, 4)  # the options 1, 2, 3, 4
    paths = ("0/affine/units", "1/affine/units")
    values = read_given(space, dict.fromkeys(paths, 2), 0, 3, "key")
    indices = read_given(space, {"genotype": dict.fromkeys(paths, 2)}, 0, 3, "key")
    assert list(values.genotype.values()) == [1, 1]
    assert list(indices.genotype.values()) == [2, 2]


def test_what_is_left_open_is_drawn_and_named() -> None:
    found = [read_given(figure1(), {"0/conv2d/filters": 64}, i, 3, "key") for i in range(20)]
    assert {each.genotype["0/conv2d/filters"] for each in found} == {1}
    assert {each.genotype["1/maybe_swap"] for each in found} == {0, 1}
    assert all(set(each.drawn) == {*each.genotype} - {"0/conv2d/filters"} for each in found)
    again = [read_given(figure1(), {"0/conv2d/filters": 64}, i, 3, "key") for i in range(20)]
    assert again == found


def test_what_is_drawn_lets_every_given_answer_count() -> None:
    for seed in range(10):  # without dropout there is no p
        given = read_given(figure1(), {"2/optional/dropout/p": 0.9}, 0, seed, "key")
        assert given.genotype["2/optional"] == given.genotype["2/optional/dropout/p"] == 1


def test_a_schedule_answers_its_decision_as_for_the_first_children() -> None:
    given = read_given(growing(), {"1/affine/units": 32}, 0, 3, "key")
    assert given.genotype["0/skip_layers/times"] == 0
    assert "0/skip_layers/times" not in given.drawn
    same = read_given(growing(), {"1/affine/units": 32, "0/skip_layers/times": 2}, 0, 3, "key")
    assert same.genotype["0/skip_layers/times"] == 0


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([1], r"^key must map decisions to values, .*got \[1\]$"),
        ({"0/conv2d/filters": 1}, r"^key: 0/conv2d/filters must be one of 32, 64, got 1; indices "),
        ({"0/conv2d/filters": True}, r"must be one of 32, 64, got True"),
        (
            {"genotype": {"0/conv2d/filters": 2}},
            r"^key.genotype: 0/conv2d/filters must be .*0 to 1",
        ),
        ({"genotype": {"0/conv2d/filters": "a"}}, r"the index of an option, 0 to 1, got 'a'$"),
        ({"genotype": {"0/conv2d/filters": True}}, r"0 to 1, got True$"),
        (
            {"genotype": {"0/conv2d/filters": 1}, "answers": {"0/conv2d/filters": 32}},
            r"^key has both genotype and answers; legal is one of them$",
        ),
        ({"0/conv2d/filter": 32}, r"no decision 0/conv2d/filter; did you mean 0/conv2d/filters\?"),
        (
            {"2/optional": "empty", "2/optional/dropout/p": 0.5},
            r"^key: 2/optional/dropout/p is answered, but is not asked where",
        ),
    ],
)
def test_answers_that_are_none_are_refused_in_one_sentence(entry: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_given(figure1(), entry, 0, 3, "key")


def test_another_answer_than_that_of_the_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="times is 2 for the first children, by its schedule"):
        read_given(growing(), {"0/skip_layers/times": 3}, 0, 3, "key")
