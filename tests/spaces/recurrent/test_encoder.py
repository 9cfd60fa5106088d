"""Recurrent layers that make one vector of a signal."""

import pytest
import torch
from torch import nn

from nasrunner.spaces import GruCell, HighwayCell, LstmCell, RecurrentEncoder, RnnCell
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.recurrent.cells import StepCell
from nasrunner.spaces.recurrent.recurrence import RecurrentLayer
from nasrunner.spaces.recurrent.stateful import StatefulLayer

# B = batch, C = channels, T = time steps, H = hidden size

SEARCHED = [
    {"recurrent_cell": {"base": 2, "combinations": ["add"], "activations": ["tanh", "relu"]}},
    {"enas_cell": {"nodes": 3, "activations": ["tanh", "relu"]}},
    {"darts_rnn": {"nodes": 2, "activations": ["tanh", "relu"]}},
]


def torchs(ours: nn.Module, theirs: nn.RNNBase) -> nn.RNNBase:
    """Torch's layers with the weights of ours."""
    layers = [each for each in ours.modules() if isinstance(each, RecurrentLayer)]
    with torch.no_grad():
        for number, layer in enumerate(layers):
            weights = (layer.from_input.weight, layer.from_state.weight, layer.from_input.bias)
            names = ("weight_ih", "weight_hh", "bias_ih")
            for name, weight in zip(names, weights, strict=True):
                getattr(theirs, f"{name}_l{number}").copy_(weight)
            getattr(theirs, f"bias_hh_l{number}").zero_()
    return theirs


@pytest.mark.parametrize("output", ["last", "mean", "max"])
@pytest.mark.parametrize(
    ("cell", "theirs"), [(RnnCell(), nn.RNN), (LstmCell(), nn.LSTM), (GruCell(), nn.GRU)]
)
def test_it_reads_a_signal_as_torchs_layers_do(
    cell: StepCell, theirs: type[nn.RNNBase], output: str
) -> None:
    module = RecurrentEncoder(cell, layers=2, units=4, output=output)  # type: ignore[arg-type]
    network, shape = module.build((3, 6))
    assert shape == (4,)
    x_BCT = torch.randn(5, 3, 6)
    h_BTH, _ = torchs(network, theirs(3, 4, num_layers=2, batch_first=True))(x_BCT.mT)
    expected = {"last": h_BTH[:, -1], "mean": h_BTH.mean(1), "max": h_BTH.max(1).values}[output]
    torch.testing.assert_close(network(x_BCT), expected)
    with torch.no_grad():
        torch.testing.assert_close(network(x_BCT), expected)


@pytest.mark.parametrize("written", SEARCHED, ids=lambda written: next(iter(written)))
def test_cells_that_are_searched_read_signals(written: dict[str, object]) -> None:
    encoder = {"recurrent_encoder": {"cell": written, "units": 4}}
    space = parse_space({"concat": [encoder, {"affine": {"units": 3}}]})
    assert space.size() > 1
    network, shape = space.freeze(space.walk(lambda decision: 0)).build((2, 7))
    assert shape == (3,)
    x_BCT = torch.randn(5, 2, 7, requires_grad=True)
    network(x_BCT).square().sum().backward()
    assert x_BCT.grad is not None
    assert (x_BCT.grad != 0).all()  # each step of each channel has its say
    assert all(each.grad is not None for each in network.parameters())


def test_the_size_of_a_state_is_the_number_of_channels_where_nothing_is_said() -> None:
    assert RecurrentEncoder(GruCell()).build((3, 6))[1] == (3,)


@pytest.mark.parametrize("cell", [LstmCell(), HighwayCell("tanh", [(0, "relu")], "nodes", "node")])
def test_an_example_does_not_go_on_with_the_batch_before_it(cell: StepCell) -> None:
    network, _ = RecurrentEncoder(cell, units=4).build((2, 5))
    x_BCT = torch.randn(3, 2, 5)
    first = network(x_BCT)
    layers = [each for each in network.modules() if isinstance(each, StatefulLayer)]
    for layer in layers:
        layer.reset_state()  # as training does at the start of each epoch
    assert layers
    torch.testing.assert_close(network(x_BCT), first)
    torch.testing.assert_close(network(x_BCT), first)  # a recurrent one would have gone on


def test_it_shows_what_is_not_the_default() -> None:
    assert RecurrentEncoder(GruCell()).text() == "recurrent_encoder(gru_cell, layers=1)"
    shown = RecurrentEncoder(GruCell(), 2, 8, dropout=0.1, output="max").text()
    assert shown == "recurrent_encoder(gru_cell, layers=2, units=8, dropout=0.1, output=max)"
