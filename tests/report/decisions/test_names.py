"""Decisions in words, and which of them are one."""

import pytest

from nasrunner.core.decision import Decision
from nasrunner.report.decisions.names import readable
from nasrunner.report.decisions.places import place_of, varying_places

NUMBERS, OPERATIONS = (1, 2), ("none", "conv2d")


@pytest.mark.parametrize(
    ("path", "options", "name"),
    [
        ("0/affine/units", NUMBERS, "affine units"),
        ("1/or", ("sigmoid", "tanh", "relu"), "activation"),
        ("1/or", OPERATIONS, "operation"),
        ("2/repeat/times", NUMBERS, "number of layers"),
        ("2/repeat/*/or/0/0/affine/units", NUMBERS, "each layer affine units"),
        ("3/repeat/1/affine/units", NUMBERS, "layer 2 affine units"),
        ("normal/cell/0-1/or", OPERATIONS, "normal edge 0→1 operation"),
        ("0/skip_layers/1/0/conv2d/kernel_size/0", NUMBERS, "layer 1 conv2d kernel_size[0]"),
        ("0/skip_layers/3/from/2", (False, True), "layer 3 takes 2"),
        ("0/cell_stack/normal/block_cell/3/from", ("0,1", "0,2"), "normal node 3 inputs"),
        ("language_model/recurrent/enas_cell/2/source", NUMBERS, "node 2 source"),
        ("2/optional", ("empty", "dropout"), "optional dropout"),
        ("1/maybe_swap", ("a → b", "b → a"), "order"),
        ("hyperparameters/optimizer.lr", NUMBERS, "optimizer.lr"),
        ("hyperparameters/optimizer/0/lr", NUMBERS, "optimizer lr"),
    ],
)
def test_a_decision_is_called_by_its_place_module_and_argument(path, options, name):
    assert readable({path: options}) == {path: name}


def test_decisions_of_one_name_are_numbered_in_the_order_of_their_paths():
    found = readable({"10/or": OPERATIONS, "3/or": OPERATIONS, "4/or": OPERATIONS})
    assert found == {"3/or": "operation #1", "4/or": "operation #2", "10/or": "operation #3"}


def decision(path, kind):
    return Decision(path, kind, NUMBERS, True)


def test_edges_of_a_cell_are_decisions_of_their_own():
    places = [f"n/cell/{edge}/or" for edge in ("0-1", "0-2", "1-2")]
    edges = [decision(place, "n/cell/*/or") for place in places]
    assert [place_of(each, varying_places([edges, edges])) for each in edges] == places


def test_repetitions_are_one_where_their_number_varies():
    layers = [decision(f"repeat/{n}/units", "repeat/*/units") for n in range(3)]
    fixed = varying_places([layers, layers])
    assert [place_of(each, fixed) for each in layers] == [f"repeat/{n}/units" for n in range(3)]
    times = decision("repeat/times", "repeat/times")
    for asked in ([layers[:2], layers], [[times, *layers]]):
        varying = varying_places(asked)
        assert {place_of(each, varying) for each in layers} == {"repeat/*/units"}
