"""New examples, as they are given to a network piece by piece."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from nasrunner.core.errors import DataError
from nasrunner.data.inputs import InputArrays, as_array
from nasrunner.data.own.tables import targets_of

NUM_ROWS = 1 << 16
"""Rows of a table in a piece."""


@dataclass(frozen=True)
class Piece:
    """Some of the new examples.

    Attributes:
        x: inputs as arrays, not normalized.
        y: targets as they stand in the data, (N,) or (N, K); missing ones are None or NaN; None if
            there are no targets.
        where: where they stand, for error messages.
        files: of images; None: they are no files.
        index: of the rows of a DataFrame; None: they are of none.
    """

    x: InputArrays
    y: np.ndarray | None
    where: str
    files: tuple[str, ...] | None = None
    index: pd.Index | None = None


class NewExamples(ABC):
    """Reads new examples as those of training were read."""

    @abstractmethod
    def of_path(self, path: Path) -> Iterator[Piece]:
        """Yields the examples of a file or a folder, in their order.

        Raises:
            DataError: they are not such as those of training.
        """

    @abstractmethod
    def of_values(self, x: Any, y: np.ndarray | None) -> Iterator[Piece]:
        """Yields examples that are in memory.

        Raises:
            DataError: likewise.
        """

    def of(self, x: Any, y: Any = None) -> Iterator[Piece]:
        """Yields the examples of a path, or those that are in memory.

        Raises:
            DataError: they are not such as those of training, or there is no file.
        """
        if not isinstance(x, str | Path):
            yield from self.of_values(x, None if y is None else _targets(y))
            return
        if y is not None:
            raise DataError(f"y goes with inputs in memory; {x} has its targets itself, or none")
        if not Path(x).exists():
            raise DataError(f"{x}: there is no such file")
        yield from self.of_path(Path(x))


def array_of(values: Any, name: str) -> np.ndarray:
    """Returns an array of what a caller has in memory: an array, a tensor on any device, or lists.

    Args:
        values: (N, ...).
        name: what they are called, for error messages.

    Raises:
        DataError: they make no array, as lists of different lengths.
    """
    if isinstance(values, torch.Tensor) and values.dtype is torch.bfloat16:
        values = values.float()  # numpy has no such numbers
    try:
        return as_array(values)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise DataError(
            f"{name} is {type(values).__name__} and makes no array: {reason}; legal are arrays, "
            "tensors, and lists of equal lengths"
        ) from error


def _targets(y: Any) -> np.ndarray:
    """Targets in memory, as those of a file: (N,) or (N, ...)."""
    if isinstance(y, pd.Series):
        y = y.to_frame()
    found = targets_of(y) if isinstance(y, pd.DataFrame) else array_of(y, "y")
    if found.ndim == 0:
        raise DataError(f"y is {type(y).__name__}; legal are targets (N,) or (N, K)")
    if found.ndim == 1 and found.dtype.kind == "M":
        return targets_of(pd.DataFrame({"y": found}))
    if found.dtype.kind == "U" and isinstance(y, Sequence):  # NaN among texts has become one
        return np.asarray(y, dtype=object)
    return found
