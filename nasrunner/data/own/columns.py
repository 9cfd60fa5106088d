"""Columns of a table as features: numbers as they are, categories as one feature each."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from nasrunner.core.errors import DataError
from nasrunner.data.inputs import InputArrays, Preparation
from nasrunner.data.normalize import Normalization
from nasrunner.data.own.reading import Label, as_label

# N = number of rows, F = number of features

_MOSTLY = 0.9
"""A column with so many numbers among its values is one of numbers, and other texts are errors."""

_NEVER_VARIED = 1e30
"""The standard deviation of what is the same in all of training: it makes nothing of the rest."""


@dataclass(frozen=True)
class Column:
    """How a column becomes features.

    A number is one feature, which is the mean of training where it is missing; a second one then
    says that it is. A category is one feature for each level, one for all rarer levels together,
    and one for a missing value; what was never seen is none of them.

    Attributes:
        name: of the column.
        kind: what its values are.
        levels: of a category, the commonest first.
        has_others: whether there are rarer levels.
        num_missing: how many rows lack a value.
        is_time: whether numbers were times, which are seconds then; None: of a category, or nobody
            has recorded it.
    """

    name: str
    kind: Literal["number", "category"]
    levels: tuple[Label, ...] = ()
    has_others: bool = False
    num_missing: int = 0
    is_time: bool | None = None

    @property
    def num_features(self) -> int:
        """Features it becomes."""
        return len(self.features)

    @property
    def features(self) -> tuple[str, ...]:
        """What each of its features is called."""
        others = [f"{self.name} is another"] if self.has_others else []
        missing = [f"{self.name} is missing"] if self.num_missing else []
        if self.kind == "number":
            return (self.name, *missing)
        return (*[f"{self.name}={level}" for level in self.levels], *others, *missing)

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain values that ``from_json`` reads."""
        return {**asdict(self), "levels": list(self.levels)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Column":
        """Reads what ``to_json`` returned."""
        return cls(**{**found, "levels": tuple(found["levels"])})

    def encode(self, values: pd.Series, out_NF: np.ndarray) -> None:
        """Writes the features of a column's values; NaN is a number that is missing."""
        is_missing = values.isna().to_numpy()
        if self.kind == "number":
            out_NF[:, 0] = as_numbers(values)
        else:
            place = pd.Index(self.levels, dtype=object).get_indexer(labels_of(values))
            out_NF[:] = 0
            known = np.flatnonzero(place >= 0)
            out_NF[known, place[known]] = 1
            if self.has_others:
                out_NF[:, len(self.levels)] = (place < 0) & ~is_missing
        if self.num_missing:
            out_NF[:, -1] = is_missing


@dataclass(frozen=True)
class TablePreparation(Preparation):
    """Makes tensors of the features of a table, of which some numbers are missing.

    Numbers are normalized with what is known of them in training, and a missing one becomes its
    mean there. Features of categories stay 0 and 1, and one that training never has is always 0.
    """

    @classmethod
    def of_columns(cls, x_NF: np.ndarray, columns: Sequence[Column]) -> "TablePreparation":
        """With the statistics of these examples, which are trained on."""
        is_number = np.zeros(x_NF.shape[1], dtype=bool)
        is_number[_starts(columns)] = [each.kind == "number" for each in columns]
        mean = np.zeros(x_NF.shape[1])
        std = np.where((x_NF != 0).any(axis=0), 1.0, _NEVER_VARIED)
        for each in np.flatnonzero(is_number):
            known = x_NF[:, each][~np.isnan(x_NF[:, each])]
            found = Normalization.of(known[:, None]) if len(known) else None
            mean[each] = 0 if found is None else found.mean[0]
            varies = len(known) > 0 and bool((known != known[0]).any())
            std[each] = found.std[0] if found is not None and varies else _NEVER_VARIED
        return cls(Normalization(mean, std))

    def apply(self, x: InputArrays, device: torch.device) -> torch.Tensor:
        assert isinstance(x, np.ndarray)
        assert isinstance(self.normalization, Normalization)
        found = self.normalization.apply(x)
        return found.nan_to_num_(0.0).to(device)


def learn_columns(
    table: pd.DataFrame, categorical: Collection[str], max_categories: int
) -> tuple[list[Column], dict[str, str]]:
    """Decides how each column becomes features.

    Args:
        table: rows that may be learnt from.
        categorical: columns of categories, whatever they look like.
        max_categories: levels that have a feature of their own, at most.

    Returns:
        The columns, and why others are left out, by name.
    """
    columns, left_out = [], {}
    for name in map(str, table.columns):
        values = table[name]
        num_missing = int(values.isna().sum())
        if num_missing == len(values):
            left_out[name] = "has no value"
        elif name not in categorical and is_numeric(values):
            if _numbers_rows(values):
                left_out[name] = "numbers the rows"
            else:
                found = Column(name, "number", num_missing=num_missing, is_time=is_time(values))
                columns.append(found)
        else:
            labels = pd.Series(labels_of(values)).dropna()
            counts = labels.value_counts(sort=True)
            if name not in categorical and len(counts) > max(max_categories, len(labels) / 2):
                left_out[name] = f"has {len(counts):,} different texts"
                continue
            levels = sorted(counts.index, key=lambda each: (-counts[each], str(each)))
            kept = levels if len(levels) <= max_categories else levels[: max_categories - 1]
            others = len(kept) < len(levels)
            columns.append(Column(name, "category", tuple(kept), others, num_missing))
    return columns, left_out


def check_columns(table: pd.DataFrame, categorical: Collection[str], where: str) -> None:
    """Refuses columns that are neither of numbers nor of categories.

    Args:
        table: all rows.
        categorical: columns of categories, whatever they look like.
        where: what is read, for error messages.

    Raises:
        DataError: a column is of something else than numbers, texts, truth values and times, or
            is mostly of numbers but not all.
    """
    for name in map(str, table.columns):
        if name not in categorical and not is_numeric(table[name]):
            _check_text(table[name], f"{where}: column {name}")


def check_plain(table: pd.DataFrame, where: str) -> None:
    """Refuses columns of lists and other values that are several.

    Args:
        table: all rows, without columns that are left out.
        where: what is read, for error messages.

    Raises:
        DataError: names one.
    """
    for name, values in table.select_dtypes(exclude=["number", "bool", "datetime"]).items():
        strange = next((each for each in values.dropna() if not isinstance(each, Hashable)), None)
        if strange is not None:
            raise DataError(
                f"{where}: column {name} has a {type(strange).__name__}; legal are numbers, texts "
                f"and times, and data.drop=[{name}] leaves a column out"
            )


def encoded(
    table: pd.DataFrame,
    columns: Sequence[Column],
    where: str,
    dtype: type[np.floating] | None = None,
) -> np.ndarray:
    """Returns the features of a table's rows, (N, F).

    Missing numbers are NaN.

    Args:
        table: the rows.
        columns: how they become features.
        where: what is read, for error messages.
        dtype: of the features; None: float32 where that is exact enough for these rows.

    Raises:
        DataError: a number is infinite.
    """
    starts = _starts(columns)
    width = sum(each.num_features for each in columns)
    numbers = [each for each in columns if each.kind == "number"]
    if dtype is None:
        is_exact = all(_is_exact(as_numbers(table[each.name])) for each in numbers)
        dtype = np.float32 if is_exact else np.float64
    x_NF = np.empty((len(table), width), dtype)
    for start, each in zip(starts, columns, strict=True):
        each.encode(table[each.name], x_NF[:, start : start + each.num_features])
        if np.isinf(x_NF[:, start]).any():
            raise DataError(
                f"{where}: column {each.name} has infinite numbers; legal are finite ones, or none"
            )
    return x_NF


def is_numeric(values: pd.Series) -> bool:
    """Tells whether a column is of numbers, truth values or times."""
    kinds = pd.api.types
    return bool(kinds.is_numeric_dtype(values) or kinds.is_bool_dtype(values) or is_time(values))


def is_time(values: pd.Series) -> bool:
    """Tells whether a column is of times."""
    return bool(pd.api.types.is_datetime64_any_dtype(values))


def as_numbers(values: pd.Series) -> np.ndarray:
    """Returns a column as float64, times as seconds; NaN where a value is missing."""
    if is_time(values):
        seconds = (values - pd.Timestamp(0, tz=values.dt.tz)) / pd.Timedelta(1, "s")
        return np.asarray(seconds, dtype=np.float64)
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))


def _starts(columns: Sequence[Column]) -> list[int]:
    widths = [each.num_features for each in columns]
    return [sum(widths[:number]) for number in range(len(widths))]


def labels_of(values: pd.Series) -> np.ndarray:
    """Returns values of a category as JSON has them, others as texts; what is missing is NaN."""
    found = [as_label(each) for each in values.astype(object).to_numpy()]
    is_missing = values.isna().to_numpy()
    return np.where(is_missing, np.nan, np.array([*found, None], dtype=object)[:-1])


def _numbers_rows(values: pd.Series) -> bool:
    if not pd.api.types.is_integer_dtype(values) or len(values) < 3 or values.isna().any():
        return False
    steps = np.diff(values.to_numpy())
    return bool((steps > 0).all() and (values.max() - values.min()) < 2 * len(values))


def _is_exact(values: np.ndarray) -> bool:
    """Whether rounding to float32 is far below how much the values differ."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return True
    spread = float(known.std())
    return float(np.abs(known).max()) * 1e-7 <= 1e-4 * spread or spread == 0


def _check_text(values: pd.Series, where: str) -> None:
    known = values.dropna()
    objects = [] if isinstance(values.dtype, pd.StringDtype) else known
    strange = next(
        (each for each in objects if not isinstance(each, str | bool | int | float)), None
    )
    if strange is not None:
        raise DataError(
            f"{where} has a {type(strange).__name__}; legal are numbers, texts and times, and "
            "data.drop leaves a column out"
        )
    counts = known.value_counts()  # each text once: a column may have millions
    is_number = pd.to_numeric(pd.Series(counts.index), errors="coerce").notna().to_numpy()
    if _MOSTLY * len(known) <= counts[is_number].sum() < len(known):
        text = counts.index[~is_number][0]
        row = int(known.index[known == text][0]) + 1
        name = where.rpartition("column ")[2]
        raise DataError(
            f"{where} has numbers, and {text!r} in row {row:,}; legal are numbers alone: "
            f"data.missing=[{text!r}] says that it stands for none, data.categorical=[{name}] "
            "that it is one of several categories"
        )
