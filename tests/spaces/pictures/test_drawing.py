import functools
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.core import SearchSpace, Space
from nasrunner.spaces import (
    Affine,
    BatchNorm,
    Concat,
    Conv1d,
    Conv2d,
    DilatedConv1d,
    Dropout,
    Empty,
    Fork,
    GruCell,
    RecurrentEncoder,
    Relu,
    RepeatTied,
    Residual,
    SeparableConv1d,
)
from nasrunner.spaces.external import External
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.pictures.drawing import draw
from tests.sampling import one_in

SVG = "{http://www.w3.org/2000/svg}"
SPACES = sorted(Path("conf/space").glob("*.yaml"))


@dataclass(frozen=True)
class Cell(Space):
    """A user's own module with submodules, of which the drawing knows nothing."""

    width: int
    stem: Space
    operations: tuple[Space, ...]

    def make(self, in_shape):
        raise NotImplementedError


def texts(space):
    """What can be read in the picture, in the order it is painted."""
    return [node.text for node in ElementTree.fromstring(draw(space)).iter(f"{SVG}text")]


@functools.cache
def shipped(path):
    with initialize_config_dir(str(path.parents[1].resolve()), version_base="1.3"):
        config = compose(overrides=[f"+space={path.stem}", "+data={num_outputs: 10}"])
    return parse_space(OmegaConf.to_container(config.space, resolve=True))


def sample(space, seed):
    rng = np.random.default_rng(seed)
    return space.freeze(space.walk(lambda decision: int(rng.integers(len(decision.options)))))


def test_modules_are_drawn_from_input_to_output_with_their_arguments():
    network = Concat((Conv2d(8, 3), Relu(), Affine(10)))
    assert texts(network) == [
        "input",
        "conv2d",
        "filters=8, kernel_size=3",
        "relu",
        "affine",
        "units=10",
        "output",
    ]


def test_an_empty_module_leaves_no_trace():
    assert draw(Concat((Empty(), Relu()))).replace("empty → ", "") == draw(Relu())


def test_colours_tell_families_apart_and_subclasses_keep_theirs():
    @dataclass(frozen=True)
    class MyConv(Conv2d):
        pass

    def edge(space):
        boxes = ElementTree.fromstring(draw(space)).findall(f".//{SVG}rect[@stroke]")
        return boxes[1].get("stroke")  # the first is the input's

    assert edge(Conv2d(1, 1)) == edge(MyConv(1, 1)) == edge(External(torch.nn.Conv2d)) == "#0072B2"
    assert edge(Relu()) == edge(External(torch.nn.PReLU)) == "#009E73"
    assert len({edge(s) for s in (Conv2d(1, 1), Relu(), Affine(1), BatchNorm(), Dropout(0.1))}) == 5
    assert edge(External(torch.nn.Transformer)) == edge(Cell(1, Empty(), ())) == "#666666"


def test_modules_of_signals_look_like_those_of_images():
    def edge(space):
        boxes = ElementTree.fromstring(draw(space)).findall(f".//{SVG}rect[@stroke]")
        return boxes[1].get("stroke")

    of_signals = Conv1d(1, 1), SeparableConv1d(1, 1), DilatedConv1d(1)
    assert {edge(space) for space in of_signals} == {edge(Conv2d(1, 1))}
    encoder = Concat((Conv1d(8, 3), RecurrentEncoder(GruCell(), units=4, output="mean")))
    shown = ["conv1d", "filters=8, kernel_size=3"]
    assert texts(encoder)[1:3] == shown
    assert "recurrent_encoder, units=4, output=mean" in texts(encoder)
    assert "gru_cell" in texts(encoder)


def test_thirty_two_tied_repetitions_are_one_frame():
    body = Concat((Conv2d(8, 3), Relu()))
    repeated = RepeatTied(32, body).freeze({})
    assert texts(Concat((repeated, Affine(3)))).count("conv2d") == 1
    assert "×32" in texts(repeated)


def test_a_repeated_sequence_is_folded_also_where_it_is_not_nested():
    network = Concat((Affine(8), Relu(), Affine(8), Relu(), Affine(8), Relu(), Affine(2)))
    assert texts(network)[1:-1] == ["affine", "units=8", "relu", "×3", "affine", "units=2"]


def test_blocks_that_differ_in_an_argument_are_not_folded():
    network = Concat((Affine(8), Relu(), Affine(9), Relu()))
    assert not any(text.startswith("×") for text in texts(network))


def test_a_residual_adds_and_a_fork_names_its_merge():
    assert texts(Residual(Relu()))[1:-1] == ["relu", "+"]
    merges = {"add": "+", "multiply": "×", "concat": "concat"}
    for merge, sign in merges.items():
        assert texts(Fork((Relu(), Affine(2), Empty()), merge))[-2] == sign


def test_branches_stand_side_by_side_without_touching():
    svg = draw(Fork((Conv2d(16, 3), Residual(Conv2d(8, 5)), Affine(3)), "add"))
    boxes = [
        (float(box.get("x")), float(box.get("x")) + float(box.get("width")))
        for box in ElementTree.fromstring(svg).findall(f".//{SVG}rect[@stroke-width]")
        if box.get("rx") == "6"
    ]
    assert len(boxes) == 3
    for (_, end), (start, _) in zip(sorted(boxes), sorted(boxes)[1:], strict=False):
        assert end < start


def test_a_module_of_the_users_own_frames_its_submodules():
    shown = texts(Cell(7, Affine(3), (Relu(), Dropout(0.1))))
    assert "cell, width=7" in shown
    assert {"affine", "relu", "dropout"} <= set(shown)


def test_open_decisions_show_their_options():
    space = parse_space({"affine": {"units": {"oneof": [8, 16]}}})
    assert "units={8, 16}" in texts(space)


def test_open_alternatives_stand_side_by_side():
    space = parse_space({"concat": [{"or": ["relu", "tanh"]}, {"optional": "sigmoid"}]})
    painted = list(ElementTree.fromstring(draw(space)).iter(f"{SVG}text"))
    assert [node.text for node in painted] == [
        *("input", "relu", "tanh", "or", "sigmoid", "or", "output"),
    ]
    _, relu, tanh, *_ = painted
    assert relu.get("y") == tanh.get("y")
    assert float(relu.get("x")) < float(tanh.get("x"))


def test_hyperparameters_stand_below_the_network():
    assert texts(SearchSpace((("optimizer.lr", 0.01),), Relu()))[-1] == "optimizer.lr = 0.01"


def test_text_is_escaped():
    space = SearchSpace((("a<b&'\"", "]]>"),), External(torch.nn.ReLU, (("<x>", "&amp;"),)))
    assert "<x>=&amp;" in texts(space)
    assert "a<b&'\" = ]]>" in texts(space)


@one_in(3, 1, "path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_is_drawn_inside_its_frame(path):
    space = shipped(path)
    for seed in range(20):
        svg = draw(sample(space, seed))
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert root.find(f"{SVG}title").text
        background = root.find(f"{SVG}rect")
        assert background.get("fill") == "#FFFFFF"
        width, height = float(root.get("width")), float(root.get("height"))
        for box in root.findall(f".//{SVG}g/{SVG}rect"):
            left, top = float(box.get("x")), float(box.get("y"))
            assert left >= 0
            assert left + float(box.get("width")) <= width
            assert top >= 0
            assert top + float(box.get("height")) <= height
        numbers = [float(n) for n in re.findall(r'(?<=[ "])-?\d+\.\d+', svg)]
        assert all(math.isfinite(n) for n in numbers)


def test_shipped_spaces_were_found():
    assert len(SPACES) >= 4


def test_the_same_architecture_is_the_same_picture_in_another_process():
    space = sample(shipped(SPACES[-1]), 3)
    code = (
        "import sys; sys.path.insert(0, 'tests/spaces/pictures');"
        "from test_drawing import *; print(draw(sample(shipped(SPACES[-1]), 3)), end='')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert other.stdout == draw(space)
