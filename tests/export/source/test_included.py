"""Source of a user's own modules: taken into the file, or refused with its name."""

import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from nasrunner.core import Shape, Space
from nasrunner.export.errors import ExportError
from nasrunner.export.source.construction import build
from nasrunner.export.source.included import Sources
from nasrunner.spaces.external import External
from nasrunner.spaces.language.parsing import parse_space
from tests.export.blocks import INNER, Applies, NeedsNumpy, Several
from tests.export.networks import difference, written
from tests.spaces.enumeration import draw


def external(name: str, **arguments: object) -> dict[str, object]:
    return {"_target_": f"tests.export.blocks.{name}", **arguments}


@dataclass(frozen=True)
class SideBySide(Space):
    """A user's own space, whose module is given layers."""

    units: int

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        layers = [nn.Linear(in_shape[0], self.units), nn.Sequential(nn.Linear(in_shape[0], 1))]
        return Several(layers), (self.units,)


def test_a_users_module_is_included_with_all_it_uses() -> None:
    config = {"concat": ["relu", external("SelfContained", how="triple"), {"affine": {"units": 2}}]}
    network, calls = build(parse_space(config).freeze({}), (5,))
    code = written(network, calls, (5,))
    other = code.load(code.state(network))
    for trains in (False, True):
        assert difference(network, other, (5,), trains=trains) == 0
    assert code.state(network)["self_contained.seen"] == 7  # the buffer of the user's, trained once
    assert 'SelfContained(in_shape=(5,), how="triple")' in code.source
    assert "class Gate(nn.Module):" in code.source  # private names are made public
    assert "class Network2(nn.Module):" in code.source  # its name was taken
    assert "self.own = Network2(in_shape[0])" in code.source
    assert code.source.count("LIMIT = 1.5") == 1
    assert "numpy" not in code.source
    assert "tests.export" not in code.source
    assert "from __future__ import annotations" in code.source


@pytest.mark.parametrize("cell", ["enas_cell", "darts_rnn"])
def test_a_layer_of_highway_nodes_is_included_with_all_it_uses(cell: str) -> None:
    given = {"nodes": 4, "activations": ["tanh", "relu", "identity", "sigmoid"]}
    layer = {"recurrent": {"cell": {cell: given}, "units": 6, "state_dropout": 0.3}}
    space = parse_space({"concat": [layer, "flatten", {"affine": {"units": 2}}]})
    network, calls = build(space.freeze(draw(space, 0)), (5, 3))
    code = written(network, calls, (5, 3))
    other = code.load(code.state(network))
    for trains in (False, True):
        assert difference(network, other, (5, 3), trains=trains) == 0
    assert "nasrunner" not in code.source.partition("class ")[2]


def test_layers_that_are_given_to_a_module_are_written_as_its_arguments() -> None:
    network, calls = build(SideBySide(3), (4,))
    code = written(network, calls, (4,))
    other = code.load(code.state(network))
    assert difference(network, other, (4,), trains=False) == 0
    arguments = "layers=[nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 1))]"
    assert f"self.several = Several({arguments})" in code.source


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NeedsNumpy", "blocks.NeedsNumpy cannot be included: it uses 'numpy', but a file"),
        ("ImportsWhenRun", "blocks.ImportsWhenRun cannot be included: it uses 'numpy'"),
        ("UsesAWholeModule", "it uses tests.export.more_blocks as a whole"),
    ],
)
def test_a_module_that_needs_more_than_torch_is_refused_by_its_name(
    name: str, message: str
) -> None:
    network, calls = build(parse_space({"concat": ["relu", external(name)]}).freeze({}), (4,))
    with pytest.raises(ExportError, match=message):
        written(network, calls, (4,))


def test_a_class_inside_a_function_is_refused() -> None:
    with pytest.raises(ExportError, match=r"nested.<locals>.Inner .* must stand at the top level"):
        Sources().include(INNER)


def test_a_module_without_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspect.getsource", lambda module: (_ for _ in ()).throw(OSError("none")))
    with pytest.raises(ExportError, match=r"there is none of tests.export.blocks"):
        Sources().include(NeedsNumpy)


def test_an_argument_without_a_text_of_its_own_is_refused() -> None:
    network, calls = build(External(Applies, (("function", abs),)), (4,))
    with pytest.raises(
        ExportError, match=r"Applies cannot be written .* is <built-in function abs>"
    ):
        written(network, calls, (4,))


def test_a_function_of_torch_is_written_by_its_name() -> None:
    network, calls = build(External(Applies, (("function", torch.abs),)), (4,))
    code = written(network, calls, (4,))
    assert "Applies(function=torch.abs)" in code.source
    assert difference(network, code.load({}), (4,), trains=False) == 0


def test_a_layer_that_stands_in_two_places_is_refused() -> None:
    @dataclass(frozen=True)
    class Tied(Space):
        def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
            layer = nn.Linear(4, 4)
            return nn.Sequential(layer, nn.ReLU(), layer), in_shape

    network, calls = build(Tied(), (4,))
    with pytest.raises(ExportError, match="has the very same layer as 0 and as 2"):
        written(network, calls, (4,))


def test_watching_constructors_leaves_the_classes_as_they_were() -> None:
    before = {each: vars(each).get("__init__") for each in (nn.Linear, nn.BatchNorm1d)}
    build(parse_space({"concat": [{"affine": {"units": 2}}, "batch_norm"]}).freeze({}), (4,))
    assert {each: vars(each).get("__init__") for each in before} == before
    assert before[nn.BatchNorm1d] is None  # it inherits its own
    assert sys.modules["torch"].nn.Linear is nn.Linear
