from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasrunner.children import blueprint
from nasrunner.children.blueprint import count_flops, measure, on_meta
from nasrunner.core import SearchSpace, Shape, Space, SpaceError
from nasrunner.core.order import rollout
from nasrunner.spaces.basic import Affine
from nasrunner.spaces.composite import Concat
from nasrunner.spaces.language.parsing import parse_space
from tests.sampling import one_in
from tests.searchers.worlds import SPACES, WIDE_SPACES, load_space
from tests.spaces.test_shipped import (
    OF_PIXELS,
    OF_SIGNALS,
    OF_TEXTS,
    OF_TOKENS,
    SIGNAL_SHAPE,
    out_shape_of,
)


@pytest.mark.parametrize(
    "first",
    [
        nn.Conv2d(2, 4, (3, 5), stride=(2, 1), padding=(1, 0), dilation=(2, 1), groups=2),
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d((1, 2)),
        nn.AvgPool2d(3, stride=2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(3),
        nn.AdaptiveAvgPool2d((None, 4)),
        nn.ConstantPad2d((1, 2, 3, 0), 0.0),
        nn.Flatten(),
        nn.Flatten(2),
        nn.Flatten(1, 2),
        nn.Linear(9, 5),
        nn.ReLU(),
        nn.GELU(),
        nn.LayerNorm((2, 7, 9)),
        nn.BatchNorm2d(2),
    ],
    ids=str,
)
def test_what_follows_a_layer_costs_what_torch_counts(first: nn.Module) -> None:
    """A layer whose shape is worked out wrongly makes the next one cost something else."""
    with torch.no_grad():
        shape = first.eval()(torch.zeros(1, 2, 7, 9)).shape
    layers: list[nn.Module] = [first]
    if len(shape) == 4:
        layers += [nn.Conv2d(shape[1], 3, 2), nn.Flatten()]
        shape = torch.Size((1, 3 * (shape[2] - 1) * (shape[3] - 1)))
    network = nn.Sequential(*layers, nn.Linear(shape[-1], 2)).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 2, 7, 9, device="meta"))
    for _ in range(2):  # the second time from what the first has found out
        assert count_flops(network, (2, 7, 9)) == counter.get_total_flops()


@pytest.mark.parametrize(
    "first",
    [
        nn.Conv1d(2, 4, 5, stride=2, padding=1, dilation=2, groups=2),
        nn.MaxPool1d(3, stride=2, padding=1),
        nn.MaxPool1d(2, ceil_mode=True),
        nn.AvgPool1d(3, stride=2),
        nn.AdaptiveAvgPool1d(3),
        nn.AdaptiveMaxPool1d(1),
        nn.ConstantPad1d((1, 2), 0.0),
        nn.BatchNorm1d(2),
    ],
    ids=str,
)
def test_what_follows_a_layer_of_signals_costs_what_torch_counts(first: nn.Module) -> None:
    with torch.no_grad():
        shape = first.eval()(torch.zeros(1, 2, 11)).shape
    layers = [first, nn.Conv1d(shape[1], 3, 1), nn.Flatten(), nn.Linear(3 * shape[2], 2)]
    network = nn.Sequential(*layers).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 2, 11, device="meta"))
    assert count_flops(network, (2, 11)) == counter.get_total_flops()


def counted_by_torch(network: nn.Module, x: torch.Tensor) -> int:
    """What torch counts while a network with weights computes: products and convolutions only.

    We leave out what it leaves out, elementwise operations, so that both counts are the same.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(x)
    return int(counter.get_total_flops())


IMAGE = (3, 16, 16)
SHAPES: dict[str, Shape] = dict.fromkeys(OF_SIGNALS, SIGNAL_SHAPE)


@one_in(2, 0, "name", SPACES)
def test_children_of_every_shipped_space_cost_what_torch_counts(name: str) -> None:
    is_of_tokens = name in (*OF_TOKENS, *OF_TEXTS)
    in_shape, in_dtype = ((4,), "int64") if is_of_tokens else (SHAPES.get(name, IMAGE), "float32")
    space, rng, num_counted = load_space(name), np.random.default_rng(1), 0
    for _ in range(4):
        frozen = space.freeze(rollout(space, rng))
        try:
            size = measure(frozen, in_shape, out_shape_of(name, in_shape), in_dtype)
        except SpaceError:  # too small an input for its pooling
            continue
        network, _ = frozen.build(in_shape)
        x = torch.zeros(1, *in_shape, dtype=getattr(torch, in_dtype))
        assert size.flops == counted_by_torch(network, x) > 0
        assert size.parameters == sum(p.numel() for p in network.parameters())
        num_counted += 1
    assert num_counted > 1


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "cell",
    [
        *("rnn_cell", "lstm_cell", "gru_cell"),
        {"recurrent_cell": {"base": 4, "combinations": ["elem_mult"], "activations": ["relu"]}},
    ],
    ids=str,
)
def test_recurrent_layers_cost_what_torch_counts_at_every_step(cell: object, layers: int) -> None:
    """Over numbers; no shipped space has them without an embedding, which torch itself counts."""
    recurrent = {"recurrent": {"cell": cell, "units": 5, "layers": layers}}
    space = parse_space({"concat": [recurrent, "flatten", {"affine": {"units": 10}}]})
    frozen = space.freeze(space.walk(lambda decision: 0))
    network, _ = frozen.build((7, 6))
    expected = counted_by_torch(network, torch.zeros(1, 7, 6))
    assert measure(frozen, (7, 6), 10).flops == expected > 0


OTHERS = (*WIDE_SPACES, *OF_TOKENS, *OF_TEXTS, *OF_PIXELS)
OF_NUMBERS = [name for name in SPACES if name not in OTHERS]


def of_the_whole(frozen: SearchSpace, in_shape: Shape) -> tuple[int, int] | str:
    """Parameters and operations of the network that is built at once, or why there is none."""
    try:
        network = on_meta(frozen, in_shape, 10)
    except SpaceError as error:
        return str(error)
    return sum(p.numel() for p in network.parameters()), count_flops(network, in_shape)


def of_the_parts(frozen: SearchSpace, in_shape: Shape) -> tuple[int, int] | str:
    try:
        size = measure(frozen, in_shape, 10)
    except SpaceError as error:
        return str(error)
    return size.parameters, size.flops


@one_in(3, 0, "name", OF_NUMBERS)
def test_a_network_has_the_size_of_its_parts(name: str) -> None:
    space, rng = load_space(name), np.random.default_rng(0)
    networks = [space.freeze(rollout(space, rng)) for _ in range(12)]
    in_shape = SHAPES.get(name, IMAGE)
    wholes = [of_the_whole(frozen, in_shape) for frozen in networks]
    assert sum(isinstance(each, tuple) for each in wholes) > 2
    for _ in range(2):  # the second time from what the first has found out
        assert [of_the_parts(frozen, in_shape) for frozen in networks] == wholes


def test_parts_that_many_architectures_have_are_built_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = load_space("nasbench201")
    first = space.walk(lambda decision: 2)
    measure(space.freeze(first), (3, 32, 32), 10)
    built: list[str] = []
    build = Space.build
    monkeypatch.setattr(Space, "build", lambda s, shape: built.append(s.title()) or build(s, shape))
    measure(space.freeze({**first, "normal/cell/2-3/or": 3}), (3, 32, 32), 10)
    assert sum(name == "conv2d" for name in built) == 3  # of 3x3, with 16, 32 and 64 channels
    assert len(built) == 9  # with an activation and a normalization each


@dataclass(frozen=True)
class Twofold(Concat):
    """A user's own: it builds its modules twice."""

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        one, shape = super().make(in_shape)
        other, shape = super().make(shape)
        return nn.Sequential(one, other), shape


def test_a_module_that_builds_in_its_own_way_is_measured_as_a_whole() -> None:
    frozen = SearchSpace((), Twofold((Affine(4),)))
    size = measure(frozen, (4,), 4)
    assert size.parameters == 2 * (4 * 4 + 4)
    assert size.flops == 2 * 2 * 4 * 4


def test_what_is_kept_of_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blueprint, "_MOST_KEPT", 5)
    for units in range(3, 20):
        frozen = parse_space({"concat": [{"affine": {"units": units}}, {"affine": {"units": 2}}]})
        assert measure(frozen, (7,), 2).parameters == 8 * units + 2 * (units + 1)
        assert len(blueprint._kept) <= 5
