"""The living part of a frozen network: what a person reads, and what is exported."""

import pytest
import torch
from torch import nn

from nasrunner.children.inspecting import draw_up
from nasrunner.core import Space
from nasrunner.core.space import living
from nasrunner.spaces import (
    Affine,
    BatchNorm,
    Concat,
    Conv2d,
    Empty,
    Fork,
    Named,
    Relu,
    Residual,
    Share,
    Shared,
    Zero,
)
from nasrunner.spaces.cell import Graph
from nasrunner.spaces.pictures.drawing import draw as picture
from nasrunner.spaces.skip_graph import SkipGraph
from tests.spaces.enumeration import draw
from tests.spaces.test_shipped import load

CONV = Conv2d(3, 3)
WIDE = Conv2d(5, 3)
SHOWN = "conv2d(filters=3, kernel_size=3)"


@pytest.mark.parametrize(
    ("frozen", "text"),
    [
        (Graph((CONV, Empty(), Zero())), "cell(0→2: empty)"),  # node 1 leads nowhere
        (Graph((Zero(), Empty(), CONV)), "cell(0→2: empty)"),  # nothing leads to node 1
        (Graph((Zero(), Zero(), CONV)), "zero"),
        (Graph((CONV, Zero(), Relu())), f"cell(0→1: {SHOWN}, 1→2: relu)"),
        (Concat((CONV, Zero(), Relu())), "zero"),
        (Fork((Concat((WIDE, Zero())), CONV), "add"), f"fork[add](zero | {SHOWN})"),
        (Fork((Zero(), Concat((Zero(), CONV))), "concat"), "zero"),
        (Residual(Zero()), "empty"),
        (Concat((CONV, Residual(Named("none", Zero())))), SHOWN),
        (Residual(Concat((WIDE, Zero()))), "residual(zero)"),  # a projection adds its input
        (Share("a", Zero(), Concat((CONV, Shared("a")))), "zero"),
        (SkipGraph((CONV, Zero(), Relu()), ((), (1,), (2,))), "zero"),
        (SkipGraph((Zero(), CONV), ((), ())), f"skip_layers(0→1: zero; 0→2: {SHOWN}; 1,2→output)"),
    ],
)
def test_dead_parts_are_not_read(frozen: Space, text: str) -> None:
    assert living(frozen).text() == text


def test_what_has_no_dead_part_is_itself() -> None:
    for frozen in (CONV, Graph((CONV, Zero(), Relu())), Residual(CONV), Concat(())):
        assert living(frozen) is frozen


def networks() -> list[Space]:
    dense = Concat((Relu(), Affine(2)))
    return [
        Concat((Graph((CONV, WIDE, Zero())), BatchNorm(), dense)),
        Concat((Graph((Zero(), CONV, WIDE)), BatchNorm(), dense)),
        Concat((Fork((Concat((WIDE, Zero())), Concat((CONV, BatchNorm()))), "concat"), dense)),
        Concat((Residual(Concat((WIDE, Zero()))), CONV, dense)),
        Concat((SkipGraph((CONV, Concat((CONV, Zero())), Relu()), ((), (1,), ())), dense)),
        Share(
            "cell", Graph((CONV, Empty(), Zero())), Concat((Shared("cell"), Shared("cell"), dense))
        ),
    ]


@pytest.mark.parametrize("frozen", networks(), ids=lambda each: each.text()[:40])
def test_weights_of_what_lives_have_the_same_names(frozen: Space) -> None:
    whole, shape = frozen.build((3, 6, 6))
    for keeps_constants in (False, True):
        alive, out_shape = living(frozen, keeps_constants=keeps_constants).build((3, 6, 6))
        assert out_shape == shape
        state = whole.state_dict()
        assert {key: value.shape for key, value in alive.state_dict().items()}.items() <= {
            key: value.shape for key, value in state.items()
        }.items()
    alive.load_state_dict({key: state[key] for key in alive.state_dict()})
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(alive.eval()(x), whole.eval()(x))


def test_a_cell_that_is_read_has_fewer_edges_than_it_trains() -> None:
    space = load("nasbench201")
    genotype = dict(zip(draw(space, 0), (3, 1, 0, 0, 0, 2), strict=True))
    blueprint = draw_up(space, genotype, (3, 32, 32), 10, picture)
    assert blueprint.text.startswith("normal = cell(0→2: skip_connect, 2→3: nor_conv_1x1) in ")
    assert "nor_conv_3x3" not in blueprint.drawing
    assert blueprint.parameters == 73_306 + 243_040 + 28_000


class Own(Graph):
    """A user's cell that is built otherwise."""

    def make(self, in_shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        return nn.Identity(), in_shape


def test_what_is_built_otherwise_is_left_alone() -> None:
    own = Own((CONV, Empty(), Zero()))
    assert living(own) is own
