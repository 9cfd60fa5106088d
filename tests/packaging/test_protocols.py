"""Experiments that carry a paper's name have its settings, or say in which they differ."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tests.sampling import one_in

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


@cache
def protocols() -> ModuleType:
    spec = importlib.util.spec_from_file_location("protocols", ROOT / "benchmarks/protocols.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["protocols"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


def test_every_experiment_has_a_protocol() -> None:
    assert sorted(protocols().PROTOCOLS) == EXPERIMENTS
    assert len(EXPERIMENTS) >= 10


@one_in(2, 0, "experiment", EXPERIMENTS)
def test_a_setting_is_the_papers_or_says_why_not(experiment: str) -> None:
    config = protocols().composed(experiment)
    for row in protocols().PROTOCOLS[experiment].rows:
        assert row.is_same(config) == (not row.differs), (row.setting, row.value(config))


@pytest.mark.parametrize(
    ("key", "value", "setting"),
    [
        ("batch_size", 128, "batch"),
        ("validation_examples", 5000, "validation images"),
    ],
)
def test_a_setting_that_went_astray_is_found(key: str, value: int, setting: str) -> None:
    config = protocols().composed("deeparchitect_cifar10")
    config["data"][key] = value
    rows = protocols().PROTOCOLS["deeparchitect_cifar10"].rows
    wrong = [row.setting for row in rows if row.is_same(config) != (not row.differs)]
    assert wrong == [setting]


def test_the_table_of_an_experiment_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    protocols().main(["deeparchitect_cifar10"])
    assert "| momentum of SGD | – | 0.99 | 0.99 | same |" in capsys.readouterr().out
