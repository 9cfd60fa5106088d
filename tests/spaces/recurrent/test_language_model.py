"""Language models, their embeddings and layers, and the size that a budget allows."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from nasrunner.children.inspecting import draw_up
from nasrunner.core import SpaceError
from nasrunner.spaces import LanguageModel
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.recurrent.language_model import Predictor
from nasrunner.spaces.recurrent.layers import SequenceDropout, WordVectors

# T = time steps, V = vocabulary


def model(body: Any = "lstm_cell", **changed: Any) -> dict[str, Any]:
    body = {"recurrent": body} if isinstance(body, str) else body
    return {"language_model": {"vocabulary": 50, "tied": True, "units": 8, "body": body, **changed}}


def built(config: dict[str, Any], in_shape: tuple[int, ...] = (7,)) -> Predictor:
    network, shape = parse_space(config).freeze({}).build(in_shape)
    assert isinstance(network, Predictor)
    assert shape == (*in_shape, 50)
    return network


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_a_language_model_gives_the_logits_of_every_token_at_every_step() -> None:
    logits = built(model())(torch.randint(50, (3, 7)))
    assert logits.shape == (3, 7, 50)


def test_tied_embeddings_are_the_weights_of_the_decoder() -> None:
    tied, untied = built(model()), built(model(tied=False))
    assert tied.decoder.weight is tied.vectors.weight
    assert count(tied) == 50 * 8 + (4 * 8 * 8 * 2 + 4 * 8) + 50
    assert count(untied) == count(tied) + 50 * 8


def test_a_tied_body_must_keep_the_size() -> None:
    body = {"recurrent": {"cell": "lstm_cell", "units": 9}}
    with pytest.raises(SpaceError, match=r"tied needs a body that keeps the size .* got 8 to 9"):
        built(model(body))
    assert built(model(body, tied=False)).decoder.in_features == 9


@pytest.mark.parametrize(("tied", "layers"), [(True, 1), (False, 2)])
def test_the_budget_of_parameters_gives_the_largest_size(tied: bool, layers: int) -> None:
    body = {"recurrent": {"cell": "lstm_cell", "layers": layers}}

    def parameters(units: int) -> int:  # by hand
        return (2 - tied) * 50 * units + 50 + layers * (8 * units**2 + 4 * units)

    limit = parameters(13)
    for budget, units in (
        (limit, 13),
        (limit - 1, 12),
        (parameters(14) - 1, 13),
        (parameters(1), 1),
    ):
        network = built(model(body, tied=tied, units=None, parameters=budget))
        assert network.decoder.in_features == units
        assert count(network) == parameters(units) <= budget


def test_solving_the_size_draws_no_random_number() -> None:
    torch.manual_seed(3)
    solved = built(model(units=None, parameters=2000))
    torch.manual_seed(3)
    given = built(model(units=solved.decoder.in_features))
    torch.testing.assert_close(solved.state_dict(), given.state_dict())


def test_a_budget_below_the_smallest_network_is_refused() -> None:
    with pytest.raises(SpaceError, match="no network is so small: parameters=100"):
        built(model(units=None, parameters=100))


@pytest.mark.parametrize("given", [{}, {"parameters": 9000}])
def test_either_the_size_or_the_budget_is_given(given: dict[str, int]) -> None:
    config = model(**given)
    if not given:
        del config["language_model"]["units"]
    with pytest.raises(SpaceError, match="language_model needs either units or parameters, got"):
        parse_space(config)


@pytest.mark.parametrize(
    ("config", "in_shape", "message"),
    [
        (model(), (7, 3), r"it takes tokens, \(time steps,\)"),
        (model("rnn_cell", dropout=1.0), (7,), r"dropout must be float in \[0, 1\), got 1.0"),
        (
            model("rnn_cell", embedding_dropout=-0.1),
            (7,),
            r"dropout must be float in \[0, 1\), got -0.1",
        ),
        (model({"recurrent": {"cell": "rnn_cell", "layers": 0}}), (7,), "layers must be int >= 1"),
        (model({"affine": {"units": 8}}), (7,), r"its body must make a vector of each one"),
        (model("rnn_cell", input_dropout=1.0), (7,), r"input_dropout must be .*got 1.0"),
        (model("rnn_cell", slowness=-0.1), (7,), r"slowness must be float >= 0, got -0.1"),
        ({"recurrent": "rnn_cell"}, (7,), "it takes sequences of vectors"),
    ],
)
def test_networks_that_cannot_be_are_refused(
    config: dict[str, Any], in_shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space(config).freeze({}).build(in_shape)


def test_a_blueprint_counts_the_products_of_all_steps() -> None:
    body = {"recurrent": {"cell": "gru_cell", "layers": 2}}
    space = parse_space(model(body, tied=False))
    blueprint = draw_up(space, {}, (7,), (7, 50), lambda frozen: "", "int64")
    assert blueprint.parameters == count(built(model(body, tied=False)))
    assert blueprint.flops == 2 * 7 * (2 * 3 * 2 * 8 * 8 + 8 * 50)
    assert blueprint.text == "language_model(units=8): recurrent(gru_cell, layers=2)"


def test_word_dropout_takes_a_word_away_wherever_it_stands() -> None:
    torch.manual_seed(0)
    vectors = WordVectors(20, 4, 0.5)
    tokens = torch.randint(20, (6, 30))
    scale = vectors(tokens) / nn.functional.embedding(tokens, vectors.weight)
    for row, words in zip(scale, tokens, strict=True):
        for word in words.unique():
            assert len(row[words == word].round(decimals=4).unique()) == 1
    assert scale.unique().round(decimals=4).unique().tolist() == [0, 2]
    assert len({tuple(row) for row in (scale[:, tokens[0] == tokens[0, 0], 0]).tolist()}) >= 1
    torch.testing.assert_close(
        vectors.eval()(tokens), nn.functional.embedding(tokens, vectors.weight)
    )


def test_sequence_dropout_is_the_same_in_every_step() -> None:
    torch.manual_seed(0)
    layer = SequenceDropout(0.5)
    y = layer(torch.ones(5, 9, 40))
    assert (y == y[:, :1]).all()
    assert y.unique().tolist() == [0, 2]
    assert not (y[0] == y[1]).all()
    assert layer.eval()(y) is y


def test_dropout_is_where_the_space_says() -> None:
    cell = {"cell": "rnn_cell", "layers": 3, "dropout": 0.1, "state_dropout": 0.2}
    network = built(model({"recurrent": cell}, embedding_dropout=0.3, dropout=0.4))
    assert network.vectors.dropout == 0.3
    assert [network.enter.p, network.leave.p] == [0.4, 0.4]
    layers = list(network.body.children())
    assert [layer.p for layer in layers[1::2]] == [0.1, 0.1]
    assert [layer.state_dropout for layer in layers[::2]] == [0.2] * 3


def test_what_enters_may_be_dropped_more_often_than_what_leaves() -> None:
    network = built(model(dropout=0.4, input_dropout=0.7))
    assert [network.enter.p, network.leave.p] == [0.7, 0.4]
    assert [built(model(input_dropout=0.0, dropout=0.4)).enter.p] == [0.0]


def test_slowness_is_the_mean_square_of_a_steps_change_and_is_taken_once() -> None:
    network, tokens = built(model("gru_cell", slowness=0.5)), torch.randint(50, (3, 7))
    network(tokens)
    penalty = network.take_penalty()
    h = network.body(network.vectors(tokens))
    squares = [(h[b, t] - h[b, t - 1]).square() for b in range(3) for t in range(1, 7)]
    torch.testing.assert_close(penalty, 0.5 * torch.cat(squares).mean())
    assert network.take_penalty() is None
    network(tokens)
    copy.deepcopy(network)  # as averages of weights are made, with a penalty that nobody took
    network.take_penalty()
    network.eval()(tokens)
    assert network.take_penalty() is None
    network.train()(tokens[:, :1])  # nothing comes before it
    assert network.take_penalty() is None
    without = built(model("gru_cell"))
    without(tokens)
    assert without.take_penalty() is None


def test_a_language_model_learns_a_sequence_that_needs_memory() -> None:
    torch.manual_seed(0)
    network = built(model("gru_cell", units=24, tied=False), (12,))
    tokens = torch.tensor([0, 1, 0, 2, 0, 3] * 3)[None].repeat(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(100):
        loss = nn.functional.cross_entropy(
            network(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2  # without memory, what follows 0 costs ln 3 every second step: 0.55


def test_units_may_be_a_decision() -> None:
    space = parse_space(model(units={"oneof": [4, 6]}))
    assert space.size() == 2
    frozen: Any = space.freeze({"language_model/units": 1})
    assert isinstance(frozen.network, LanguageModel)
    assert frozen.build((7,))[0].decoder.in_features == 6
