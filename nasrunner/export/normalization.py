"""Finds out what the inputs of a network were normalized with."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nasrunner.core.errors import NasRunnerError
from nasrunner.data.own.columns import Column
from nasrunner.data.own.reading import Reading
from nasrunner.export.source.standalone import InputNormalization
from nasrunner.export.trained import Trained


class UnknownNormalizationError(NasRunnerError):
    """A network's data set cannot be read, or does not say what it does to its inputs."""


def normalization_of(trained: Trained, reading: Reading | None = None) -> InputNormalization:
    """Returns the mean and standard deviation of the examples that a network was trained on.

    Own files have said them when it was trained; any other data set is loaded as it was in
    training. Its module says them with ``normalization``, an object with ``mean`` and ``std`` of
    each channel or feature. Tables say what their features are, too.

    Args:
        trained: the network, of one input of numbers.
        reading: what was kept of its data set beside its weights; None: nothing.

    Raises:
        UnknownNormalizationError: its files are missing or damaged, or the module does not say.
    """
    if reading is not None:
        known = InputNormalization(tuple(reading.mean), tuple(reading.std))
        return replace(known, features=_features(reading.columns))
    try:
        data: Any = trained.load_data()
    except (NasRunnerError, OSError) as error:
        raise UnknownNormalizationError(str(error)) from error
    found = getattr(data, "normalization", None)
    if found is None:
        raise UnknownNormalizationError(f"{type(data).__name__} has no attribute normalization")
    known = _read(found, type(data).__name__, trained.shape[0])
    columns = getattr(getattr(data, "reading", None), "columns", ())
    return replace(known, features=_features(columns))


def _features(columns: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(name for each in columns for name in Column.from_json(each).features)


def _read(found: Any, owner: str, num_channels: int) -> InputNormalization:
    """The numbers of an object with ``mean`` and ``std``: arrays, tensors, lists or tuples.

    Raises:
        UnknownNormalizationError: it has not both, or not one for each channel or feature.
    """
    try:
        mean, std = (
            tuple(np.asarray(getattr(found, name), dtype=float).reshape(-1).tolist())
            for name in ("mean", "std")
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise UnknownNormalizationError(
            f"normalization of {owner} must have numbers mean and std, got {found!r}"
        ) from error
    if not len(mean) == len(std) == num_channels:
        raise UnknownNormalizationError(
            f"normalization of {owner} must have a mean and a std for each of the {num_channels} "
            f"channels or features, got {len(mean)} and {len(std)}"
        )
    return InputNormalization(mean, std)
