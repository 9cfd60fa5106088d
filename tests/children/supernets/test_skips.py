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
