"""What of a space says how deep its architectures are, and what deeper ones ask."""

from typing import Any

import numpy as np
import pytest

from nasrunner.core.order import is_of, key_of, listed
from nasrunner.searchers.progressive.growth import (
    GrowingString,
    architectures,
    drawn,
    find_growth,
)
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space

BODY = {"or": ["relu", "tanh", "elu"]}


def repeated(times: Any, body: Any = BODY) -> dict[str, Any]:
    return {"repeat": {"times": times, "body": body}}


@pytest.mark.parametrize(
    ("space", "name", "depths"),
    [
        ("mlp", "2/repeat/times", "012345678"),
        ("small_cnn", "3/repeat/times", "123"),
        ("mlp_string", "0/string/*", "012345678"),
    ],
)
def test_the_depth_of_shipped_spaces_is_found(space: str, name: str, depths: str) -> None:
    growth = find_growth(load_space(space), None)
    assert (growth.name, "".join(growth.depths)) == (name, depths)


@pytest.mark.parametrize(
    "tree",
    [
        {"concat": [BODY, repeated({"oneof": [3, 1, 4]})]},  # in no order
        {"concat": [BODY, repeated(3)]},
        {"optional": repeated({"oneof": [1, 2, 3]})},  # not asked everywhere
        repeated({"oneof": [1, 2]}, "relu"),  # nothing is asked in it
        {"repeat_tied": {"times": {"oneof": [1, 2, 3]}, "body": BODY}},  # nor anything more
        {"affine": {"units": {"oneof": [1, 2, 3]}}},
    ],
)
def test_other_numbers_are_no_depth(tree: Any) -> None:
    with pytest.raises(ValueError, match=r"space must have a depth to grow, .* it has none"):
        find_growth(parse_space(tree), None)


def test_of_several_depths_one_must_be_meant() -> None:
    times = {"range": [1, 3, 1]}
    space = parse_space({"concat": [repeated(times), repeated(times, {"or": ["elu", "tanh"]})]})
    message = r"depth must say which decision .*: 0/repeat/times, 1/repeat/times"
    with pytest.raises(ValueError, match=message):
        find_growth(space, None)
    assert find_growth(space, "1/repeat/times").name == "1/repeat/times"
    with pytest.raises(ValueError, match=r"depth must be a decision .*, got '1/repeat/0/or'"):
        find_growth(space, "1/repeat/0/or")


def test_a_string_is_meant_by_its_kind_or_any_of_its_decisions() -> None:
    space = load_space("mlp_string")
    for depth in ("0/string/*", "0/string/3", None):
        assert isinstance(find_growth(space, depth), GrowingString)


@pytest.mark.parametrize(
    ("tree", "first", "each"),
    [
        ({"concat": [BODY, repeated({"oneof": [2, 3, 4]})]}, 27, 3),
        ({"concat": [BODY, repeated({"oneof": [4, 3, 2]})]}, 27, 3),
        ({"string": {"max_length": 4, "first": BODY, "token": {"or": ["relu", "elu"]}}}, 3, 2),
    ],
)
def test_expansions_have_their_parents_answers_and_all_that_are_new(
    tree: Any, first: int, each: int
) -> None:
    """Level by level they are the whole space, none twice."""
    space = parse_space(tree)
    growth = find_growth(space, None)
    level = list(architectures(space, growth.legal(0, None)))
    assert len(level) == first
    found = {key_of(genotype) for genotype in level}
    for number in range(1, len(growth.depths)):
        grown = []
        for parent in level:
            expansions = list(architectures(space, growth.legal(number, parent)))
            assert len(expansions) == each
            for genotype in expansions:
                changed = [path for path in parent if genotype[path] != parent[path]]
                assert len(changed) == 1  # the depth, or where the string ended
                assert growth.level_of(genotype) == number
            grown += expansions
        level = grown
        found |= {key_of(genotype) for genotype in level}
        of_level = list(architectures(space, growth.legal(number, None)))
        assert sorted(map(sorted, map(key_of, of_level))) == sorted(map(sorted, map(key_of, level)))
    assert found == {key_of(genotype) for genotype in listed(space)}


@pytest.mark.parametrize("space", ["mlp", "mlp_string", "small_cnn"])
def test_expansions_are_drawn_from_all_of_a_parents(space: str) -> None:
    there, rng = load_space(space), np.random.default_rng(0)
    growth = find_growth(there, None)
    parent = drawn(there, growth.legal(0, None), rng)
    assert growth.level_of(parent) == 0
    all_of_it = {key_of(each) for each in architectures(there, growth.legal(1, parent))}
    found = [drawn(there, growth.legal(1, parent), rng) for _ in range(40 * len(all_of_it))]
    assert all(is_of(there, genotype) for genotype in found)
    assert {key_of(genotype) for genotype in found} == all_of_it
