"""New rows of a table, whose columns must be those of training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from nasrunner.core.errors import DataError, suggest_among
from nasrunner.data.own.columns import Column, encoded, is_numeric, is_time
from nasrunner.data.own.reading import Label, Reading
from nasrunner.data.own.tables import CsvFile, TableFile, targets_of
from nasrunner.predict.labels import KnownLabels, are_texts, row_of
from nasrunner.predict.pieces import NUM_ROWS, NewExamples, Piece
from nasrunner.predict.prediction import listed

Unknown = Literal["error", "ignore"]
"""What becomes of a category that training never had, or of a value that is missing where none was
missing there; the words are those of scikit-learn's ``OneHotEncoder``."""

_PACKED = ("", ".gz", ".bz2", ".xz")
_FORMS = {
    True: tuple(f"{form}{packed}" for form in (".csv", ".tsv", ".txt") for packed in _PACKED),
    False: (".parquet", ".pq"),
}
"""What names of files end in, by whether training read CSV; the file of training is one, too."""


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

    @classmethod
    def of_reading(cls, table: TableFile, reading: Reading, unknown: Unknown) -> "NewRows":
        """Returns what reads rows as those of training were."""
        columns = tuple(map(Column.from_json, reading.columns))
        return cls(table, columns, tuple(reading.settings["targets"]), reading.classes, unknown)

    def of_path(self, path: Path) -> Iterator[Piece]:
        own, forms = Path(self.table.path).suffix.lower(), _FORMS[isinstance(self.table, CsvFile)]
        is_legal = path.name.lower().endswith(forms) or path.suffix.lower() == own
        if path.is_dir() or not is_legal:
            legal = [".csv", ".tsv", ".txt", ".csv.gz"] if ".csv" in forms else [*forms]
            legal += [own] if own and own not in legal else []
            raise DataError(
                f"{path}: the network was trained on a table; legal is a file that ends in "
                f"{' or '.join(legal)}, or a DataFrame in Python"
            )
        texts = [each.name for each in self.columns if are_texts(each.levels)]
        if self.classes is not None and are_texts(self.classes):
            texts += self.targets
        first = 0
        for piece in self.table.read_pieces(path, NUM_ROWS, texts):
            yield self.piece(piece.rename(columns=str), None, str(path), first)
            first += len(piece)

    def of_values(self, x: Any, y: np.ndarray | None) -> Iterator[Piece]:
        if not isinstance(x, pd.DataFrame):
            raise DataError(
                f"x is {type(x).__name__}; the network was trained on a table: legal is a "
                f"DataFrame, or a path of one, with the columns "
                f"{listed([each.name for each in self.columns])}"
            )
        if y is not None and len(y) != len(x):
            raise DataError(
                f"x has {len(x):,} rows but y has {len(y):,}; they must have the same length"
            )
        yield replace(self.piece(x.rename(columns=str), y, "x", 0), index=x.index)

    def piece(self, table: pd.DataFrame, y: np.ndarray | None, where: str, first_row: int) -> Piece:
        """Returns the examples of some rows.

        Args:
            table: with the columns of training, and others.
            y: their targets; None: those of the table, where it has them.
            where: what is read, for error messages.
            first_row: how many rows are before them.

        Raises:
            DataError: they are not such as those of training.
        """
        names = [each.name for each in self.columns]
        self._check_names(table, names, where)
        rows = table[names].copy(deep=False)
        for column in self.columns:
            place = f"{where}: column {column.name}"
            checks = self._number if column.kind == "number" else self._category
            rows[column.name] = checks(rows[column.name], column, place, first_row)
        if y is None and all(name in table.columns for name in self.targets):
            _check_once(table, self.targets, where)
            y = targets_of(table[list(self.targets)])
        x_NF = encoded(rows, self.columns, where, np.float64)
        return Piece(x_NF, y, where)

    def _check_names(self, table: pd.DataFrame, names: Sequence[str], where: str) -> None:
        given = list(table.columns)
        if lacking := [name for name in names if name not in given]:
            told = suggest_among(lacking[0], given, f"all of {listed(names, 20)}")
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise DataError(f"{where} lacks the column {lacking[0]!r}{more}, {told}")
        _check_once(table, names, where)

    def _number(self, values: pd.Series, column: Column, where: str, first: int) -> pd.Series:
        if column.is_time is not None and values.notna().any():
            values = _of_kind(values, column.is_time, where, first)
        if not is_numeric(values):
            numbers = pd.to_numeric(values.replace({True: 1, False: 0}), errors="coerce")
            row = row_of((numbers.isna() & values.notna()).to_numpy())
            if row is not None:
                raise DataError(
                    f"{where} has {values.iloc[row]!r} in row {first + row + 1:,}, where training "
                    "has numbers; legal are numbers"
                )
            values = numbers.astype(np.float64)
        self._check_missing(values, column, where, first, "a number")
        return values

    def _category(self, values: pd.Series, column: Column, where: str, first: int) -> pd.Series:
        levels = column.levels
        labels, is_doubtful_N = KnownLabels(levels, not column.has_others).translate(values)
        if (row := row_of(is_doubtful_N)) is not None:
            raise DataError(
                f"{where} has {str(values.iloc[row])!r} in row {first + row + 1:,}, which is no "
                f"text, and training has the texts {listed(levels)}: it may be one of them that is "
                "written otherwise; legal are texts as in training"
            )
        known = pd.Series(labels, index=values.index, dtype=object)
        self._check_missing(known, column, where, first, "a category")
        if column.has_others or self.unknown == "ignore":
            return known
        is_new = pd.Index(levels, dtype=object).get_indexer(labels) < 0
        if (row := row_of(is_new & known.notna().to_numpy())) is not None:
            raise DataError(
                f"{where} has {labels[row]!r} in row {first + row + 1:,}, a category that "
                f"training never had; legal: {listed(levels)}, or unknown=ignore, which encodes it "
                "as none of them"
            )
        return known

    def _check_missing(
        self, values: pd.Series, column: Column, where: str, first: int, wanted: str
    ) -> None:
        if column.num_missing or self.unknown == "ignore":
            return
        if (row := row_of(values.isna().to_numpy())) is not None:
            is_number = column.kind == "number"
            instead = "replaces it by the training mean" if is_number else "encodes none of them"
            raise DataError(
                f"{where} has no value in row {first + row + 1:,}, and no training row had a "
                f"missing value here; legal is {wanted}, or unknown=ignore, which {instead}"
            )


def _check_once(table: pd.DataFrame, names: Sequence[str], where: str) -> None:
    given = list(table.columns)
    if twice := [name for name in names if given.count(name) > 1]:
        raise DataError(f"{where} has {given.count(twice[0])} columns {twice[0]!r}; legal is 1")


def _of_kind(values: pd.Series, wants_times: bool, where: str, first: int) -> pd.Series:
    """Times where training had times, and none where it had numbers."""
    values = values.infer_objects()
    if is_numeric(values):
        if is_time(values) == wants_times:
            return values
        given, wanted = ("numbers", "times") if wants_times else ("times", "numbers")
        raise DataError(f"{where} has {given}, where training has {wanted}; legal are {wanted}")
    if not wants_times:
        return values
    try:
        times = pd.to_datetime(values, format="ISO8601", errors="coerce")
    except ValueError as error:  # of several time zones
        raise DataError(
            f"{where} has no times of one kind: {' '.join(str(error).split())}"
        ) from error
    if (row := row_of((times.isna() & values.notna()).to_numpy())) is not None:
        raise DataError(
            f"{where} has {values.iloc[row]!r} in row {first + row + 1:,}, where training has "
            "times; legal are times such as 2024-03-01"
        )
    return times
