"""How often architectures skip."""

import pytest

from nasrunner.children.supernets.skips import SkipCount
from nasrunner.spaces.language.parsing import parse_space

CELL = {"darts_rnn": {"nodes": 2, "activations": ["tanh", "identity"]}}
MODEL = {"vocabulary": 7, "tied": True, "units": 4, "dropout": 0.0}
RECURRENT = {"language_model": {**MODEL, "body": {"recurrent": {"cell": CELL}}}}
SKIPPING = {"or": ["empty", {"affine": {"units": 4}}]}
PLAIN = {"concat": [SKIPPING, {"optional": "relu"}, SKIPPING, {"affine": {"units": 3}}]}
LAYER = {"or": [{"affine": {"units": 4}}, "empty"]}
CONNECTED = {"concat": [{"skip_layers": {"times": 3, "layer": LAYER}}, {"affine": {"units": 3}}]}


def test_modules_that_pass_their_input_on_are_skips():
    space = parse_space(PLAIN)
    count = SkipCount(space)
    some = {"0/or": 0, "1/optional": 0, "2/or": 1}
    none = {"0/or": 1, "1/optional": 1, "2/or": 1}
    assert count.shares([some, none]) == {"skip_share": pytest.approx(2 / 6)}
    assert [count.number_in(each) for each in (some, none)] == [2, 0]


def test_an_activation_that_is_the_identity_is_no_skip():
    space = parse_space(RECURRENT)
    identities = space.walk(lambda decision: len(decision.options) - 1)
    assert 1 in identities.values()
    assert SkipCount(space).shares([identities]) == {}
    assert SkipCount(space).number_in(identities) == 0


def test_connections_of_layers_are_counted_beside_skips():
    space = parse_space(CONNECTED)
    found = SkipCount(space).shares([space.walk(lambda decision: len(decision.options) - 1)])
    assert found == {"skip_share": 1.0, "connection_share": 1.0}


RENAMED = {"named": {"label": "shortcut", "module": "empty"}}
WEAK = {"concat": ["empty", {"dropout": {"p": 0.3}}]}


@pytest.mark.parametrize("skip", [RENAMED, WEAK, {"named": {"label": "conv", "module": WEAK}}])
def test_a_skip_is_known_by_what_it_does_whatever_it_is_called(skip):
    space = parse_space({"concat": [{"or": ["relu", skip]}, {"affine": {"units": 3}}]})
    count = SkipCount(space)
    assert [count.number_in({"0/or": index}) for index in (0, 1)] == [0, 1]
    assert count.can_skip()


NOTHING_TO_SKIP = {
    "no such option": {"or": ["relu", "tanh"]},
    "one in its name": {"or": ["relu", {"named": {"label": "empty", "module": "tanh"}}]},
    "an amount": {"repeat": {"times": {"oneof": [0, 1]}, "body": "relu"}},
    "dropout or none": {"optional": {"dropout": {"p": 0.5}}},
    "zeros": {"or": ["zero", "relu"]},
}


@pytest.mark.parametrize("layer", NOTHING_TO_SKIP.values(), ids=NOTHING_TO_SKIP)
def test_where_nothing_is_a_skip_none_is_counted(layer):
    space = parse_space({"concat": [layer, {"affine": {"units": 3}}]})
    assert not SkipCount(space).can_skip()
    assert SkipCount(space).shares([space.walk(lambda decision: 0)]) == {}


def test_an_option_that_asks_something_is_a_skip_by_what_it_is_asked():
    inner = {"or": [{"optional": "relu"}, {"affine": {"units": 4}}]}
    space = parse_space({"concat": [inner, {"affine": {"units": 3}}]})
    count = SkipCount(space)
    found = [space.walk(lambda d, a=a: a.get(d.path, 0)) for a in ({}, {"0/or/0/optional": 1})]
    assert [count.number_in(each) for each in found] == [1, 0]
    assert count.number_in({"0/or": 1}) == 0
