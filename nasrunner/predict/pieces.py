"""New examples, as they are given to a network piece by piece."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.core.errors import DataError
from nasrunner.data.inputs import InputArrays

NUM_ROWS = 1 << 16
"""Rows of a table in a piece."""


@dataclass(frozen=True)
class Piece:
    """Some of the new examples.

    Attributes:
        x: inputs as arrays, not normalized.
        y: targets as they stand in the data, (N,) or (N, K), with None or NaN where one is missing;
            None: there are none.
        where: where they stand, for error messages.
        files: of images; None: they are no files.
    """

    x: InputArrays
    y: np.ndarray | None
    where: str
    files: tuple[str, ...] | None = None


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
            yield from self.of_values(x, None if y is None else np.asarray(y))
            return
        if y is not None:
            raise DataError(f"y goes with inputs in memory; {x} has its targets itself, or none")
        if not Path(x).exists():
            raise DataError(f"{x}: there is no such file")
        yield from self.of_path(Path(x))
