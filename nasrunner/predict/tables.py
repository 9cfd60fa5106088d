"""New rows of a table, whose columns must be those of training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from nasrunner.core.errors import DataError, suggest_among
from nasrunner.data.own.columns import Column, encoded, is_numeric, labels_of
from nasrunner.data.own.reading import Label
from nasrunner.data.own.tables import CsvFile, TableFile, target_values
from nasrunner.predict.pieces import NUM_ROWS, NewExamples, Piece
from nasrunner.predict.prediction import listed

Unknown = Literal["error", "ignore"]
"""What becomes of a category that training never had, or of a value that is missing where none was
missing there; the words are those of scikit-learn's ``OneHotEncoder``."""

_FORMS = {True: (".csv", ".csv.gz", ".tsv", ".txt"), False: (".parquet", ".pq")}
"""What names of files end in, by whether training read CSV."""


@dataclass(frozen=True)
class NewRows(NewExamples):
    """Rows with the columns of training, in any order; others are left out.

    Attributes:
        table: the data set of training, whose settings say how a file is read.
        columns: how columns become features.
        targets: columns that are no inputs: where all of them are there, predictions are measured.
        classes: of the target; None: it is of numbers.
        unknown: ``error``: such a value is refused; ``ignore``: a category is none of those that
            are known, and a number the mean of training, as in a study's own validation.
    """

    table: TableFile
    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    classes: tuple[Label, ...] | None
    unknown: Unknown

    def of_path(self, path: Path) -> Iterator[Piece]:
        forms = _FORMS[isinstance(self.table, CsvFile)]
        if path.is_dir() or not path.name.lower().endswith(forms):
            raise DataError(
                f"{path}: the network was trained on a table; legal is a file that ends in "
                f"{' or '.join(forms)}, as that of training, or a DataFrame in Python"
            )
        texts = [each.name for each in self.columns if _are_texts(each.levels)]
        if self.classes is not None and _are_texts(self.classes):
            texts += self.targets
        first = 0
        for piece in self.table.read_pieces(path, NUM_ROWS, texts):
            yield self._piece(piece.rename(columns=str), None, str(path), first)
            first += len(piece)

    def of_values(self, x: Any, y: np.ndarray | None) -> Iterator[Piece]:
        if not isinstance(x, pd.DataFrame):
            raise DataError(
                f"x is {type(x).__name__}; the network was trained on a table: legal is a "
                f"DataFrame, or a path of one, with the columns "
                f"{listed([each.name for each in self.columns])}"
            )
        if y is not None and len(y) != len(x):
            raise DataError(f"x has {len(x):,} rows and y {len(y):,}; legal are as many")
        yield self._piece(x.rename(columns=str), y, "x", 0)

    def _piece(
        self, table: pd.DataFrame, y: np.ndarray | None, where: str, first_row: int
    ) -> Piece:
        names = [each.name for each in self.columns]
        self._check_names(table, names, where)
        rows = table[names].copy(deep=False)
        for column in self.columns:
            place = f"{where}: column {column.name}"
            checks = self._number if column.kind == "number" else self._category
            rows[column.name] = checks(rows[column.name], column, place, first_row)
        if y is None and all(name in table.columns for name in self.targets):
            y = _targets(table[list(self.targets)])
        x_NF = encoded(rows, self.columns, where, np.float64)
        return Piece(x_NF, y, where)

    def _check_names(self, table: pd.DataFrame, names: Sequence[str], where: str) -> None:
        given = list(table.columns)
        if lacking := [name for name in names if name not in given]:
            told = suggest_among(lacking[0], given, f"all of {listed(names, 20)}")
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise DataError(f"{where} lacks the column {lacking[0]!r}{more}, {told}")
        if twice := [name for name in names if given.count(name) > 1]:
            raise DataError(f"{where} has {given.count(twice[0])} columns {twice[0]!r}; legal is 1")

    def _number(self, values: pd.Series, column: Column, where: str, first: int) -> pd.Series:
        if not is_numeric(values):
            numbers = pd.to_numeric(values.replace({True: 1, False: 0}), errors="coerce")
            is_text = (numbers.isna() & values.notna()).to_numpy()
            if is_text.any():
                row = int(np.flatnonzero(is_text)[0])
                raise DataError(
                    f"{where} has {values.iloc[row]!r} in row {first + row + 1:,}, where training "
                    "has numbers; legal are numbers"
                )
            values = numbers.astype(np.float64)
        self._check_missing(values, column, where, first, "a number")
        return values

    def _category(self, values: pd.Series, column: Column, where: str, first: int) -> pd.Series:
        levels = column.levels
        if not _are_texts(levels) and not is_numeric(values):
            values = values.map(_as_number, na_action="ignore")
        self._check_missing(values, column, where, first, "a category")
        if column.has_others or self.unknown == "ignore":
            return values
        labels = labels_of(values)
        is_new = (
            pd.Index(levels, dtype=object).get_indexer(labels) < 0
        ) & values.notna().to_numpy()
        if is_new.any():
            row = int(np.flatnonzero(is_new)[0])
            raise DataError(
                f"{where} has {labels[row]!r} in row {first + row + 1:,}, a category that "
                f"training never had; legal: {listed(levels)}, or unknown=ignore, which takes it "
                "for none of them"
            )
        return values

    def _check_missing(
        self, values: pd.Series, column: Column, where: str, first: int, wanted: str
    ) -> None:
        if column.num_missing or self.unknown == "ignore":
            return
        is_missing = values.isna().to_numpy()
        if is_missing.any():
            row = int(np.flatnonzero(is_missing)[0])
            instead = (
                "the mean of training" if column.kind == "number" else "none of its categories"
            )
            raise DataError(
                f"{where} has no value in row {first + row + 1:,}, which no row of training lacked;"
                f" legal is {wanted}, or unknown=ignore, which takes {instead}"
            )


def _are_texts(labels: Sequence[Label]) -> bool:
    return bool(labels) and all(isinstance(each, str) for each in labels)


def _as_number(value: Any) -> Any:
    """A number in the place of a text that says one; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _targets(columns: pd.DataFrame) -> np.ndarray:
    found = [target_values(columns[name]) for name in columns.columns]
    return found[0] if len(found) == 1 else np.column_stack(found)
