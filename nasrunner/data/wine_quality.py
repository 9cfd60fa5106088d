"""Wine Quality: physico-chemical measurements of 6,497 Portuguese wines and tasters' marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nasrunner.core.errors import ConfigError
from nasrunner.data.files import DataFile
from nasrunner.data.split import Examples, count_of, hold_out
from nasrunner.data.tensors import Arrays, TensorDataModule

# N = number of examples, F = features

SOURCE = "https://archive.ics.uci.edu/dataset/186/wine+quality"
ROWS = {"red": 1599, "white": 4898}
MD5 = {"red": "2daeecee174368f8a33b82c8cccae3a5", "white": "5d9ff0f7f716dace19e3ab4578775fd7"}
HEADER = (
    '"fixed acidity";"volatile acidity";"citric acid";"residual sugar";"chlorides";'
    '"free sulfur dioxide";"total sulfur dioxide";"density";"pH";"sulphates";"alcohol";"quality"'
)


@dataclass(frozen=True)
class WineFile(DataFile):
    """One colour's CSV file: a header, then 11 measurements and the quality a row."""

    num_rows: int

    def parse(self, content: bytes) -> np.ndarray:
        header, *lines = content.decode("latin-1").splitlines() or [""]
        if header != HEADER:
            raise ValueError(f"its header must be {HEADER}, got {header!r}")
        if len(lines) != self.num_rows:
            raise ValueError(f"it must have {self.num_rows:,} rows, got {len(lines):,}")
        return np.loadtxt(lines, delimiter=";", ndmin=2)


@dataclass(kw_only=True, eq=False)
class WineQuality(TensorDataModule):
    """Quality of red and white vinho verde, as a class or as a number.

    Cortez et al. 2009, Decision Support Systems 47(4): the median mark, 3 to 9, of at least three
    tasters, and 11 measurements of each wine. The data set has no split of its own: the test
    examples are held out so that each mark keeps its share. Of the 6,497 rows 1,177 repeat the
    measurements of others, each with the same mark; ``equal_inputs`` says whether these may
    stand in training and in what is measured after it.

    Args:
        root: folder of ``winequality-red.csv`` and ``winequality-white.csv``.
        colour: ``red`` or ``white``: 11 inputs; ``both``: 12, the last one is 1 for white.
        target: ``class``: the class that ``class_edges`` puts the quality in; ``quality``: the
            quality itself, a float target of shape (B, 1) for regression.
        class_edges: highest quality of every class but the last, increasing: [5, 6] makes the
            three classes <= 5, 6 and >= 7. None where the target is the quality.
        test_examples: how many are held out for the test, or their share.
    """

    root: str
    colour: Literal["red", "white", "both"]
    target: Literal["class", "quality"]
    class_edges: Sequence[int] | None
    test_examples: Examples

    def __post_init__(self) -> None:
        super().__post_init__()
        edges = self.class_edges
        if self.target == "class" and (not edges or list(edges) != sorted(set(edges))):
            raise ConfigError(f"data.class_edges must be increasing numbers, got {edges}")

    def files(self) -> list[WineFile]:
        return [
            WineFile(Path(self.root) / f"winequality-{name}.csv", MD5[name], SOURCE, ROWS[name])
            for name in self._colours()
        ]

    def read_fit(self) -> Arrays:
        return self._read()[0]

    def read_test(self) -> Arrays:
        return self._read()[1]

    def _colours(self) -> tuple[str, ...]:
        return ("red", "white") if self.colour == "both" else (self.colour,)

    def _read(self) -> tuple[Arrays, Arrays]:
        tables = [file.load() for file in self.files()]
        table = np.concatenate(tables)
        x_NF, quality_N = table[:, :-1], table[:, -1].astype(np.int64)
        if self.colour == "both":
            is_white_N = np.repeat([0.0, 1.0], [len(each) for each in tables])
            x_NF = np.column_stack([x_NF, is_white_N])
        if self.target == "class":
            assert self.class_edges is not None
            y = np.digitize(quality_N, self.class_edges, right=True)
        else:
            y = quality_N[:, None].astype(np.float32)
        num_test = count_of("test_examples", self.test_examples, len(table))
        rows, test_rows = hold_out(quality_N, num_test, self.split_seed, self.groups_of(x_NF))
        return (x_NF[rows], y[rows]), (x_NF[test_rows], y[test_rows])
