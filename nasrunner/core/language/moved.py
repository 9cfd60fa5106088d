"""Former paths of our modules, which saved studies and users' own files still name."""

import importlib
from collections.abc import Mapping
from typing import Any

_ROOMS: Mapping[str, Mapping[str, str]] = {
    "nasrunner.searchers": {
        **dict.fromkeys(("random", "exhaustive", "mcts"), "sampling"),
        **dict.fromkeys(("evolution", "local_search"), "evolution"),
        **dict.fromkeys(("smbo", "acquisition", "candidates", "encoding", "forest"), "surrogates"),
        **dict.fromkeys(("gaussian_process", "ngrams"), "surrogates"),
        **dict.fromkeys(("policy_gradient", "objectives"), "policy"),
    },
}
"""Package -> a module that lay in it -> the room of the package that it lies in now."""

_MOVED: Mapping[str, str] = {
    **{
        f"{package}.{module}": f"{package}.{room}.{module}"
        for package, rooms in _ROOMS.items()
        for module, room in rooms.items()
    },
    **{
        f"nasrunner.children.{module}": f"nasrunner.children.{room}.{module}"
        for module, room in (
            ("tasks", "tasks"),
            ("reward", "tasks"),
            ("language_model", "tasks"),
            ("tabular", "tables"),
            ("cost", "tables"),
            ("schedulers", "settings"),
            ("checks", "rehearsal"),
            ("training", "fit"),
        )
    },
    "nasrunner.executors.dask_address": "nasrunner.executors.dask.address",
    "nasrunner.executors.dask_jobs": "nasrunner.executors.dask.jobs",
    "nasrunner.executors.slurm": "nasrunner.executors.slurm.executor",
    "nasrunner.trackers.mlflow": "nasrunner.trackers.mlflow.tracker",
    "nasrunner.searchers.tpe": "nasrunner.searchers.optuna",
    "nasrunner.spaces.language_model": "nasrunner.spaces.recurrent.language_model",
    "nasrunner.spaces.recurrent": "nasrunner.spaces.recurrent.layers",
    "nasrunner.spaces.recurrent_baselines": "nasrunner.spaces.recurrent.baselines",
    "nasrunner.spaces.recurrent_cell": "nasrunner.spaces.recurrent.cells",
}

_MOVED_CLASSES: Mapping[str, str] = {
    f"nasrunner.spaces.images.{name}": f"nasrunner.spaces.windows.pools.{name}"
    for name in ("MaxPool", "AveragePool", "GlobalPool")
}
"""Classes that left a module which still is: it imports them, as users import them from it."""


def present_module(name: str) -> str:
    """Returns the present dotted path of a module of ours; any other path as it is."""
    return _MOVED.get(name, name)


def class_in(package: str, name: str) -> Any:
    """Returns a class that users import from a package, from when the package was the module of its
    name.

    Raises:
        AttributeError: there is no such class.
    """
    if not name[:1].isupper():  # a module of the package
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MOVED[package]), name)


def present(target: str) -> str:
    """Returns the present dotted path of a class of ours; any other path as it is."""
    if target in _MOVED_CLASSES:
        return _MOVED_CLASSES[target]
    module, _, name = target.rpartition(".")
    return f"{_MOVED[module]}.{name}" if module in _MOVED else target


def with_present_targets(node: Any) -> Any:
    """Returns a configuration with ``present`` applied to each ``_target_`` and ``preload``."""
    if isinstance(node, list):
        return [with_present_targets(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    return {name: _at_present(str(name), value) for name, value in node.items()}


def _at_present(name: str, value: Any) -> Any:
    if name.rpartition(".")[2] == "_target_" and isinstance(value, str):
        return present(value)
    if name == "preload" and isinstance(value, list):  # an executor's: modules, not classes
        return [_MOVED.get(each, each) if isinstance(each, str) else each for each in value]
    return with_present_targets(value)
