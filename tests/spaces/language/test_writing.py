"""A space, or a found architecture, is written in the space language, and read as the same one."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given

from nasrunner.core import SearchSpace, SpaceError
from nasrunner.spaces.language.parsing import parse_space
from nasrunner.spaces.language.writing import written
from tests.sampling import one_in
from tests.spaces.enumeration import draw
from tests.spaces.strategies import Config, modules
from tests.spaces.test_properties import relaxed, seeds
from tests.spaces.test_shipped import PATHS, load

HERE = "tests.spaces.language.test_parsing"


def through_yaml(frozen: SearchSpace, num_outputs: int | None = None) -> Any:
    return yaml.safe_load(yaml.safe_dump(written(frozen, num_outputs), sort_keys=False))


def check(space: SearchSpace, seed: int) -> None:
    frozen = space.freeze(draw(space, seed))
    again = parse_space(through_yaml(frozen))
    assert again == frozen
    assert again.text() == frozen.text()
    assert again.size() == 1


@relaxed
@given(modules)
def test_any_space_is_read_again(config: Config) -> None:
    space = parse_space(config)
    assert parse_space(through_yaml(space)) == space


@one_in(3, 0, "path", PATHS, ids=lambda path: path.stem)
def test_shipped_spaces_are_read_again(path: Path) -> None:
    space = load(path.stem)
    assert parse_space(through_yaml(space)) == space


@relaxed
@given(modules, seeds)
def test_any_frozen_space_is_read_again(config: Config, seed: int) -> None:
    check(parse_space(config), seed)


@one_in(3, 2, "path", PATHS, ids=lambda path: path.stem)
def test_architectures_of_shipped_spaces_are_read_again(path: Path) -> None:
    for seed in range(3):
        check(load(path.stem), seed)


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": f"{HERE}.Scaled", "units": {"oneof": [4, 6]}},
        {"_target_": f"{HERE}.Sandwich", "top": "relu", "bottom": {"affine": {"units": 3}}},
        {"hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.2]}}, "affine": {"units": 3}},
        {"hyperparameters": {"optimizer": {"oneof": [{"_target_": "SGD", "lr": 1}]}}, "relu": None},
    ],
)
def test_users_modules_and_training_settings_are_read_again(config: Any) -> None:
    check(parse_space(config), seed=0)


def test_it_reads_like_a_hand_written_space() -> None:
    units = {"affine": {"units": {"oneof": [8, 16]}}}
    space = parse_space(
        {
            "hyperparameters": {"optimizer.lr": {"oneof": [0.1, 0.2]}},
            "concat": [
                {"skip_layers": {"times": 2, "layer": units}},
                {"optional": "relu"},
                {"affine": {"units": 10}},
                {"affine": {"units": 10}},
            ],
        }
    )
    found = through_yaml(space.freeze(space.walk(lambda decision: 1)), num_outputs=10)
    layer = {"affine": {"units": 16}}
    assert found == {
        "hyperparameters": {"optimizer.lr": 0.2},
        "concat": [
            {"skip_graph": {"layers": [layer, layer], "inputs": [[], [1]]}},
            "relu",
            {"affine": {"units": 10}},
            {"affine": {"units": "${data.num_outputs}"}},
        ],
    }


def test_an_argument_that_yaml_cannot_hold_is_told() -> None:
    space = parse_space({"_target_": f"{HERE}.Scaled", "units": 4})
    network = space.network
    object.__setattr__(network, "arguments", (("units", object()),))
    with pytest.raises(SpaceError, match="units cannot be written as YAML: <object"):
        written(space)


@pytest.mark.parametrize("count", [0, 2, 4, 5])
def test_a_graph_needs_the_edges_of_a_whole_cell(count: int) -> None:
    with pytest.raises(SpaceError, match=rf"edges of graph must be .* got {count}"):
        parse_space({"graph": {"edges": ["relu"] * count}})
