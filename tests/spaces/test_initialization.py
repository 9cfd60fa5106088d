"""How weights begin: against the papers' formulas, and torch's own layers where nothing is said."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from nasrunner.children.blueprint import on_meta
from nasrunner.core import Shape, Space, SpaceError
from nasrunner.spaces import (
    Affine,
    Conv1d,
    Conv2d,
    DilatedConv1d,
    DilatedConv2d,
    InvertedResidual,
    LstmCell,
    Recurrent,
    RecurrentEncoder,
    RnnCell,
    SeparableConv1d,
    SeparableConv2d,
)
from nasrunner.spaces.basic import Init
from nasrunner.spaces.language.parsing import parse_space

IMAGE = (24, 8, 8)
SIGNAL = (24, 20)
WITH_WEIGHTS = [
    (Affine, {"units": 200}, (300,)),
    (Conv2d, {"filters": 64, "kernel_size": (3, 5)}, IMAGE),
    (SeparableConv2d, {"filters": 64, "kernel_size": 3}, IMAGE),
    (DilatedConv2d, {"filters": 64}, IMAGE),
    (InvertedResidual, {"filters": 32, "expansion": 2, "kernel_size": 3}, IMAGE),
    (Conv1d, {"filters": 64, "kernel_size": 15}, SIGNAL),
    (SeparableConv1d, {"filters": 64, "kernel_size": 9}, SIGNAL),
    (DilatedConv1d, {"filters": 64, "kernel_size": 9}, SIGNAL),
    (Recurrent, {"cell": LstmCell(), "units": 40, "layers": 2}, (5, 30)),
    (RecurrentEncoder, {"cell": LstmCell(), "units": 40, "layers": 2}, (30, 5)),
]


def layers_of(module: Space, in_shape: Shape) -> list[nn.Linear | nn.Conv1d | nn.Conv2d]:
    torch.manual_seed(0)
    network, _ = module.build(in_shape)
    return [
        each for each in network.modules() if isinstance(each, nn.Linear | nn.Conv1d | nn.Conv2d)
    ]


def spread(weight: torch.Tensor, std: float, *, is_normal: bool) -> None:
    """Checks a mean of zero, a standard deviation, and that the values are of the distribution."""
    weight = weight.detach()
    number = weight.numel()
    assert abs(weight.mean()) < 4 * std / number**0.5
    assert weight.std() == pytest.approx(std, rel=4 / (2 * number) ** 0.5)
    within = (weight.abs() < std).float().mean()  # 0.683 of a normal distribution
    assert within == pytest.approx(0.683 if is_normal else 3**-0.5, abs=2 / number**0.5)
    if not is_normal:
        assert weight.abs().max() <= 3**0.5 * std * (1 + 1e-6)


@pytest.mark.parametrize(
    ("module", "in_shape", "fans"),
    [
        # (fan_in, fan_out) of each layer, by hand
        (Affine(200), (300,), [(300, 200)]),
        (Affine(200), (3, 10, 10), [(300, 200)]),
        (Conv2d(64, (3, 5)), IMAGE, [(24 * 15, 64 * 15)]),
        (Conv1d(64, 15), SIGNAL, [(24 * 15, 64 * 15)]),
        (Conv2d(64, 3, groups=4), IMAGE, [(6 * 9, 64 * 9)]),
        (SeparableConv2d(64, 3), (400, 8, 8), [(9, 400 * 9), (400, 64)]),
        (DilatedConv2d(64), IMAGE, [(24 * 9, 64 * 9)]),
        (InvertedResidual(64, 4, 3), (50, 8, 8), [(50, 200), (9, 200 * 9), (200, 64)]),
    ],
)
def test_he_and_xavier_have_the_variances_of_their_papers(
    module: Space, in_shape: Shape, fans: list[tuple[int, int]]
) -> None:
    he, xavier = (layers_of(with_init(module, init), in_shape) for init in ("he", "xavier"))
    assert len(he) == len(xavier) == len(fans)
    for layer, (fan_in, _) in zip(he, fans, strict=True):
        spread(layer.weight, math.sqrt(2 / fan_in), is_normal=True)
    for layer, (fan_in, fan_out) in zip(xavier, fans, strict=True):
        spread(layer.weight, math.sqrt(2 / (fan_in + fan_out)), is_normal=False)


def with_init(module: Space, init: str) -> Space:
    arguments = {name: value for name, value in vars(module).items() if name != "init"}
    return type(module)(**arguments, init=init)


@pytest.mark.parametrize(
    ("module", "in_shape"),
    [
        (Affine(20, init="orthogonal"), (30,)),
        (Affine(30, init="orthogonal"), (20,)),
        (Conv2d(16, 3, init="orthogonal"), (4, 6, 6)),
        (SeparableConv2d(8, 3, init="orthogonal"), (4, 6, 6)),
        (DilatedConv2d(64, init="orthogonal"), (4, 6, 6)),
    ],
)
def test_orthogonal_rows_or_columns_are_orthonormal(module: Space, in_shape: Shape) -> None:
    for layer in layers_of(module, in_shape):
        matrix = layer.weight.flatten(1)
        rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)


def test_each_gate_of_a_cell_is_initialized_by_itself() -> None:
    """torch's LSTM has four gates: as one matrix of 160 rows no 40 of them were orthogonal."""
    layers = layers_of(Recurrent(LstmCell(), 2, 40, init="orthogonal"), (5, 30))
    assert [tuple(layer.weight.shape) for layer in layers] == [(160, 30), *3 * [(160, 40)]]
    for layer in layers[1:]:
        for gate in layer.weight.split(40):
            torch.testing.assert_close(gate @ gate.T, torch.eye(40), atol=1e-5, rtol=0)
    from_input, from_state = layers_of(Recurrent(LstmCell(), units=40, init="xavier"), (5, 30))
    spread(from_input.weight, math.sqrt(2 / 70), is_normal=False)
    spread(from_state.weight, math.sqrt(2 / 80), is_normal=False)


@pytest.mark.parametrize("init", ["he", "xavier", "orthogonal"])
@pytest.mark.parametrize(("kind", "arguments", "in_shape"), WITH_WEIGHTS)
def test_biases_begin_with_zero(
    kind: type[Space], arguments: dict[str, object], in_shape: Shape, init: Init
) -> None:
    for layer in layers_of(kind(**arguments, init=init), in_shape):
        assert layer.weight.std() > 0
        assert layer.bias is None or not layer.bias.any()


def plain(kind: type[Space]) -> Iterator[nn.Module]:
    """The layers of ``WITH_WEIGHTS`` as they are made in torch alone."""
    if kind is Affine:
        yield nn.Linear(300, 200)
    elif kind is Conv2d:
        yield nn.Conv2d(24, 64, (3, 5))
    elif kind is SeparableConv2d:
        yield nn.Conv2d(24, 24, 3, groups=24, bias=False)
        yield nn.Conv2d(24, 64, 1)
    elif kind is DilatedConv2d:
        yield nn.Conv2d(24, 64, 3, dilation=2)
    elif kind is Conv1d:
        yield nn.Conv1d(24, 64, 15)
    elif kind is SeparableConv1d:
        yield nn.Conv1d(24, 24, 9, groups=24, bias=False)
        yield nn.Conv1d(24, 64, 1)
    elif kind is DilatedConv1d:
        yield nn.Conv1d(24, 64, 9, dilation=2)
    elif kind is InvertedResidual:
        yield nn.Conv2d(24, 48, 1, bias=False)
        yield nn.Conv2d(48, 48, 3, groups=48, bias=False)
        yield nn.Conv2d(48, 32, 1, bias=False)
    else:
        for in_units in (30, 40):
            yield nn.Linear(in_units, 160)
            yield nn.Linear(40, 160, bias=False)


@pytest.mark.parametrize(("kind", "arguments", "in_shape"), WITH_WEIGHTS)
@pytest.mark.parametrize("given", [{}, {"init": "default"}])
def test_by_default_weights_begin_as_those_of_torch_to_the_bit(
    kind: type[Space], arguments: dict[str, object], in_shape: Shape, given: dict[str, str]
) -> None:
    layers = layers_of(kind(**arguments, **given), in_shape)
    after = torch.rand(3)
    torch.manual_seed(0)
    expected = list(plain(kind))
    assert torch.equal(after, torch.rand(3))  # nor were other random numbers drawn
    assert len(layers) == len(expected)
    for layer, other in zip(layers, expected, strict=True):
        for (name, found), (_, wanted) in zip(
            layer.named_parameters(), other.named_parameters(), strict=True
        ):
            assert torch.equal(found, wanted), name


@pytest.mark.parametrize(("kind", "arguments", "in_shape"), WITH_WEIGHTS)
@pytest.mark.parametrize("init", ["he", "xavier", "orthogonal"])
def test_on_the_meta_device_no_operation_is_run(
    kind: type[Space], arguments: dict[str, object], in_shape: Shape, init: Init
) -> None:
    """``kaiming_normal_`` there imports 800 modules, which takes a second."""
    with torch.device("meta"):
        network, _ = kind(**arguments, init=init).build(in_shape)
        plain, _ = kind(**arguments).build(in_shape)
    for found, wanted in zip(network.parameters(), plain.parameters(), strict=True):
        assert found.is_meta
        assert found._version == wanted._version  # counts operations in place


def test_the_decision_reaches_the_network_that_is_built() -> None:
    space = parse_space(
        {
            "concat": [
                {"conv2d": {"filters": 8, "kernel_size": 3, "init": {"oneof": ["default", "he"]}}},
                {"affine": {"units": 5, "init": {"oneof": ["he", "xavier", "orthogonal"]}}},
            ]
        }
    )
    assert space.size() == 6
    frozen = space.freeze({"0/conv2d/init": 1, "1/affine/init": 2})
    conv, affine = layers_of(frozen.network, (2, 4, 4))
    spread(conv.weight, math.sqrt(2 / 18), is_normal=True)
    torch.testing.assert_close(affine.weight @ affine.weight.T, torch.eye(5), atol=1e-5, rtol=0)
    assert frozen.text() == (
        "conv2d(filters=8, kernel_size=3, init=he) → affine(units=5, init=orthogonal)"
    )
    assert sum(each.numel() for each in on_meta(frozen, (2, 4, 4), 5).parameters()) == 797


def test_a_recurrent_layer_shows_what_it_begins_with() -> None:
    assert Recurrent(RnnCell(), init="he").text() == "recurrent(rnn_cell, layers=1, init=he)"
    assert Recurrent(RnnCell()).text() == "recurrent(rnn_cell, layers=1)"


def test_an_unknown_way_to_begin_is_refused_with_those_there_are() -> None:
    message = r"init must be one of default, he, xavier, orthogonal, got 'kaiming'"
    with pytest.raises(SpaceError, match=message):
        parse_space({"affine": {"units": 5, "init": "kaiming"}})
