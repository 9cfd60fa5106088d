"""What is given in Python becomes the very overrides and options that a command line has."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from nasrunner.api.overrides import hydra_value, overrides_of
from nasrunner.core import ConfigError
from nasrunner.core.decision import OneOf
from nasrunner.spaces import Affine, Concat

VALUES: list[Any] = [
    None,
    True,
    3,
    -0.5,
    1e-8,
    float("inf"),
    "",
    "plain",
    "null",
    "3",
    "with spaces, commas: and {brackets} [too]",
    'it\'s "quoted" \\ and a back\\slash\\',
    "${oc.env:HOME} it's",
    [1, [2, "x"], {"a": None}],
    {"val_accuracy": "max", "flops": {"goal": "min", "limit": 1e6}},
    {},
    [],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_hydra_reads_a_value_as_it_was_given(value: Any) -> None:
    text = f"key={hydra_value('key', value)}"
    assert OverridesParser.create().parse_override(text).value() == value


def test_numbers_of_numpy_and_tuples_are_plain() -> None:
    given = {"lr": np.float64(0.5), "sizes": (np.int64(3), 4)}
    assert hydra_value("key", given) == "{'lr':0.5,'sizes':[3,4]}".replace("'", "")


@pytest.mark.parametrize(
    ("settings", "overrides"),
    [
        ({"space": "mlp", "max_children": 3}, ["space=mlp", "max_children=3"]),
        ({"trainer": {"max_epochs": 2}}, ["++trainer.max_epochs=2"]),
        ({"trainer.max_epochs": 2}, ["++trainer.max_epochs=2"]),
        ({"limits": {"flops": 10}}, ["limits.flops=10"]),
        ({"objectives": {"a": "max"}}, ["objectives={a:'max'}"]),
        ({"optimizer": {"lr": {"oneof": [1, 2]}}}, ["++optimizer.lr={oneof:[1,2]}"]),
        ({"searcher": "asha", "trainer": "lightning"}, ["searcher=asha", "trainer=lightning"]),
        ({"baseline": None}, ["++baseline=null"]),
    ],
    ids=str,
)
def test_settings_are_overrides(
    settings: dict[str, Any], overrides: list[str], tmp_path: Path
) -> None:
    assert list(overrides_of(settings, tmp_path / "none")) == overrides


OWN: dict[str, Any] = {"concat": [{"affine": {"units": {"oneof": [8, 16]}}}, "relu"]}


@pytest.mark.parametrize(
    "space",
    [
        OWN,
        yaml.safe_dump(OWN),
        Concat((Affine(OneOf((8, 16))), "relu")),
    ],
    ids=["mapping", "text", "object"],
)
def test_an_option_of_ones_own_is_a_file(space: Any, tmp_path: Path) -> None:
    if isinstance(space, Concat):
        from nasrunner.spaces.language.parsing import parse_space

        space = parse_space(OWN)
    chosen, path = overrides_of({"space": space}, tmp_path)
    assert chosen == "space=own"
    assert path == f"hydra.searchpath=['file://{tmp_path}']"
    assert yaml.safe_load((tmp_path / "space" / "own.yaml").read_text()) == OWN


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": 3}, "space must be the name of an option, a mapping, .*got 3"),
        ({"space": "concat: [relu"}, "space is no YAML"),
        ({"data": [1]}, r"data must be the name of an option.*got \[1\]"),
        ({"optimizer": {"lr": {1, 2}}}, r"optimizer.lr must be a number, text, list or mapping"),
        ({"objectives": {"a b": "max"}}, "objectives: 'a b' is no name"),
        ({"resume": "outputs/x"}, r"resume is no argument of nasrunner.search: nasrunner.resume"),
    ],
    ids=str,
)
def test_what_cannot_be_written_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        list(overrides_of(settings, tmp_path))


def test_a_class_of_a_notebook_is_refused(tmp_path: Path) -> None:
    own = type("Own", (), {"__module__": "__main__"})
    with pytest.raises(ConfigError, match="Own is defined where no worker can import it"):
        list(overrides_of({"data": {"_target_": own}}, tmp_path))
