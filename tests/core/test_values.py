"""Records are values: whoever holds one can rely on it."""

import dataclasses
import importlib
import pkgutil
from types import ModuleType

import nasrunner

STATE = {
    "Batch",  # rewards that arrive
    "Canvas",  # SVG elements as they are painted
    "FisherSum",  # what a backward pass adds up
    "EvaluationConfig",  # OmegaConf fills it
    "LimitsConfig",  # the same
    "StudyConfig",  # the same
    "Node",  # visits and rewards of MCTS
}
"""Dataclasses that change; every other one is frozen."""


def modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(nasrunner.__path__, "nasrunner.")]
    rooms = ("core", "searchers", "spaces", "children", "compose", "study", "recorded")
    return [importlib.import_module(name) for name in names if name.split(".")[1] in rooms]


def test_a_dataclass_is_frozen_unless_it_is_known_to_change() -> None:
    found = {
        value.__name__: value.__dataclass_params__.frozen
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value)
        if value.__module__.startswith("nasrunner.")
    }
    assert len(found) > 50
    assert {name for name, is_frozen in found.items() if not is_frozen} == STATE
