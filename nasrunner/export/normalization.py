"""Finds out what the inputs of a network were normalized with."""

from typing import Any

from nasrunner.children.loading import load_data
from nasrunner.composition import construct
from nasrunner.core.errors import NasRunnerError
from nasrunner.export.source.standalone import Normalization
from nasrunner.export.trained import Trained


class UnknownNormalizationError(NasRunnerError):
    """A network's data set cannot be read, or does not say what it does to its inputs."""


def normalization_of(trained: Trained) -> Normalization:
    """The mean and standard deviation of the examples that a network was trained on.

    The data set is loaded as it was in training. Its module says them with ``normalization``, an
    object with ``mean`` and ``std`` of each channel or feature.

    Raises:
        UnknownNormalizationError: its files are missing or damaged, or the module does not say.
    """
    try:
        data: Any = load_data(
            trained.config["data"],
            None,
            trained.study.seed,
            construct,
            joins_validation=trained.joins_validation,
        )
    except (NasRunnerError, OSError) as error:
        raise UnknownNormalizationError(str(error)) from error
    found = getattr(data, "normalization", None)
    if found is None:
        raise UnknownNormalizationError(f"{type(data).__name__} has no attribute normalization")
    mean, std = (
        tuple(float(value) for value in getattr(found, name).reshape(-1))
        for name in ("mean", "std")
    )
    return Normalization(mean, std)
