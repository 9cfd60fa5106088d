"""Own data as tables: CSV and Parquet."""

import bz2
import contextlib
import csv
import gzip
import lzma
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd

from nasrunner.core.annotations import AtLeast
from nasrunner.core.errors import ConfigError, DataError, suggest
from nasrunner.data.inputs import InputArrays, Preparation
from nasrunner.data.own.columns import (
    Column,
    TablePreparation,
    as_numbers,
    check_columns,
    check_plain,
    encoded,
    is_numeric,
    learn_columns,
)
from nasrunner.data.own.digests import digest_of_contents
from nasrunner.data.own.own_data import EncodedInputs, OwnData, RawExamples

# N = number of rows

_SEPARATORS = ",;\t|"
_SNIFFED = 1 << 16
"""Characters of a CSV file that its separator is guessed from."""

_PACKED: Mapping[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
"""What opens packed files, by the endings of their names."""

_TOLD = 5
"""So many columns are named in a sentence."""


if TYPE_CHECKING:
    Name = str  # once a setting is read
else:
    Name = str | int  # a column may be called 2010, which YAML reads as a number


@dataclass(kw_only=True, eq=False)
class TableFile(OwnData):
    """Rows of a table, of which one column is the target; base of CSV and Parquet.

    How categories are encoded, what is missing and what numbers are normalized with is learnt
    from rows that are not for the test, statistics from those that are trained on alone.

    Args:
        path: the file.
        target: the column to predict, or several of numbers.
        test_path: a file of the test's rows; None: they are held out.
        drop: columns that are no inputs.
        categorical: columns of categories that look like numbers, such as codes.
        group: a column: rows of the same group stay in one part. It is no input. None: there is
            none.
        time: a column of times or numbers: the last rows are for the test, and those before them
            for validation, so that ``split_seed`` and ``equal_inputs`` draw nothing. It is no
            input. None: parts are drawn.
        max_categories: levels of a category with a feature of their own; rarer ones share one. A
            column of texts that has more, and few of which repeat, is left out.

    Raises:
        ConfigError: columns are given that do not go together.
    """

    path: str
    target: Name | Sequence[Name]
    test_path: str | None = None
    drop: Sequence[Name] = ()
    categorical: Sequence[Name] = ()
    group: Name | None = None
    time: Name | None = None
    max_categories: Annotated[int, AtLeast(2)] = 32

    guessed_from: ClassVar[tuple[str, ...]] = (
        *(*OwnData.guessed_from, "path", "target", "test_path", "drop", "categorical", "group"),
        *("time", "max_categories"),
    )

    of_texts: ClassVar[str] = (
        "legal are numbers and categories: texts are learnt as arrays of tokens, data=arrays "
        "data.in_dtype=int64 space=text_classifier"
    )
    """What is legal where there are texts alone, in words."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_dtype("a column of a table is numbers or categories")
        self.target = as_names(self.target)
        self.drop, self.categorical = ([*map(str, n)] for n in (self.drop, self.categorical))
        self.group, self.time = as_names(self.group), as_names(self.time)
        if self.group is not None and self.time is not None:
            raise ConfigError(
                f"data.group={self.group} and data.time={self.time} split in different ways; legal "
                "is one of them"
            )

    def read_table(self, path: Path) -> pd.DataFrame:
        """Reads the rows of a file.

        Raises:
            DataError: it is damaged, or of another form.
        """
        raise NotImplementedError

    def read_pieces(
        self, path: Path, num_rows: int, texts: Collection[str]
    ) -> Iterator[pd.DataFrame]:
        """Yields the rows of a file in pieces, where its form allows; their indices go on.

        Args:
            path: the file, which has columns of the same kinds as ours.
            num_rows: of a piece, but for the last.
            texts: columns that are texts also where those of a piece look like numbers.

        Raises:
            DataError: it is damaged, or of another form.
        """
        yield self.read_table(path)

    def files_digest(self) -> str:
        places = (self.path, self.test_path)
        return digest_of_contents([Path(each) for each in places if each is not None])

    def read(self) -> RawExamples:
        table, num_test = self._table(Path(self.path)), None
        if self.test_path is not None:
            if not Path(self.test_path).is_file():
                raise DataError(f"data.test_path={self.test_path} is missing")
            test = self._table(Path(self.test_path))
            if lacking := [each for each in table.columns if each not in test.columns]:
                raise DataError(
                    f"data.test_path={self.test_path} lacks the column {lacking[0]!r} of "
                    f"{self.path}; legal are the same columns"
                )
            num_test = len(test)
            table = pd.concat([table, test[table.columns]], ignore_index=True)
        targets = [self.target] if isinstance(self.target, str) else list(self.target)
        used = self.check_names([*table.columns], targets)
        check_plain(table.drop(columns=list(self.drop)), self.where)
        inputs = table[[name for name in table.columns if name not in used]]
        if not len(inputs.columns):
            raise DataError(f"{self.where} has no column beside {', '.join(used)}")
        check_columns(inputs, self.categorical, self.where)
        return RawExamples(
            x=inputs,
            y=target_values(table[targets[0]])
            if isinstance(self.target, str)
            else targets_of(table[targets]),
            where=f"data.target={', '.join(targets)} of {self.path}",
            kind="table",
            groups_N=self.groups_in(table),
            times_N=self.times_in(table),
            num_test=num_test,
            settings={"targets": targets},
        )

    def check_names(self, given: Sequence[str], targets: Sequence[str]) -> dict[str, str]:
        """Refuses columns of the settings that are not there, or are two things at once.

        Args:
            given: all columns there are.
            targets: those that are predicted.

        Returns:
            The columns that are no inputs, each with the setting that says so.

        Raises:
            ConfigError: ``categorical`` has one of those.
            DataError: a column is not there.
        """
        known = {
            "target": targets,
            "drop": self.drop,
            "categorical": self.categorical,
            **{key: [name] for key, name in (("group", self.group), ("time", self.time)) if name},
        }
        for key, names in known.items():
            for name in names:
                if name not in given:
                    legal = suggest(name, map(str, given))
                    raise DataError(f"data.{key}={name} is no column of {self.path}, {legal}")
        used = {name: key for key in known if key != "categorical" for name in known[key]}
        if vain := [name for name in self.categorical if name in used]:
            raise ConfigError(
                f"data.categorical has {vain[0]}, which is no input: data.{used[vain[0]]} has it, "
                "too; legal are columns of inputs"
            )
        return used

    def encode(self, raw: RawExamples, rows_N: np.ndarray) -> EncodedInputs:
        table: pd.DataFrame = raw.x
        known = table if len(rows_N) == len(table) else table.iloc[rows_N]
        columns, left_out = learn_columns(known, self.categorical, self.max_categories)
        if not columns:
            told = ", ".join(f"{name} {why}" for name, why in left_out.items())
            raise DataError(f"{self.where} has no column to learn from: {told}; {self.of_texts}")
        plain = tuple(each.to_json() for each in columns)
        x_NF = encoded(table, columns, self.where)
        return EncodedInputs(x_NF, plain, tuple(_facts(columns, left_out)))

    def equal_examples(self, x: Any) -> np.ndarray:
        return np.asarray(pd.util.hash_pandas_object(x, index=False)).view(np.int64)

    def preparation_of(self, x: InputArrays) -> Preparation:
        assert isinstance(x, np.ndarray)
        return TablePreparation.of_columns(x, list(map(Column.from_json, self.known().columns)))

    def _table(self, path: Path) -> pd.DataFrame:
        table = self.read_table(path)
        if all(_is_a_number(name) for name in table.columns):
            names = ", ".join(map(str, table.columns[:3]))
            raise DataError(
                f"{path}: its first row, {names}, …, is numbers; legal are names of columns"
            )
        return table.rename(columns=str)

    def groups_in(self, table: pd.DataFrame) -> np.ndarray | None:
        """Numbers the rows (N,) by ``group``; None: there is none.

        Raises:
            DataError: a row has none.
        """
        if self.group is None:
            return None
        if (num_missing := int(table[self.group].isna().sum())) > 0:
            raise DataError(
                f"data.group={self.group} has no value in {num_missing:,} of {len(table):,} rows; "
                "legal is one in each"
            )
        return np.asarray(pd.factorize(table[self.group])[0])

    def times_in(self, table: pd.DataFrame) -> np.ndarray | None:
        """Returns the ``time`` of each row as a number, (N,); None: there is none.

        Raises:
            DataError: a row has none, or it is no time.
        """
        if self.time is None:
            return None
        values = table[self.time]
        if not is_numeric(values):
            try:
                values = pd.to_datetime(values, format="ISO8601")
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"data.time={self.time} must be numbers or times such as 2024-03-01: "
                    f"{' '.join(str(error).split()).partition('. ')[0]}"
                ) from error
        times_N = as_numbers(values)
        if np.isnan(times_N).any():
            raise DataError(
                f"data.time={self.time} has no value in {np.isnan(times_N).sum():,} rows; legal is "
                "one in each"
            )
        return times_N


@dataclass(kw_only=True, eq=False)
class CsvFile(TableFile):
    """Rows of a CSV file, with the names of its columns on top: plain, or packed (``.csv.gz``,
    ``.csv.bz2``, ``.csv.xz``).

    Args:
        missing: texts that stand for a missing value, beside empty ones, NA, NaN, null and None.
        separator: of columns; None: the one of comma, semicolon, tab and bar that fits.
        decimal: what stands before the decimals of numbers.
    """

    missing: Sequence[str | int | float] = ()
    separator: str | None = None
    decimal: Literal["point", "comma"] = "point"

    guessed_from: ClassVar[tuple[str, ...]] = (
        *(*TableFile.guessed_from, "missing", "separator", "decimal"),
    )

    def read_table(self, path: Path) -> pd.DataFrame:
        with _told_as_csv(path):
            return pd.read_csv(path, **self._settings(path))

    def read_pieces(
        self, path: Path, num_rows: int, texts: Collection[str]
    ) -> Iterator[pd.DataFrame]:
        with _told_as_csv(path):
            settings = self._settings(path)
            names = pd.read_csv(path, **settings, nrows=0).columns
            dtype = {name: str for name in names if name in texts}
            with pd.read_csv(path, **settings, dtype=dtype, chunksize=num_rows) as pieces:
                yield from pieces

    def _settings(self, path: Path) -> dict[str, Any]:
        return {
            "sep": self.separator or _separator(path),
            "decimal": "." if self.decimal == "point" else ",",
            "na_values": list(map(str, self.missing)),
            "low_memory": False,  # one type for all of a column
            "skipinitialspace": True,
        }


def as_names(given: Any) -> Any:
    """Returns names of columns as texts, one, several or None as they are given."""
    if given is None or isinstance(given, str | int):
        return None if given is None else str(given)
    return [str(each) for each in given]


@contextlib.contextmanager
def _told_as_csv(path: Path) -> Iterator[None]:
    """Makes what pandas raises one sentence."""
    try:
        yield
    except (
        *(EOFError, OSError, ValueError, csv.Error),  # and pandas' own
        *(zlib.error, lzma.LZMAError),
    ) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as CSV: {reason}") from error


@dataclass(kw_only=True, eq=False)
class ParquetFile(TableFile):
    """Rows of a Parquet file."""

    def read_table(self, path: Path) -> pd.DataFrame:
        try:
            return pd.read_parquet(path).reset_index(drop=True)
        except ImportError as error:
            raise DataError(f"{path} needs pyarrow: pip install pyarrow") from error
        except (NotImplementedError, OSError, ValueError) as error:  # and Arrow's own
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise DataError(f"{path} cannot be read as Parquet: {reason}") from error


def _separator(path: Path) -> str:
    """The separator that splits the first lines of a file alike."""
    with _PACKED.get(path.suffix.lower(), open)(path, "rb") as file:
        text = file.read(_SNIFFED).decode("utf-8", errors="ignore")
    lines = [line for line in text.splitlines()[:20] if line]
    rows = {s: [len(r) for r in csv.reader(lines, delimiter=s)] for s in _SEPARATORS}
    fitting = {s: found for s, found in rows.items() if found and min(found) > 1}
    alike = {s: found for s, found in fitting.items() if len(set(found)) == 1}
    found = alike or fitting
    return max(found, key=lambda s: min(found[s])) if found else ","


def _facts(columns: Sequence[Column], left_out: dict[str, str]) -> list[str]:
    width = sum(each.num_features for each in columns)
    told = [f"{_many(len(columns), 'column')} make {_many(width, 'feature')}"]
    lacking = [f"{each.name} {each.num_missing:,}" for each in columns if each.num_missing]
    if lacking:
        told.append(f"missing {_first(lacking)}")
    rare = [f"{each.name} {len(each.levels)}" for each in columns if each.has_others]
    if rare:
        told.append(f"commonest categories alone of {_first(rare)}")
    if left_out:
        told.append(f"left out: {_first([f'{name} ({why})' for name, why in left_out.items()])}")
    return told


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _first(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _TOLD} more"] if len(names) > _TOLD else []
    return ", ".join([*names[:_TOLD], *more])


def target_values(column: pd.Series) -> np.ndarray:
    """Returns a target as numpy has it: numbers, or objects with None for what is missing."""
    if is_numeric(column) and not column.isna().any():
        found = column.to_numpy()
        if found.dtype.kind == "M" or found.dtype.kind == "O":
            return np.asarray(as_numbers(column))
        return np.asarray(found)
    if is_numeric(column):
        return as_numbers(column)
    labels = column.astype(object).to_numpy(copy=True)
    labels[column.isna().to_numpy()] = None
    return np.asarray(labels, dtype=object)


def targets_of(columns: pd.DataFrame) -> np.ndarray:
    """Returns several targets as numpy has them, (N, K); one alone is (N,)."""
    found = [target_values(columns[name]) for name in columns.columns]
    return found[0] if len(found) == 1 else np.column_stack(found)


def _is_a_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True
