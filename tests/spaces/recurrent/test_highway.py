"""Cells of highway nodes, ENAS' and DARTS', and the layer that runs them."""

from math import factorial
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from nasrunner.core import SpaceError
from nasrunner.spaces import DartsRnn, EnasCell, HighwayCell, Recurrent
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw as picture
from nasrunner.spaces.recurrent.highway_layer import HighwayLayer, HighwayRecurrence
from nasrunner.spaces.recurrent.prepacked_product import LEAST
from tests.spaces.enumeration import draw, enumerate_genotypes
from tests.spaces.test_shipped import load

# B = batch, T = time steps, I = size of a vector that comes in, H = hidden size

FUNCTIONS: dict[str, Any] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda a: a,
}
ALL = ("tanh", "relu", "identity", "sigmoid")

PUBLISHED_ENAS = HighwayCell(
    "tanh",
    (
        *((0, "tanh"), (1, "relu"), (2, "relu"), (2, "tanh"), (2, "tanh"), (5, "relu")),
        *((1, "tanh"), (6, "relu"), (8, "relu"), (8, "relu"), (8, "relu")),
    ),
    "loose_ends",
    "edge",
)
"""The cell of scripts/ptb_final.sh in the authors' repository, melodyguan/enas."""

PUBLISHED_DARTS = HighwayCell(
    "tanh",
    (
        *((0, "relu"), (1, "relu"), (2, "tanh"), (3, "relu")),
        *((4, "relu"), (1, "identity"), (5, "relu"), (1, "relu")),
    ),
    "nodes",
    "node",
)
"""The first cell of rnn/genotypes.py in the authors' repository, quark0/darts."""

CELLS = {
    "ENAS": PUBLISHED_ENAS,
    "DARTS": PUBLISHED_DARTS,
    "a chain": HighwayCell("relu", ((0, "sigmoid"), (1, "identity")), "loose_ends", "edge"),
    "a star": HighwayCell("sigmoid", ((0, "identity"), (0, "relu"), (0, "relu")), "nodes", "node"),
}


def layer_of(cell: HighwayCell, units: int = 4, state_dropout: float = 0.0) -> HighwayLayer:
    torch.manual_seed(0)
    return cell.layer(3, units, state_dropout).double()


def written_out(cell: HighwayCell, layer: HighwayLayer, x_BTI: torch.Tensor) -> torch.Tensor:
    """The cell's equations, node by node."""
    h = x_BTI.new_zeros(len(x_BTI), layer.units)
    found = []
    for x in x_BTI.unbind(1):
        gate, into = (layer.from_input(x) + layer.from_state(h)).chunk(2, 1)
        gate = torch.sigmoid(gate)
        nodes = [gate * FUNCTIONS[cell.first](into) + (1 - gate) * h]
        for number, (source, name) in enumerate(cell.nodes, 1):
            edge = f"{source}-{number}" if cell.weights == "edge" else str(number)
            gate, into = layer.edges[edge](nodes[source]).chunk(2, 1)
            gate = torch.sigmoid(gate)
            nodes.append(gate * FUNCTIONS[name](into) + (1 - gate) * nodes[source])
        taken = {source for source, _ in cell.nodes}
        loose = [value for number, value in enumerate(nodes) if number not in taken]
        h = torch.stack(loose if cell.mean == "loose_ends" else nodes[1:]).mean(0)
        found.append(h)
    return torch.stack(found, 1)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("units", [4, 16])
def test_a_cell_computes_its_equations_and_their_derivatives(cell: HighwayCell, units: int) -> None:
    layer = layer_of(cell, units)
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 5, units, dtype=torch.float64)
    outputs = layer(x), written_out(cell, layer, x)
    torch.testing.assert_close(*outputs)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), outputs[0])
    inputs = (x, *layer.parameters())
    of_ours, of_theirs = (torch.autograd.grad((y * weights).sum(), inputs) for y in outputs)
    torch.testing.assert_close(of_ours, of_theirs)


def test_the_derivative_of_the_loop_is_that_of_what_it_computes() -> None:
    layer = layer_of(PUBLISHED_ENAS, 3)
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    x_TBP, h_BH = random(3, 2, 6), random(2, 3)
    weights = [random(6, 3) for _ in range(12)]
    mask = (torch.rand(2, 3, generator=generator) > 0.3).double() / 0.7
    outputs = layer.wiring.outputs()
    for mask_BH in (None, mask):
        assert torch.autograd.gradcheck(
            lambda x, h, *w, m=mask_BH: HighwayRecurrence.apply(layer.groups, outputs, x, h, m, *w),
            (x_TBP, h_BH, *weights),
        )


def test_large_cells_compute_their_equations() -> None:
    units = 730  # no multiple of a cache line's 16
    layer = layer_of(CELLS["a star"], units).float()
    assert 2 * units**2 >= LEAST
    x = torch.randn(2, 3, 3)
    outputs = layer(x), written_out(CELLS["a star"], layer, x)
    torch.testing.assert_close(*outputs)
    of_ours, of_theirs = (
        torch.autograd.grad(y.square().sum(), tuple(layer.parameters())) for y in outputs
    )
    torch.testing.assert_close(of_ours, of_theirs, rtol=1e-4, atol=1e-4)


def test_all_nodes_of_an_example_miss_the_same_elements_in_every_step() -> None:
    cell = HighwayCell("identity", ((0, "identity"),), "nodes", "node")
    torch.manual_seed(0)
    layer = cell.layer(1, 200, 0.4)
    with torch.no_grad():  # h_t = (h_{t-1} + s_0) / 2 where both are kept, else a half of it
        for product in (layer.from_state, layer.edges["1"]):
            product.weight.copy_(torch.cat([torch.zeros(200, 200), torch.eye(200)]))
        layer.from_input.weight.zero_()
    layer.reset_state()
    layer.keeps_state, layer.state = True, (torch.ones(8, 200),)
    y = layer(torch.zeros(8, 3, 1))
    kept = (0.5 + 0.5 / 0.6) ** 2  # of a step, by both nodes
    for step in range(3):
        missed = torch.isclose(y[:, step], torch.tensor(0.25 ** (step + 1)))
        assert missed.float().mean().item() == pytest.approx(0.4, abs=0.05)
        wanted = torch.full_like(y[:, step], kept ** (step + 1))
        torch.testing.assert_close(y[:, step][~missed], wanted[~missed])
    assert not (y[0] == y[1]).all(), "every example has its own"


def test_the_state_goes_on_after_a_reset_and_no_derivative_through_it() -> None:
    layer, x = layer_of(PUBLISHED_DARTS), torch.randn(2, 6, 3, dtype=torch.float64)
    whole = layer(x)
    layer.reset_state()
    halves = [layer(x[:, :2]), layer(x[:, 2:])]
    torch.testing.assert_close(torch.cat(halves, 1), whole)
    assert layer.state is not None
    assert not layer.state[0].requires_grad
    torch.testing.assert_close(layer(x[:1]), whole[:1])  # another batch size: zeros


def test_a_layer_trains_in_mixed_precision() -> None:
    layer, x = PUBLISHED_ENAS.layer(3, 4, 0.2), torch.randn(2, 5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        with torch.no_grad():
            assert layer.eval()(x).dtype is torch.bfloat16
    y.sum().backward()
    assert y.dtype is torch.bfloat16
    assert all(weight.grad is not None for weight in layer.parameters())


def test_the_papers_spaces_have_the_papers_sizes() -> None:
    assert load("enas_cell").size() == 4**12 * factorial(11) == 669_692_775_628_800
    assert load("darts_rnn").size() == 4**8 * factorial(8) == 2_642_411_520


@pytest.mark.parametrize(
    ("space", "size"),
    [(EnasCell(4, ("tanh", "relu")), 2**4 * 6), (DartsRnn(3, ("tanh", "relu")), 2**3 * 6)],
)
def test_the_size_is_the_number_of_cells(space: EnasCell | DartsRnn, size: int) -> None:
    frozen = [space.freeze(genotype) for genotype in enumerate_genotypes(space)]
    assert space.size() == size == len(frozen) == len(set(map(str, frozen)))


def published(name: str, cell: HighwayCell, **changed: Any) -> int:
    """Parameters of a published cell in the space's language model, with 10,000 words."""
    space: Any = load(name)
    model = space.freeze(draw(space, 0)).network
    given = {"body": Recurrent(cell), "vocabulary": 10_000, **changed}
    settings = {key: getattr(model, key) for key in ("tied", "units", "parameters")}
    with torch.device("meta"):
        network, _ = type(model)(**{**settings, **given}).build((35,))
    return sum(weight.numel() for weight in network.parameters())


def test_published_cells_have_the_papers_parameters() -> None:
    """DARTS: 23 million. ENAS: 24; the 748 units of the authors' script make fewer."""
    darts = published("darts_rnn", PUBLISHED_DARTS)
    assert darts == 10_000 * 850 + 10_000 + 2 * 850 * (850 + 850) + 8 * 2 * 850 * 850 == 22_960_000
    assert round(darts / 1e6) == 23
    assert round(published("enas_cell", PUBLISHED_ENAS) / 1e6) == 24
    script = published("enas_cell", PUBLISHED_ENAS, units=748, parameters=None)
    assert script == 10_000 * 748 + 10_000 + 13 * 2 * 748**2 == 22_037_104


def test_the_published_cells_are_in_the_spaces() -> None:
    for name, cell in (("enas_cell", PUBLISHED_ENAS), ("darts_rnn", PUBLISHED_DARTS)):
        space: Any = load(name)
        cells = [] if name == "darts_rnn" else [cell.first]
        for number, (source, activation) in enumerate(cell.nodes, 1):
            cells += [source] * (number > 1) + [activation]
        given = iter(cells)
        genotype = space.walk(lambda decision, g=given: decision.options.index(next(g)))
        assert next(given, None) is None
        assert space.freeze(genotype).network.body.cell == cell


def test_decisions_are_asked_node_by_node() -> None:
    place = "recurrent/enas_cell"
    space = parse_space({"recurrent": {"cell": {"enas_cell": {"nodes": 4, "activations": ALL}}}})
    assert list(space.walk(lambda decision: 0)) == [
        *(f"{place}/0/activation", f"{place}/1/activation"),
        *(f"{place}/2/source", f"{place}/2/activation"),
        *(f"{place}/3/source", f"{place}/3/activation"),
    ]
    assert space.signature() == {
        f"{place}/*/activation": ALL,
        f"{place}/2/source": (0, 1),
        f"{place}/3/source": (0, 1, 2),
    }


def test_matrices_are_known_by_the_nodes_they_stand_between() -> None:
    edges = [name for name, _ in layer_of(PUBLISHED_ENAS).edges.named_parameters()]
    assert edges[:4] == ["0-1.weight", "1-2.weight", "2-3.weight", "2-4.weight"]
    assert len(edges) == 11
    of_nodes = [name for name, _ in layer_of(PUBLISHED_DARTS).edges.named_parameters()]
    assert of_nodes == [f"{node}.weight" for node in range(1, 9)]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ({"enas_cell": {"nodes": 1, "activations": ["tanh"]}}, "nodes must be int >= 2"),
        ({"enas_cell": {"nodes": 3, "activations": []}}, r"different ones, got \(\)"),
        ({"darts_rnn": {"nodes": 3, "activations": ["relu", "relu"]}}, "must be different ones"),
        ({"darts_rnn": {"nodes": 3, "activations": ["cosine"]}}, "darts_rnn.activations must be"),
    ],
)
def test_impossible_options_are_refused(module: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space({"recurrent": {"cell": module}})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nodes": []}, r"nodes of highway_cell must be at least one, got \[\]"),
        ({"nodes": [[1, "tanh"]]}, "node 1 of highway_cell must take node 0, got 1"),
        ({"nodes": [[0, "tanh"], [2, "tanh"]]}, "node 2 .* must take node from 0 to 1, got 2"),
        ({"nodes": [["tanh", 0]]}, "node 1 of highway_cell must take node 0, got 'tanh'"),
        ({"nodes": [[0, "tan"]]}, "no activation 'tan', did you mean 'tanh'"),
        ({"nodes": [[0]]}, r"is \[node that it takes, activation\], got \(0,\)"),
        ({"mean": "all"}, "highway_cell.mean must be"),
    ],
)
def test_an_impossible_cell_is_refused(changed: dict[str, Any], message: str) -> None:
    cell = {"first": "tanh", "nodes": [[0, "tanh"]], "mean": "nodes", "weights": "node"}
    assert parse_space({"recurrent": {"highway_cell": cell}}).size() == 1
    with pytest.raises(SpaceError, match=message):
        parse_space({"recurrent": {"highway_cell": {**cell, **changed}}})


def test_the_text_of_a_cell_names_what_each_node_takes() -> None:
    assert CELLS["a chain"].text() == (
        "highway_cell(relu(x, h), sigmoid(0), identity(1); h = mean(2))"
    )
    assert CELLS["a star"].text().endswith("; h = mean(1, 2, 3))")


def test_the_picture_of_a_cell_shows_its_nodes_and_their_mean() -> None:
    svg = ElementTree.fromstring(picture(CELLS["a chain"]))
    texts = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:4] == ["input", "Wx + Uh", "highway", "relu"]
    assert sorted(texts[4:]) == sorted(["sigmoid", "identity", "0", "1", "2", "mean", "output"])


def test_the_picture_of_open_cells_shows_their_options() -> None:
    svg = picture(DartsRnn(8, ("tanh", "relu")))
    assert all(text in svg for text in ("darts_rnn", "nodes=8", "tanh, relu"))
