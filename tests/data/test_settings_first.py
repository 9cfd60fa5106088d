"""A data set's settings are checked before its files are looked for."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mnist", {"batch_size": 0}, r"data\.batch_size must be int >= 1, got 0"),
        *[
            (
                "mnist",
                {"validation_examples": wanted},
                rf"data\.validation_examples must be int >= 1 or float in \(0, 1\), got {wanted}$",
            )
            for wanted in (0, -1, 0.0, 1.0, 1.5, True, None)
        ],
        (
            "wine_quality",
            {"test_examples": 1.0},
            r"data\.test_examples must be .* float in \(0, 1\), got 1",
        ),
        ("wine_quality", {"colour": "rose"}, r"data\.colour must be one of red, white, both, got"),
        ("wine_quality", {"target": "price"}, r"data\.target must be one of class, quality, got"),
        (
            "wine_quality",
            {"equal_inputs": "no"},
            r"equal_inputs must be one of together, apart, got",
        ),
        ("mnist", {"folds": 1}, r"data\.folds must be int >= 2 or null, got 1"),
        ("mnist", {"fold": -1}, r"data\.fold must be int >= 0, got -1"),
        ("wine_quality", {"class_edges": [6, 5]}, r"data\.class_edges must be increasing numbers"),
        ("cifar10", {"pad": -1}, r"data\.pad must be int >= 0 or null, got -1"),
        ("cifar10", {"pad": 1.5}, r"data\.pad must be int >= 0 or null, got 1\.5"),
        ("ptb", {"train_tokens": 0}, r"data\.train_tokens must be int >= 1 or null, got 0"),
        (
            "ptb",
            {"validation_tokens": "all"},
            r"data\.validation_tokens must be int >= 1 or null, got 'all'",
        ),
        ("ptb", {"unit": "syllable"}, r"data\.unit must be one of word, character, got 'syllable'"),
    ],
)
def test_a_wrong_setting_is_told_where_the_files_are_missing_too(
    tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    shipped = OmegaConf.to_container(OmegaConf.load(f"conf/data/{name}.yaml"), resolve=True)
    assert isinstance(shipped, dict)
    with pytest.raises(ConfigError, match=message):
        construct({**shipped, "root": str(tmp_path), **changes}, "data")


@pytest.mark.parametrize(("name", "changes"), [("mnist", {}), ("cifar10", {"pad": 0})])
def test_the_edges_of_what_is_legal_are(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    shipped = OmegaConf.to_container(OmegaConf.load(f"conf/data/{name}.yaml"), resolve=True)
    assert isinstance(shipped, dict)
    for wanted in (1, 0.001, 0.999):
        made = {**shipped, "root": str(tmp_path), "validation_examples": wanted, **changes}
        assert construct(made, "data").validation_examples == wanted
