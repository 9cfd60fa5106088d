"""Cells, what is shared and what is named: the parts that NAS-Bench-201's space is made of."""

import itertools
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from nasrunner.children.inspecting import draw_up
from nasrunner.core import SearchSpace, SpaceError
from nasrunner.spaces import Affine, Cell, Concat, Conv2d, Empty, Fork, Named, Relu, Zero
from nasrunner.spaces.cell import Graph, edges_of
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw as picture
from tests.spaces.enumeration import draw, enumerate_genotypes
from tests.spaces.test_shipped import load

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


class Scale(nn.Module):
    """Multiplies by a number that is easy to recognise in a sum."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def scale(factor: Any) -> dict[str, Any]:
    return {"_target_": "tests.spaces.test_cell.Scale", "factor": factor}


def test_a_node_is_the_sum_of_what_the_edges_make_of_all_nodes_before_it() -> None:
    space = parse_space({"cell": {"nodes": 4, "edge": scale({"oneof": [0, 1, 2, 3, 5, 7]})}})
    paths = list(space.walk(lambda decision: 0))
    assert paths == [
        f"cell/{edge}/Scale/factor" for edge in ("0-1", "0-2", "1-2", "0-3", "1-3", "2-3")
    ]
    network, shape = space.freeze(dict(zip(paths, [1, 2, 3, 4, 5, 0], strict=True))).build((1,))
    assert shape == (1,)
    # node 1 = 1x, node 2 = 2x + 3·1x = 5x, node 3 = 5x + 7·1x + 0·5x = 12x
    assert network(torch.tensor([[1.0], [2.0]])).tolist() == [[12.0], [24.0]]


def test_smaller_nodes_are_padded_with_zeros_where_they_meet() -> None:
    graph = Graph((Affine(3), Empty(), Empty()))
    network, shape = graph.build((2,))
    (affine,) = (m for m in network.modules() if isinstance(m, nn.Linear))
    x = torch.randn(4, 2)
    expected = affine(x)
    expected[:, :2] += x
    assert shape == (3,)
    torch.testing.assert_close(network(x), expected)


def test_a_cell_of_an_image_and_a_vector_is_impossible() -> None:
    with pytest.raises(SpaceError, match="cannot be merged: flatten or pool them first"):
        Graph((Affine(3), Empty(), Empty())).build((2, 4, 4))


def test_the_number_of_nodes_may_be_a_decision() -> None:
    space = parse_space({"cell": {"nodes": {"oneof": [2, 3]}, "edge": {"or": ["relu", "tanh"]}}})
    assert space.size() == 2 + 2**3
    genotypes = list(enumerate_genotypes(space))
    assert len(genotypes) == space.size()
    assert set().union(*genotypes) == {
        "cell/nodes",
        *(f"cell/{e}/or" for e in ("0-1", "0-2", "1-2")),
    }
    assert [len(space.freeze(g).network.edges) for g in genotypes] == [1] * 2 + [3] * 8  # type: ignore[attr-defined]


def test_the_text_of_a_cell_names_every_edge_that_carries_something() -> None:
    assert Graph((Relu(), Empty(), Zero())).text() == "cell(0→1: relu, 0→2: empty)"
    assert Graph((Zero(),)).text() == "cell(zero)"
    assert Graph((Relu(),)).num_nodes == 2


@pytest.mark.parametrize("nodes", [1, 0, -3, {"oneof": [3, 1]}])
def test_a_cell_needs_two_nodes(nodes: object) -> None:
    with pytest.raises(
        SpaceError, match=r"space.cell.nodes(.oneof)? must be int >= 2, got (1|0|-3)"
    ):
        parse_space({"cell": {"nodes": nodes, "edge": "relu"}})


def test_an_open_cell_cannot_be_built() -> None:
    with pytest.raises(SpaceError, match="its edges have to be chosen: freeze it first"):
        Cell(3, Relu()).build((2,))


def test_zero_cuts_the_signal_but_not_the_gradient() -> None:
    network, shape = Concat((Affine(2), Zero())).build((3,))
    y = network(torch.randn(5, 3))
    y.sum().backward()
    assert shape == (2,)
    assert y.tolist() == [[0.0, 0.0]] * 5
    assert all(weight.grad is not None for weight in network.parameters())


def test_filters_same_keeps_the_channels_that_come_in() -> None:
    for module in ("conv2d", "separable_conv2d", "dilated_conv2d"):
        space = parse_space({module: {"filters": "same", "kernel_size": 3}}).freeze({})
        for channels in (1, 5):
            network, shape = space.build((channels, 4, 4))
            assert shape == (channels, 4, 4)
            assert network(torch.zeros(2, channels, 4, 4)).shape == (2, *shape)
    with pytest.raises(SpaceError, match=r"conv2d.filters must be int >= 1 or same, got 'all'"):
        parse_space({"conv2d": {"filters": "all", "kernel_size": 3}})


def test_an_average_may_leave_out_the_padding() -> None:
    pool = {"kernel_size": 3, "stride": 1, "padding": "same"}
    counted = parse_space({"average_pool": pool})
    left_out = parse_space({"average_pool": {**pool, "count_padding": False}})
    ones = torch.ones(1, 1, 3, 3)
    assert left_out.build((1, 3, 3))[0](ones).tolist() == ones.tolist()
    assert counted.build((1, 3, 3))[0](ones)[0, 0, 0].tolist() == pytest.approx(
        [4 / 9, 6 / 9, 4 / 9]
    )
    uneven = parse_space({"average_pool": {**pool, "kernel_size": 2, "count_padding": False}})
    x = torch.arange(9.0).view(1, 1, 3, 3)
    means = [[2.0, 3.0, 3.5], [5.0, 6.0, 6.5], [6.5, 7.5, 8.0]]  # the last of two columns or rows
    assert uneven.build((1, 3, 3))[0](x).tolist() == [[means]]


SHARED = {"shared": {"label": "block"}}


def share(body: object, module: object = None) -> dict[str, Any]:
    module = module or {"conv2d": {"filters": "same", "kernel_size": {"oneof": [1, 3]}}}
    return {"share": {"label": "block", "module": module, "body": body}}


def test_what_is_shared_is_decided_once_and_built_at_every_width() -> None:
    widen = {"conv2d": {"filters": 4, "kernel_size": {"oneof": [1, 5]}}}
    space = parse_space(share({"concat": [SHARED, widen, SHARED]}))
    assert space.size() == 4
    assert [list(genotype.values()) for genotype in enumerate_genotypes(space)] == [
        *([0, 0], [0, 1], [1, 0], [1, 1])
    ]
    genotype = {"block/conv2d/kernel_size": 1, "1/conv2d/kernel_size": 0}
    assert space.values(genotype) == {"block/conv2d/kernel_size": 3, "1/conv2d/kernel_size": 1}
    network, shape = space.freeze(genotype).build((2, 6, 6))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0]) for c in convolutions] == [
        *((2, 2, 3), (2, 4, 1), (4, 4, 3))
    ]
    assert shape == (4, 6, 6)


def test_the_text_of_a_share_says_first_what_is_shared() -> None:
    space = parse_space(share({"concat": [SHARED, "relu", SHARED]}))
    text = space.freeze({"block/conv2d/kernel_size": 0}).text()
    assert text == "block = conv2d(filters=same, kernel_size=1) in block → relu → block"


def test_shares_may_use_what_is_shared_around_them() -> None:
    inner = {
        "label": "twice",
        "module": {"concat": [SHARED, SHARED]},
        "body": {"shared": {"label": "twice"}},
    }
    space = parse_space(share({"share": inner}, {"affine": {"units": {"oneof": [2, 3]}}}))
    network, shape = space.freeze({"block/affine/units": 1}).build((7,))
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [layer.in_features for layer in layers] == [7, 3]
    assert shape == (3,)


def test_a_branch_that_uses_nothing_shared_still_builds() -> None:
    space = parse_space(share({"or": [SHARED, "relu"]}))
    for genotype in enumerate_genotypes(space):
        assert space.freeze(genotype).build((2, 4, 4))[1] == (2, 4, 4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SHARED, r"space: shared: \{label: block\} has no share of that label around it"),
        (share("relu"), r"space: the body of share 'block' needs shared: \{label: block\}"),
        (share(share(SHARED)), "must not have the label 'block' of another around it"),
        (share(SHARED, SHARED), r"shared: \{label: block\} has no share of that label"),
        (
            {"share": {"label": "0", "module": "relu", "body": SHARED}},
            "space.share: label of share must be a name of letters, digits and _, got '0'",
        ),
        (
            {"share": {"label": "or", "module": "relu", "body": {"or": [SHARED]}}},
            "space.share: label of share must not be its body's name, got 'or'",
        ),
    ],
)
def test_labels_that_do_not_fit_together_are_refused(config: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space(config)


def test_a_name_stands_for_its_module_among_options_and_in_texts() -> None:
    block = {"concat": ["relu", {"affine": {"units": 3}}]}
    space = parse_space({"or": [{"named": {"label": "block", "module": block}}, "tanh"]})
    assert space.signature() == {"or": ("block", "tanh")}
    frozen = space.freeze({"or": 0})
    assert frozen.text() == "block"
    network, shape = frozen.build((2,))
    assert [type(layer) for layer in network.children()] == [nn.ReLU, nn.Linear]
    assert shape == (3,)


def test_a_name_hides_no_decision() -> None:
    wide = {"affine": {"units": {"oneof": [2, 3]}}}
    space = parse_space({"named": {"label": "wide", "module": wide}})
    assert space.freeze({"affine/units": 1}).text() == "affine(units=3)"


# NAS-Bench-201


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load("nasbench201")


def test_nasbench201_has_15625_architectures_of_six_decisions(space: SearchSpace) -> None:
    assert space.size() == 15_625
    assert space.signature() == {"normal/cell/*/or": OPERATIONS}
    genotype = draw(space, 0)
    assert list(genotype) == [f"normal/cell/{i}-{j}/or" for i, j in edges_of(4)]


# Dong & Yang 2020; the formulas are those of the benchmark's table. Its count of multiply-adds has
# 10 more than 7,783,040: the additions of the classifier's bias, which ours leaves out.
@pytest.mark.parametrize(
    "edges", [(0,) * 6, (1,) * 6, (4,) * 6, (2,) * 6, (3,) * 6, (3, 2, 1, 0, 4, 3)]
)
def test_nasbench201_has_the_parameters_and_multiply_adds_of_its_table(
    space: SearchSpace, edges: tuple[int, ...]
) -> None:
    genotype = dict(zip(draw(space, 0), edges, strict=True))
    blueprint = draw_up(space, genotype, (3, 32, 32), 10, lambda frozen: "")
    num_3x3, num_1x1 = edges.count(3), edges.count(2)
    assert blueprint.parameters == 73_306 + 243_040 * num_3x3 + 28_000 * num_1x1
    assert blueprint.flops == 2 * (7_783_040 + 35_389_440 * num_3x3 + 3_932_160 * num_1x1)


@pytest.mark.parametrize("edges", [(0,) * 6, (1,) * 6, (3, 2, 1, 0, 4, 3)])
def test_a_child_of_nasbench201_learns(space: SearchSpace, edges: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    genotype = dict(zip(draw(space, 0), edges, strict=True))
    network, _ = space.freeze(genotype).build((3, 32, 32))
    x, y = torch.randn(8, 3, 32, 32), torch.zeros(8, dtype=torch.long)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]  # also where all is none: the classifier's bias learns
    assert all(weight.grad is not None for weight in network.parameters())


def test_the_same_cell_stands_at_three_widths(space: SearchSpace) -> None:
    genotype = dict(zip(draw(space, 0), (3, 0, 0, 0, 0, 1), strict=True))
    network, _ = space.freeze(genotype).build((3, 32, 32))
    widths = [
        m.out_channels
        for m in network.modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.in_channels == m.out_channels
    ]
    assert [widths.count(16), widths.count(32), widths.count(64)] == [5, 5 + 1, 5 + 1]


def test_a_picture_numbers_the_nodes_and_leaves_out_what_carries_nothing() -> None:
    edges = (Named("first", Concat((Relu(), Conv2d("same", 1)))), Zero(), Empty())
    svg = ElementTree.fromstring(picture(Graph(edges)))
    texts = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[1:-1] == ["first", "relu → conv2d", "0", "1", "2"]


def test_edges_beside_the_nodes_overlap_neither_each_other_nor_the_nodes() -> None:
    for seed in range(20):
        space = parse_space({"cell": {"nodes": 5, "edge": {"or": ["relu", "tanh", "zero"]}}})
        svg = ElementTree.fromstring(picture(space.freeze(draw(space, seed))))
        boxes = [
            [float(box.get(name, "nan")) for name in ("x", "y", "width", "height")]
            for box in svg.findall(".//{http://www.w3.org/2000/svg}rect[@stroke-width]")
        ]
        for (x0, y0, w0, h0), (x1, y1, w1, h1) in itertools.combinations(boxes, 2):
            assert x0 + w0 <= x1 or x1 + w1 <= x0 or y0 + h0 <= y1 or y1 + h1 <= y0


def test_a_named_block_of_branches_is_a_frame_under_its_name() -> None:
    block = Named("block", Fork((Relu(), Empty()), "add"))
    texts = [node.text for node in ElementTree.fromstring(picture(block)).iter() if node.text]
    assert {"relu", "+", "block"} <= set(texts)
