"""The tree space of recurrent cells, and what its cells compute."""

from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from nasrunner.core import SpaceError
from nasrunner.spaces import RecurrentCell, TreeCell
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw as picture
from nasrunner.spaces.recurrent.recurrence import RecurrentLayer
from tests.spaces.enumeration import draw, enumerate_genotypes
from tests.spaces.test_shipped import load

# B = batch, T = time steps, H = hidden size

FIGURE_5 = TreeCell(
    nodes=(("add", "tanh"), ("elem_mult", "relu"), ("elem_mult", "sigmoid")),
    inject=("add", "relu"),
    memory=1,
    injected=0,
)
"""Zoph & Le 2017, arXiv:1611.01578, section 3.4."""


def layer_of(cell: TreeCell, units: int = 3, in_units: int = 2) -> RecurrentLayer:
    torch.manual_seed(0)
    return RecurrentLayer(in_units, units, cell.program(), 0.0)


def test_the_cell_of_figure_5_computes_what_the_paper_writes() -> None:
    layer = layer_of(FIGURE_5)
    w1, w3 = layer.from_input.weight.chunk(2)
    w2, w4 = layer.from_state.weight.chunk(2)
    x_BTI = torch.randn(4, 5, 2)
    h = c = torch.zeros(4, 3)
    wanted = []
    for x in x_BTI.unbind(1):
        a0 = torch.tanh(x @ w1.T + h @ w2.T)
        a1 = torch.relu((x @ w3.T) * (h @ w4.T))
        a0_new = torch.relu(a0 + c)
        a2 = torch.sigmoid(a0_new * a1)
        c = (x @ w3.T) * (h @ w4.T)
        h = a2
        wanted.append(h)
    layer.reset_state()
    torch.testing.assert_close(layer(x_BTI), torch.stack(wanted, 1))
    assert layer.state is not None
    torch.testing.assert_close(layer.state, (h, c))
    assert layer.from_input.bias is None, "the paper's nodes have no biases"


def test_the_decisions_are_asked_in_the_order_of_figure_5() -> None:
    space = parse_space({"recurrent": {"cell": {"recurrent_cell": options()}}})
    tokens = ["add", "tanh", "elem_mult", "relu", "elem_mult", "sigmoid", "add", "relu", 1, 0]
    given = iter(tokens)
    genotype = space.walk(lambda decision: decision.options.index(next(given)))
    place = "recurrent/recurrent_cell"
    assert list(genotype) == [
        *(f"{place}/{node}/{what}" for node in range(3) for what in ("combination", "activation")),
        *(f"{place}/inject/combination", f"{place}/inject/activation"),
        *(f"{place}/memory", f"{place}/injected"),
    ]
    frozen: Any = space.freeze(genotype)
    assert frozen.network.cell == FIGURE_5


def options(**changed: Any) -> dict[str, Any]:
    given = {
        "base": 2,
        "combinations": ["add", "elem_mult"],
        "activations": ["identity", "tanh", "sigmoid", "relu"],
    }
    return {**given, **changed}


def test_the_papers_space_has_about_6e16_cells() -> None:
    size = load("nasrl_cell").size()
    assert size == 8**16 * 15**2 == 63_331_869_759_897_600
    assert size == pytest.approx(6e16, rel=0.1)  # section 4.2 of the paper
    assert load("nasrl_cell_small").size() == 8**8 * 7**2


def test_the_size_is_the_number_of_cells() -> None:
    space = RecurrentCell(2, ("add", "max"), ("sin",))
    frozen = [space.freeze(genotype) for genotype in enumerate_genotypes(space)]
    assert space.size() == 2**4 * 3**2 == len(frozen) == len(set(map(str, frozen)))


@pytest.mark.parametrize("base", [0, 1, 3, 6, -8, 12])
def test_a_base_that_is_no_power_of_two_is_refused(base: int) -> None:
    message = rf"base of recurrent_cell must be a power of two, 2, 4, 8, …, got {base}"
    with pytest.raises(SpaceError, match=message):
        parse_space({"recurrent": {"cell": {"recurrent_cell": options(base=base)}}})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"combinations": []}, r"combinations of recurrent_cell must be different ones, got \(\)"),
        ({"activations": ["tanh", "tanh"]}, "activations of recurrent_cell must be different ones"),
        ({"activations": ["cosine"]}, "recurrent_cell.activations must be .*sigmoid"),
        ({"base": {"oneof": [2, 4]}}, "base of recurrent_cell must be a power of two"),
    ],
)
def test_impossible_options_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space({"recurrent": {"cell": {"recurrent_cell": options(**changed)}}})


NODES = [["add", "tanh"], ["add", "tanh"], ["max", "sin"]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nodes": NODES[:2]}, r"as many as a whole tree has \(3, 7, 15, …\), got 2"),
        ({"nodes": NODES[:1] * 5}, "must be a power of two, 2, 4, 8, …, got 3"),
        ({"memory": 3}, "memory of tree_cell must be a node from 0 to 2, got 3"),
        ({"injected": -1}, "injected of tree_cell must be a node from 0 to 2, got -1"),
        ({"inject": ["add", "tan"]}, "no activation 'tan', did you mean 'tanh'"),
        ({"nodes": [["add"], *NODES[1:]]}, r"is \[combination, activation\], got"),
    ],
)
def test_an_impossible_tree_is_refused(changed: dict[str, Any], message: str) -> None:
    tree = {"nodes": NODES, "inject": ["add", "tanh"], "memory": 0, "injected": 2}
    assert parse_space({"recurrent": {"tree_cell": tree}}).size() == 1
    with pytest.raises(SpaceError, match=message):
        parse_space({"recurrent": {"tree_cell": {**tree, **changed}}})


def test_the_lstm_is_a_cell_of_base_8_in_which_four_leaves_are_idle() -> None:
    """i, g, f and o are leaves 0, 1, 2 and 4; zero weights make the leaves beside them zero."""
    torch.manual_seed(1)
    lstm = nn.LSTM(5, 6, bias=False, batch_first=True)
    layer = layer_of(LSTM, 6, 5)
    with torch.no_grad():
        for ours, theirs in (
            (layer.from_input.weight, lstm.weight_ih_l0),
            (layer.from_state.weight, lstm.weight_hh_l0),
        ):
            i, f, g, o = theirs.chunk(4)
            zero = torch.zeros_like(i)
            ours.copy_(torch.cat([i, g, f, zero, o, zero, zero, zero]))
    x = torch.randn(3, 7, 5)
    torch.testing.assert_close(layer(x), lstm(x)[0])


LSTM = TreeCell(
    nodes=(
        *(("add", "sigmoid"), ("add", "tanh"), ("add", "sigmoid"), ("add", "identity")),
        *(("add", "sigmoid"), *[("add", "identity")] * 3),
        *(("elem_mult", "identity"), *[("add", "identity")] * 3),
        *(("add", "tanh"), ("add", "identity"), ("elem_mult", "identity")),
    ),
    inject=("elem_mult", "identity"),
    memory=12,
    injected=2,
)


def test_the_memory_of_a_node_is_taken_before_its_activation_and_the_injection() -> None:
    nodes = (("add", "tanh"), ("add", "tanh"), ("max", "sin"))
    layer = layer_of(TreeCell(nodes, ("elem_mult", "sigmoid"), memory=2, injected=2))
    w0, w1 = layer.from_input.weight.chunk(2)
    x = torch.randn(4, 1, 2)
    layer.reset_state()
    h = layer(x)[:, 0]
    before = torch.maximum(torch.tanh(x[:, 0] @ w0.T), torch.tanh(x[:, 0] @ w1.T))
    assert layer.state is not None
    torch.testing.assert_close(layer.state[1], before)
    torch.testing.assert_close(h, torch.sigmoid(torch.sin(before) * 0))


def test_the_text_of_a_cell_is_its_formula() -> None:
    assert FIGURE_5.text() == (
        "h = sigmoid(relu(tanh(W0x + U0h) + c) · relu(W1x · U1h)), c = (W1x · U1h)"
    )
    nodes = (("max", "identity"), ("add", "sin"), ("max", "tanh"))
    assert TreeCell(nodes, ("max", "identity"), 0, 2).text() == (
        "h = max(tanh(max(max(W0x, U0h), sin(W1x + U1h))), c), c = max(W0x, U0h)"
    )


def test_the_picture_of_a_cell_shows_its_tree_and_where_the_memory_goes() -> None:
    svg = ElementTree.fromstring(picture(FIGURE_5))
    texts = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [
        *("input", "W0x + U0h", "tanh", "+ c in", "relu"),
        *("W1x · U1h", "c out", "relu", "×", "sigmoid", "output"),
    ]


def test_the_picture_of_open_cells_shows_their_options() -> None:
    svg = picture(RecurrentCell(8, ("add", "max"), ("tanh", "sin")))
    for text in ("recurrent_cell", "base=8", "add, max", "tanh, sin"):
        assert text in svg


def test_a_cell_is_no_layer() -> None:
    with pytest.raises(SpaceError, match=r"write recurrent: \{cell: …\}"):
        FIGURE_5.build((5, 3))
    with pytest.raises(SpaceError, match="cell must be a recurrent cell, got relu"):
        parse_space({"recurrent": "relu"}).freeze({}).build((5, 3))


def test_the_baselines_are_three_cells_and_the_published_one() -> None:
    space = load("rnn_baselines")
    assert space.size() == 4 * 3 * 2
    place = "language_model/recurrent/or"
    assert space.signature()[place] == ("rnn_cell", "lstm_cell", "gru_cell", "nascell")
    assert "recurrent(nascell" in space.freeze({**draw(space, 0), place: 3}).text()


def test_the_published_cell_is_in_the_papers_space_and_computes_its_figure() -> None:
    """Figure 8 of the paper, top right, as its authors' code has it."""
    space: Any = load("rnn_baselines")
    genotype = {**draw(space, 0), "language_model/recurrent/or": 3}
    cell = space.freeze(genotype).network.body.cell.module
    assert len(cell.nodes) == 15
    layer = layer_of(cell, 4, 3)
    x = torch.randn(2, 3, 3)
    h = c = torch.zeros(2, 4)
    sigmoid, tanh, relu = torch.sigmoid, torch.tanh, torch.relu
    for t in range(3):
        wx = (x[:, t] @ layer.from_input.weight.T).chunk(8, 1)
        uh = (h @ layer.from_state.weight.T).chunk(8, 1)
        s = [a + b for a, b in zip(wx, uh, strict=True)]
        left = tanh(tanh(sigmoid(s[0]) * relu(s[1])) + c)
        c = left * tanh(sigmoid(s[2]) + relu(wx[3] * uh[3]))
        right = tanh(tanh(s[4]).mul(sigmoid(s[5])))
        h = tanh(c * tanh(right + sigmoid(tanh(s[6]) + sigmoid(s[7]))))
    torch.testing.assert_close(layer(x)[:, -1], h)
