"""``input`` and networks of several inputs: what they build and what they refuse."""

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from nasrunner.core import SpaceError
from nasrunner.core.decision import Decision
from nasrunner.core.shapes import TokenShape
from nasrunner.spaces.inputs import Pick, check_picks
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.language.writing import written
from nasrunner.spaces.pictures.drawing import draw

IN_SHAPE = {"image": (3, 8, 8), "text": (16,)}
BRANCHES = [
    {"concat": [{"input": "image"}, "global_pool", "flatten"]},
    {"concat": [{"input": "text"}, {"affine": {"units": {"oneof": [4, 6]}}}]},
]
BOTH = {"fork": {"branches": BRANCHES, "merge": "concat"}}


class Told(nn.Module):
    """A user's own module that keeps what it is told."""

    def __init__(self, in_shape: object) -> None:
        super().__init__()
        self.in_shape = in_shape

    def forward(self, x: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
        return x["text"] if isinstance(x, dict) else x


TOLD = {"_target_": "tests.spaces.test_inputs.Told"}


def built(space: object) -> tuple[nn.Module, tuple[int, ...]]:
    parsed = parse_space(space)
    return parsed.freeze(parsed.walk(lambda decision: 0)).build(IN_SHAPE)


def test_an_input_is_picked_by_name() -> None:
    layer, out_shape = built({"input": "text"})
    assert out_shape == (16,)
    x = {"image": torch.zeros(2, 3, 8, 8), "text": torch.ones(2, 16)}
    assert layer(x) is x["text"]


def test_the_name_may_be_a_decision() -> None:
    asked: list[Decision] = []
    space = parse_space({"input": {"oneof": ["image", "text"]}})
    genotype = space.walk(lambda decision: asked.append(decision) or 1)  # type: ignore[func-returns-value]
    assert [(d.path, d.options) for d in asked] == [("input/label", ("image", "text"))]
    layer, _ = space.freeze(genotype).build(IN_SHAPE)
    assert isinstance(layer, Pick)
    assert layer.label == "text"


@pytest.mark.parametrize(
    "around",
    [
        BOTH,
        {"concat": [BOTH, "relu"]},
        {"named": {"label": "eyes", "module": BOTH}},
        {"or": [BOTH, {"input": "text"}]},
        {"repeat": {"times": 1, "body": BOTH}},
        {
            "share": {
                "label": "eyes",
                "module": BOTH,
                "body": {"concat": [{"shared": {"label": "eyes"}}]},
            }
        },
    ],
)
def test_inputs_reach_the_branches_through_what_is_around_them(around: object) -> None:
    network, out_shape = built(around)
    assert out_shape == (3 + 4,)
    y = network({"image": torch.zeros(2, 3, 8, 8), "text": torch.ones(2, 16)})
    assert y.shape == (2, 7)


def test_a_module_of_ones_own_is_told_the_shapes_and_given_the_dict() -> None:
    layer, out_shape = built(TOLD)
    assert isinstance(layer, Told)
    assert layer.in_shape == IN_SHAPE
    assert out_shape == (16,)
    layer, out_shape = built({"concat": [{"input": "image"}, TOLD]})
    assert out_shape == (3, 8, 8)


def test_a_module_of_ones_own_is_tried_on_whole_numbers_where_tokens_come_in() -> None:
    vectors = {"_target_": "torch.nn.Embedding", "num_embeddings": 10, "embedding_dim": 4}
    frozen = parse_space({"concat": [{"input": "text"}, vectors, "flatten"]}).freeze({})
    layer, out_shape = frozen.build({**IN_SHAPE, "text": TokenShape((16,))})
    assert out_shape == (64,)
    assert layer({"text": torch.full((2, 16), 9)}).shape == (2, 64)
    with pytest.raises(SpaceError, match=r"no Embedding on an input of shape \(16,\): .*Float"):
        frozen.build(IN_SHAPE)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"concat": [{"affine": {"units": 3}}]},
            r"'0/affine': affine takes one tensor, but the inputs image \(3, 8, 8\), text \(16,\) "
            r"come in by name; legal: one of them, picked before it by input: image or input: text",
        ),
        ({"residual": {"body": {"input": "text"}}}, "'residual': residual takes one tensor"),
        ({"fork": {"branches": ["relu", "relu"], "merge": "add"}}, "'fork/0/relu': relu takes one"),
        ({"repeat": {"times": 0, "body": "relu"}}, "concat takes one tensor"),
        (
            {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 3},
            "'Linear': Linear takes one tensor",
        ),
        (
            {"input": "txt"},
            r"'input': .* no input 'txt' among image \(3, .* mean 'text'\? Legal: i",
        ),
        (
            {"concat": [{"input": "text"}, {"input": "text"}]},
            "'1/input': no input on an input of shape .*picks one of several inputs by name, but",
        ),
    ],
)
def test_what_cannot_take_several_inputs_says_what_is_legal(space: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        built(space)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input": None}, "space.input: input needs 'label'"),
        ({"input": 3}, "space.input.label must be str, got 3"),
        ({"input": {"lable": "text"}}, "input takes no 'lable', did you mean 'label'"),
        ({"input": ["image", "text"]}, "space.input.label must be str"),
    ],
)
def test_an_input_without_a_name_is_refused(given: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse_space(given)


def test_every_input_that_may_be_picked_is_looked_for_before_a_study() -> None:
    option = {"or": ["relu", {"concat": [{"input": {"oneof": ["text", "sound"]}}]}]}
    network = parse_space({"concat": [option]}).network
    with pytest.raises(SpaceError, match="input: there is no input 'sound' among image"):
        check_picks(network, IN_SHAPE)
    check_picks(network, {**IN_SHAPE, "sound": (1,)})
    with pytest.raises(SpaceError, match=r"input: text picks .* data.in_shape is \[16\], of one"):
        check_picks(network, (16,))


def test_a_found_network_of_several_inputs_is_written_and_read_again() -> None:
    parsed = parse_space(BOTH)
    frozen = parsed.freeze(parsed.walk(lambda decision: 1))
    again = parse_space(written(frozen))
    assert again.freeze({}).text() == frozen.text()
    assert frozen.text() == (
        "fork[concat](input(image) → global_pool → flatten | input(text) → affine(units=6))"
    )


def test_the_picture_names_the_inputs_of_the_branches() -> None:
    svg = "{http://www.w3.org/2000/svg}"
    parsed = parse_space(BOTH)
    for space in (parsed, parsed.freeze(parsed.walk(lambda decision: 0))):
        root = ElementTree.fromstring(draw(space))
        texts = [node.text for node in root.iter(f"{svg}text")]
        assert texts[0] == "inputs"
        assert {"image", "text", "affine"} <= set(texts)
