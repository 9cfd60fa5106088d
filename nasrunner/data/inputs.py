"""The inputs of a data set as arrays: of one kind, or of several by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nasrunner.core.errors import ConfigError, DataError
from nasrunner.core.shapes import as_in_shape, each_input
from nasrunner.data.loader import Inputs
from nasrunner.data.normalize import Normalization

# N = number of examples, ... = the shape of one example

InputArrays = np.ndarray | Mapping[str, np.ndarray]
"""(N, ...), or such arrays by name."""

_CHUNK = 1024
"""Images resized at a time."""


def as_array(values: Any) -> np.ndarray:
    """Returns an array of what is as good as one: a tensor, or lists."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def rows_of(x: InputArrays, rows_N: np.ndarray) -> InputArrays:
    """Returns some of the examples."""
    found: InputArrays = each_input(x, lambda each: each[rows_N])
    return found


def at_resolution(x: InputArrays, resolution: int | None) -> InputArrays:
    """Returns images (N, C, H, W) with so many rows and columns, as float32: means of the pixels'
    areas.

    Args:
        x: the images.
        resolution: rows and columns, at most H and W; None: they stay as they are.
    """
    if resolution is None or isinstance(x, Mapping):
        return x
    resized = np.empty((*x.shape[:2], resolution, resolution), np.float32)
    for start in range(0, len(x), _CHUNK):
        images = torch.from_numpy(x[start : start + _CHUNK].astype(np.float32))
        found = torch.nn.functional.interpolate(images, (resolution, resolution), mode="area")
        resized[start : start + _CHUNK] = found.numpy()
    return resized


def count_examples(x: InputArrays, name: str) -> int:
    """Returns how many examples there are.

    Args:
        x: their inputs.
        name: of the data set, for error messages.

    Raises:
        DataError: there are not as many of each input.
    """
    if not isinstance(x, Mapping):
        return len(x)
    counts = {label: len(each) for label, each in x.items()}
    if len(set(counts.values())) != 1:
        told = ", ".join(f"{count} of {label}" for label, count in counts.items())
        raise DataError(f"{name} must read as many examples of each input, got {told or 'none'}")
    return next(iter(counts.values()))


def check_shapes(
    x: InputArrays, in_shape: Sequence[int] | Mapping[str, Sequence[int]], name: str
) -> None:
    """Refuses arrays that are no examples of ``in_shape``.

    Args:
        x: inputs.
        in_shape: as of ``data.in_shape``.
        name: of the data set, for error messages.

    Raises:
        DataError: says what ``data.in_shape`` must be.
    """
    found = each_input(x, lambda each: list(each.shape[1:]))
    if as_in_shape(found) != as_in_shape(in_shape):
        raise DataError(
            f"data.in_shape must be {found}, the shape of an example of {name}, got "
            f"{each_input(in_shape, list)}"
        )


def check_resolution(
    resolution: float, in_shape: Sequence[int] | Mapping[str, Sequence[int]]
) -> None:
    """Refuses to resize what are no images, or images that would grow.

    Args:
        resolution: rows and columns.
        in_shape: of the images as they are read.

    Raises:
        ConfigError: says what is legal.
    """
    shape = as_in_shape(in_shape)
    if not isinstance(shape, tuple) or len(shape) != 3:
        raise ConfigError(
            "data.resolution resizes images, (channels, height, width), but data.in_shape is "
            f"{each_input(in_shape, list)}"
        )
    if not 1 <= resolution <= min(shape[1:]):
        raise ConfigError(
            f"data.resolution must be from 1 to {min(shape[1:])}, the pixels of an image's side, "
            f"got {resolution:g}"
        )


@dataclass(frozen=True)
class Preparation:
    """Makes tensors of inputs.

    Attributes:
        normalization: of the inputs; of several a normalization by name, where they are numbers:
            tokens (``int64`` in ``data.in_dtype``) stay as they are. None: they are tokens.
    """

    normalization: Normalization | Mapping[str, Normalization] | None

    @classmethod
    def of(cls, x: InputArrays, in_dtype: Any, name: str) -> "Preparation":
        """With the statistics of these examples.

        Args:
            x: the examples that are trained on.
            in_dtype: as of ``data.in_dtype``.
            name: of the data set, for error messages.

        Raises:
            DataError: numbers are not finite, or tokens no whole numbers.
        """
        if not isinstance(x, Mapping):
            if in_dtype != "int64":
                return cls(Normalization.of(x))
            check_tokens(x, "data.in_dtype", name)
            return cls(None)
        found = {}
        for label, each in x.items():
            if not _are_tokens(label, in_dtype):
                found[label] = Normalization.of(each)
            else:
                check_tokens(each, f"data.in_dtype.{label}", name)
        return cls(found)

    def apply(self, x: InputArrays, device: torch.device) -> Inputs:
        """Tensors on a device, normalized as float32 or as they are."""
        if not isinstance(x, Mapping):
            assert not isinstance(self.normalization, Mapping)
            return _applied(self.normalization, x).to(device)
        assert isinstance(self.normalization, Mapping)
        of_each = self.normalization
        return {name: _applied(of_each.get(name), each).to(device) for name, each in x.items()}


def _applied(normalization: Normalization | None, x: np.ndarray) -> torch.Tensor:
    if normalization is not None:
        return normalization.apply(x)
    return torch.from_numpy(x.astype(np.int64))


def check_tokens(x: np.ndarray, key: str, name: str) -> None:
    """Refuses what cannot be tokens.

    Args:
        x: (N, ...).
        key: the setting that says that they are, for error messages.
        name: of what was read, likewise.

    Raises:
        DataError: they are no whole numbers, or some are negative.
    """
    if x.dtype.kind not in "iu":
        raise DataError(f"{key}=int64 needs whole numbers, which {name} does not read: {x.dtype}")
    if x.size and x.min() < 0:
        raise DataError(f"{key}=int64 needs tokens from 0 on, but {name} has {x.min()}")


def _are_tokens(label: str, in_dtype: Any) -> bool:
    return isinstance(in_dtype, Mapping) and in_dtype.get(label) == "int64"
