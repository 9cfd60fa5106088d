"""The torchmetrics classes that fit a task, known by their names in snake case."""

import functools
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nasrunner.core import ConfigError
from nasrunner.core.errors import suggest

if TYPE_CHECKING:  # torchmetrics takes seconds to import, which asking for a task's shapes saves
    from torchmetrics import Metric

Metrics = Mapping[str, Any]
"""Metrics by name: the arguments of a torchmetrics class, None without any, or a ``Metric``."""

_SIZES = ("num_classes", "num_labels", "num_outputs")
"""Arguments of torchmetrics classes that say how many outputs a network has."""


class MetricClasses(Mapping[str, "type[Metric]"]):
    """The metric classes of a torchmetrics module, imported once one is asked for.

    Args:
        module: dotted path of the module.
        prefix: what the names of the classes begin with; it is no part of the names here.
    """

    def __init__(self, module: str, prefix: str) -> None:
        self._module = module
        self._prefix = prefix

    @functools.cached_property
    def _found(self) -> "dict[str, type[Metric]]":
        module, prefix = importlib.import_module(self._module), self._prefix
        names = (name for name in module.__all__ if name.startswith(prefix))
        return {snake_case(name.removeprefix(prefix)): getattr(module, name) for name in names}

    def __getitem__(self, name: str) -> "type[Metric]":
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def snake_case(name: str) -> str:
    """Returns the name of a class as configurations write it: ``f1_score`` of ``F1Score``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def make_metric(
    name: str,
    given: Any,
    classes: "Mapping[str, type[Metric]]",
    num_outputs: int,
) -> "Metric":
    """Builds a metric from what ``task.metrics`` says of it.

    Args:
        name: what it is logged under, without ``val_``.
        given: its arguments, None without any, or the metric itself.
        classes: those that fit the task.
        num_outputs: of the network, which classes that ask for it are told.

    Raises:
        ConfigError: there is no such class, or it does not take the arguments.
    """
    from torchmetrics import Metric

    if isinstance(given, Metric):
        return given
    key = f"task.metrics.{name}"
    if not isinstance(given, Mapping | None):
        raise ConfigError(
            f"{key} must be a mapping of its arguments, {{}} without any; got {given!r}"
        )
    if name not in classes:
        raise ConfigError(f"{key}: there is no such metric, {suggest(name, classes)}")
    taken = inspect.signature(classes[name]).parameters
    sizes = [size for size in _SIZES if size in taken]
    if "num_outputs" in sizes and taken["num_outputs"].default is None:
        sizes.remove("num_outputs")  # it finds out by itself: R2Score of torchmetrics 1.5
    arguments = {size: num_outputs for size in sizes} | dict(given or {})
    try:
        return classes[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from error


def takes_probabilities(metric: "Metric") -> bool:
    """Tells whether a metric guesses of each batch whether it was given logits or probabilities.

    Those of ``torchmetrics.classification`` do: numbers that all lie in [0, 1] are probabilities.
    Logits may lie there, too, and are then taken for what they are not.
    """
    return type(metric).__module__.startswith("torchmetrics.classification.")
