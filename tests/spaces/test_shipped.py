"""The spaces in conf/space: their exact sizes, and that what they describe can be built."""

import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nasrunner.core import SearchSpace
from nasrunner.spaces.language.parsing import parse_space
from tests.sampling import one_in
from tests.spaces.enumeration import draw, enumerate_genotypes

FOLDER = Path(__file__).parents[2] / "conf" / "space"
PATHS = sorted(FOLDER.glob("*.yaml"))
IN_SHAPE = (3, 32, 32)
OF_TOKENS = ("darts_rnn", "enas_cell", "nasrl_cell", "nasrl_cell_small", "rnn_baselines")
"""Spaces of networks that take a sequence of tokens, and have an output for each of them."""

OF_TEXTS = ("text_classifier",)
"""Spaces of networks that take a sequence of tokens, and have an output for all of it."""

OF_PIXELS = ("segmentation",)
"""Spaces of networks that have an output for each pixel."""


def out_shape_of(name: str, in_shape: tuple[int, ...]) -> tuple[int, ...]:
    """What comes out of a space's networks with ten outputs."""
    if name in OF_TOKENS:
        return (*in_shape, 10)
    return (10, *in_shape[1:]) if name in OF_PIXELS else (10,)


OF_SIGNALS = ("signals",)
"""Spaces of networks that take (channels, time)."""

SIGNAL_SHAPE = (2, 20)


HEAVY = ("cnn_baselines", "darts_cnn", "enas_macro", "enas_micro", "nasnet", "pnas")
"""Spaces of networks of dozens of convolutions, which take seconds to build and compute."""


@functools.cache
def load(name: str) -> SearchSpace:
    with initialize_config_dir(str(FOLDER.parent), version_base="1.3"):
        config = compose(overrides=[f"+space={name}", "+data={num_outputs: 10}"])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return parse_space(plain["space"])


def test_there_are_spaces() -> None:
    assert {path.stem for path in PATHS} >= {"figure1", "deepconv", "mlp", "small_cnn"}


@one_in(
    3,
    0,
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in HEAVY else [])
        for path in PATHS
    ],
)
def test_sampled_children_build_and_compute_what_they_promise(path: Path) -> None:
    space = load(path.stem)
    assert space.size() > 0
    assert space.text()
    takes_tokens = path.stem in (*OF_TOKENS, *OF_TEXTS)
    in_shape = SIGNAL_SHAPE if path.stem in OF_SIGNALS else IN_SHAPE
    in_shape = (5,) if takes_tokens else in_shape
    out_shape = out_shape_of(path.stem, in_shape)
    for seed in range(10):
        frozen = space.freeze(draw(space, seed))
        with torch.device("meta"):
            network, shape = frozen.build(in_shape)
            assert shape == out_shape
            x = torch.empty(2, *in_shape, dtype=torch.long if takes_tokens else None)
            assert network(x).shape == (2, *out_shape)
        assert frozen.text() != space.text()


def test_figure_1_has_24_architectures() -> None:
    space = load("figure1")
    assert space.size() == 24
    assert len({str(space.freeze(genotype)) for genotype in enumerate_genotypes(space)}) == 24


def test_deeparchitects_section_7_has_60466176_architectures() -> None:
    assert load("deepconv").size() == 60_466_176


def test_mlpnas_has_29_to_the_9_minus_1_architectures() -> None:
    assert load("mlp").size() == 29**9 - 1


def test_nasbench_macro_has_6561_architectures() -> None:
    assert load("nasbench_macro").size() == 6_561


def test_deepconv_with_hyperparameters_has_4096_times_as_many() -> None:
    space = load("deepconv_hyperparameters")
    assert space.size() == 60_466_176 * 4_096
    options = [value for key, value in space.signature().items() if key.startswith("hyperp")]
    assert math.prod(map(len, options)) == 4_096
