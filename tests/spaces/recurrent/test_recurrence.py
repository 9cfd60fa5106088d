"""The layer that runs a recurrent cell over a sequence: values, derivatives, state and dropout."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from nasrunner.spaces import GruCell, LstmCell, RecurrentCell, RnnCell, TreeCell
from nasrunner.spaces.recurrent.cells import ProgramCell
from nasrunner.spaces.recurrent.prepacked_product import LEAST, is_packable, product_with
from nasrunner.spaces.recurrent.recurrence import Recurrence, RecurrentLayer
from nasrunner.spaces.recurrent.stateful import keep_mask
from tests.sampling import one_in
from tests.spaces.enumeration import draw

# B = batch, T = time steps, I = size of a vector that comes in, H = hidden size

ALL = RecurrentCell(4, ("add", "elem_mult", "max"), ("identity", "tanh", "sigmoid", "relu", "sin"))


def tree(seed: int) -> TreeCell:
    frozen = ALL.freeze(draw(ALL, seed))
    assert isinstance(frozen, TreeCell)
    return frozen


def layer_of(cell: ProgramCell, state_dropout: float = 0.0) -> RecurrentLayer:
    torch.manual_seed(0)
    return RecurrentLayer(3, 4, cell.program(), state_dropout)


@pytest.mark.parametrize(
    ("cell", "theirs"), [(RnnCell(), nn.RNN), (LstmCell(), nn.LSTM), (GruCell(), nn.GRU)]
)
def test_baselines_compute_what_torchs_layers_do(
    cell: ProgramCell, theirs: type[nn.RNNBase]
) -> None:
    ours, reference = layer_of(cell), theirs(3, 4, batch_first=True)
    with torch.no_grad():
        reference.weight_ih_l0.copy_(ours.from_input.weight)
        reference.weight_hh_l0.copy_(ours.from_state.weight)
        reference.bias_ih_l0.copy_(ours.from_input.bias)
        reference.bias_hh_l0.zero_()
    x = torch.randn(5, 6, 3, requires_grad=True)
    outputs = ours(x), reference(x)[0]
    torch.testing.assert_close(*outputs)
    weights = torch.randn(5, 6, 4)
    for of_ours, of_theirs in zip(
        gradients(ours, outputs[0] * weights, x),
        gradients(reference, outputs[1] * weights, x),
        strict=False,  # theirs has a second bias
    ):
        torch.testing.assert_close(of_ours, of_theirs)


def test_large_cells_compute_what_torchs_layer_does() -> None:
    units = 520  # no multiple of a cache line's 16
    ours, reference = RecurrentLayer(3, units, LstmCell().program(), 0.0), nn.LSTM(3, units)
    assert ours.from_state.weight.numel() >= LEAST
    assert is_packable(ours.from_state.weight), "this torch has no oneDNN"
    with torch.no_grad():
        reference.weight_ih_l0.copy_(ours.from_input.weight)
        reference.weight_hh_l0.copy_(ours.from_state.weight)
        reference.bias_ih_l0.copy_(ours.from_input.bias)
        reference.bias_hh_l0.zero_()
    x = torch.randn(2, 4, 3, requires_grad=True)
    outputs = ours(x), reference(x.transpose(0, 1))[0].transpose(0, 1)
    torch.testing.assert_close(*outputs)
    weights = torch.randn(2, 4, units)
    for of_ours, of_theirs in zip(
        gradients(ours, outputs[0] * weights, x),
        gradients(reference, outputs[1] * weights, x),
        strict=False,  # theirs has a second bias
    ):
        torch.testing.assert_close(of_ours, of_theirs, rtol=1e-4, atol=1e-4)


def test_a_packed_product_is_the_product() -> None:
    weight, x, g = torch.randn(1100, 1000), torch.randn(5, 1000), torch.randn(5, 1100)
    torch.testing.assert_close(product_with(weight, 5)(x), x @ weight.t(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(product_with(weight.t(), 5)(g), g @ weight, rtol=1e-4, atol=1e-4)
    assert not is_packable(weight.double())
    assert not is_packable(weight[:100])
    assert is_packable(weight[:100], beside=LEAST)
    product = product_with(weight[:100], 5, beside=LEAST)
    torch.testing.assert_close(product(x), x @ weight[:100].t(), rtol=1e-4, atol=1e-4)


def gradients(layer: nn.Module, y: torch.Tensor, x: torch.Tensor) -> Sequence[torch.Tensor]:
    parameters = dict(layer.named_parameters())
    ours = ("from_input.weight", "from_state.weight", "from_input.bias")
    theirs = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    names = ours if ours[0] in parameters else theirs
    return torch.autograd.grad(y.sum(), [x, *(parameters[name] for name in names)])


@one_in(4, 1, "seed", range(12))
def test_the_derivative_of_a_cell_is_that_of_what_it_computes(seed: int) -> None:
    program = tree(seed).program()
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    mask = (torch.rand(2, 3, generator=generator) > 0.3).double() / 0.7
    inputs = random(3, 2, 12), random(2, 3), random(2, 3), random(12, 3)
    for mask_BH in (None, mask):
        assert torch.autograd.gradcheck(
            lambda *a, m=mask_BH: Recurrence.apply(program, *a, m), inputs
        )


def test_random_trees_have_every_combination_and_activation() -> None:
    trees = [tree(seed) for seed in range(12)]
    seen = set(itertools.chain.from_iterable(label for each in trees for label in each.nodes))
    assert seen == {*ALL.combinations, *ALL.activations}


def test_equal_values_share_the_derivative_of_their_maximum() -> None:
    cell = TreeCell(
        (("max", "identity"), ("max", "identity"), ("max", "tanh")), ("add", "sin"), 0, 0
    )
    a = torch.zeros(1, 2, 8, dtype=torch.float64, requires_grad=True)
    zeros, weight = torch.zeros(2, 4, dtype=torch.float64), torch.zeros(8, 4, dtype=torch.float64)
    Recurrence.apply(cell.program(), a, zeros, zeros, weight, None)[0].sum().backward()
    assert a.grad is not None
    assert a.grad.unique().tolist() == [0.25]  # half of the leaf's, and that half of the root's


@pytest.mark.parametrize("cell", [LstmCell(), tree(0), tree(1)], ids=["lstm", "tree 0", "tree 1"])
def test_a_layer_computes_the_same_without_a_derivative(cell: ProgramCell) -> None:
    layer, x = layer_of(cell), torch.randn(2, 5, 3)
    with torch.no_grad():
        without = layer(x)
    torch.testing.assert_close(layer(x), without)


def test_the_state_goes_on_from_call_to_call_after_a_reset_and_not_before() -> None:
    layer, x = layer_of(LstmCell()), torch.randn(2, 6, 3)
    whole = layer(x)
    torch.testing.assert_close(layer(x), whole)
    for _ in range(2):
        layer.reset_state()
        halves = [layer(x[:, :2]), layer(x[:, 2:])]
        torch.testing.assert_close(torch.cat(halves, 1), whole)
    assert not torch.equal(layer(x), whole)


def test_no_derivative_goes_through_the_state_that_was_kept() -> None:
    layer = layer_of(LstmCell())
    layer.reset_state()
    first, second = (torch.randn(2, 3, 3, requires_grad=True) for _ in range(2))
    layer(first)
    layer(second).sum().backward()
    assert first.grad is None
    assert second.grad is not None


def test_another_batch_size_begins_with_zeros() -> None:
    layer = layer_of(GruCell())
    layer.reset_state()
    layer(torch.randn(4, 3, 3))
    x = torch.randn(2, 3, 3)
    torch.testing.assert_close(layer(x), layer_of(GruCell())(x))


def test_the_state_is_no_part_of_the_weights() -> None:
    layer = layer_of(LstmCell())
    layer.reset_state()
    layer(torch.randn(4, 3, 3))
    assert set(layer.state_dict()) == {
        *("from_input.weight", "from_input.bias", "from_state.weight")
    }


def test_state_dropout_zeroes_the_same_elements_in_every_step_of_an_example() -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(1, 100, RnnCell().program(), 0.4)
    with torch.no_grad():  # h_t = tanh(10 + U h_{t-1}), and each unit sees itself alone
        layer.from_input.weight.zero_()
        layer.from_input.bias.fill_(0.1)
        layer.from_state.weight.copy_(torch.eye(100))
    y_BTH = layer(torch.zeros(8, 6, 1))
    alone_BTH = (y_BTH - y_BTH[:, :1]).abs() < 1e-7
    assert alone_BTH[:, 1].float().mean().item() == pytest.approx(0.4, abs=0.1)
    assert (alone_BTH[:, 1:] == alone_BTH[:, 1:2]).all()
    assert not (alone_BTH[0, 1] == alone_BTH[1, 1]).all(), "every example has its own"
    torch.testing.assert_close(
        layer.eval()(torch.zeros(8, 6, 1))[0], layer(torch.zeros(1, 6, 1))[0]
    )


def test_a_mask_keeps_the_mean() -> None:
    torch.manual_seed(0)
    mask = keep_mask(torch.empty(100, 1000), 0.25)
    assert mask is not None
    assert mask.unique().tolist() == pytest.approx([0, 4 / 3])
    assert mask.mean().item() == pytest.approx(1, abs=0.01)
    assert keep_mask(torch.empty(2), 0.0) is None


def test_a_layer_trains_in_mixed_precision() -> None:
    layer, x = layer_of(tree(0), state_dropout=0.2), torch.randn(2, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        with torch.no_grad():
            assert layer.eval()(x).dtype is torch.bfloat16
    y.sum().backward()
    assert y.dtype is torch.bfloat16
    assert all(weight.grad is not None for weight in layer.parameters())
