"""What an architecture can grow by, found from the space."""

import numpy as np
import pytest

from nasrunner.core import SpaceError
from nasrunner.core.space import additions, beside, grown, living, smallest
from nasrunner.spaces.language.parsing import parse_space
from tests.searchers.worlds import load_space

CONV = {"conv2d": {"filters": "same", "kernel_size": 3}}


def rng():
    return np.random.default_rng(0)


def of(network):
    return parse_space({"concat": [network, {"affine": {"units": 3}}]})


def answers(space, parent=None):
    parent = smallest(space, rng()) if parent is None else parent
    return [dict(each.answers) for each in additions(space, parent, rng())]


def test_an_optional_that_is_off_is_what_can_be_added():
    space = of({"optional": CONV})
    assert smallest(space, rng()) == {"0/optional": 0}
    assert answers(space) == [{"0/optional": 1}]
    assert answers(space, {"0/optional": 1}) == []


def test_what_only_adds_chance_or_nothing_is_no_part():
    assert answers(of({"optional": {"dropout": {"p": 0.5}}})) == []
    inner = {"optional": {"or": ["empty", {"dropout": {"p": 0.5}}, "relu"]}}
    assert answers(of(inner)) == [{"0/optional": 1, "0/optional/or": 2}]


def test_what_a_part_asks_itself_is_answered_in_every_way():
    filters = {"oneof": [2, 4]}
    space = of({"optional": {"conv2d": {"filters": filters, "kernel_size": {"oneof": [1, 3]}}}})
    found = answers(space)
    pairs = [tuple(each.values())[1:] for each in found]
    assert pairs == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for each in additions(space, smallest(space, rng()), rng()):
        space.freeze(grown(space, smallest(space, rng()), [each]))


def test_of_very_many_answers_some_are_drawn():
    units = {"affine": {"units": {"oneof": list(range(1, 30))}}}
    space = of({"optional": {"concat": [units, units]}})
    found = answers(space)
    assert 32 < len(found) <= 64  # of 841
    assert answers(space) == found


def test_edges_of_zeros_take_anything_and_those_that_pass_on_take_operations():
    space = of({"cell": {"nodes": 3, "edge": {"or": ["zero", "empty", CONV]}}})
    start = smallest(space, rng())
    assert list(start.values()) == [1, 1, 1]
    assert [list(each.values()) for each in answers(space)] == [[2], [2], [2]]
    paths = list(start)
    chain = dict(zip(paths, [1, 0, 1], strict=True))
    assert answers(space, chain) == [
        {paths[0]: 2},
        {paths[1]: 1},
        {paths[1]: 2},
        {paths[2]: 2},
    ]


def test_a_part_that_nothing_would_take_is_none():
    space = of({"cell": {"nodes": 3, "edge": {"or": ["zero", CONV]}}})
    paths = [each.path for each in space.decisions(space._root)] or []
    genotype = space.walk(lambda decision: int(decision.path.endswith("0-2/or")))
    assert paths
    assert answers(space, genotype) == []  # 0-1 leads nowhere, and nothing leads to 1-2


def test_the_smallest_network_is_more_than_zeros_and_can_grow():
    space = of({"cell": {"nodes": 3, "edge": {"or": ["zero", CONV]}}})
    start = smallest(space, rng())
    assert list(start.values()) == [1, 1, 0]
    assert not living(space.freeze(start)).network.is_zero
    assert len(answers(space)) == 1
    dead = of({"concat": ["zero", {"optional": CONV}]})
    with pytest.raises(SpaceError, match="nothing of its input reaches the output"):
        smallest(dead, rng())


@pytest.mark.parametrize("kind", ["repeat", "repeat_tied"])
def test_a_repetition_grows_by_the_next_number(kind):
    space = of({kind: {"times": {"oneof": [4, 1, 2]}, "body": CONV}})
    start = smallest(space, rng())
    assert list(start.values()) == [1]
    assert [list(each.values()) for each in answers(space)] == [[2]]
    (part,) = additions(space, start, rng())
    there = beside(space, start, [part])
    assert there.network.modules[0].follow == (True,)
    assert there.network.modules[0].parts[0].text() == "conv2d(filters=same, kernel_size=3)"


def test_what_repetitions_have_decided_stays():
    body = {"or": [CONV, "relu"]}
    space = of({"repeat": {"times": {"oneof": [1, 2]}, "body": body}})
    start = {"0/repeat/times": 0, "0/repeat/0/or": 1}
    assert answers(space, start) == [
        {"0/repeat/times": 1, "0/repeat/1/or": 0},
        {"0/repeat/times": 1, "0/repeat/1/or": 1},
    ]
    for part in additions(space, start, rng()):
        assert grown(space, start, [part])["0/repeat/0/or"] == 1


def test_several_parts_join_at_once():
    space = load_space("nasbench201")
    start = smallest(space, rng())
    found = additions(space, start, rng())
    one, other = found[0], found[-1]
    both = grown(space, start, [one, other])
    assert {path for path in both if both[path] != start[path]} == {one.path, other.path}


@pytest.mark.parametrize("name", ["figure1", "mlp_string", "nasrl_cell_small"])
def test_numbers_and_activations_are_no_parts(name):
    space = load_space(name)
    assert answers(space) == []
