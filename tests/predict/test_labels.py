"""Categories, classes and times whose values are of another type than in training."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nasrunner.core import DataError
from nasrunner.data.own.columns import Column, learn_columns
from nasrunner.data.own.reading import Label
from nasrunner.predict.labels import KnownLabels
from nasrunner.predict.tables import NewRows, Unknown
from tests.predict.studies import csv_of, parquet_of

HOUSES = ("12", "12A", "7")
DAYS = ("2024-03-01", "2024-03-02")


def rows_of(column: Column, unknown: Unknown = "error") -> NewRows:
    """Reads tables of one column."""
    return NewRows(csv_of(Path("x.csv")), (column,), ("y",), None, unknown)


def encoded(column: Column, values: Any, unknown: Unknown = "error") -> list[Any]:
    (piece,) = rows_of(column, unknown).of(pd.DataFrame({column.name: values}))
    assert isinstance(piece.x, np.ndarray)
    return np.asarray(piece.x).tolist()


@pytest.mark.parametrize("has_others", [False, True])
@pytest.mark.parametrize(
    ("levels", "texts", "values"),
    [
        (HOUSES, ["7", "12"], [7, 12]),  # a slice that holds digits alone
        (HOUSES, ["7", "12"], [7.0, 12.0]),  # beside a missing one
        (HOUSES, ["7", "12A"], [7, "12A"]),
        (("no", "True", "False"), ["True", "False"], [True, False]),
        (DAYS, ["2024-03-02"] * 2, pd.to_datetime(["2024-03-02"] * 2)),
        (DAYS, ["2024-03-02"] * 2, [datetime.date(2024, 3, 2)] * 2),
        ((3, 4), [4, 3], ["4", "3.0"]),
        ((True, False), [False, True], ["False", "true"]),
        ((3.5, 4), [4, 3.5], [4.0, np.float32(3.5)]),
    ],
)
def test_values_are_the_labels_that_they_say(
    levels: Sequence[Label], texts: list[Label], values: Any, has_others: bool
) -> None:
    column = Column("a", "category", tuple(levels), has_others)
    wanted = np.array([[float(level == text) for level in levels] for text in texts])
    found = np.array(encoded(column, values))
    np.testing.assert_array_equal(found[:, : len(levels)], wanted)
    assert not found[:, len(levels) :].any()


@pytest.mark.parametrize(
    ("levels", "has_others", "value"),
    [
        (("012", "12A"), True, 12),  # or a rarer 12
        (("012", "12"), False, 12),
        (("TRUE", "no"), True, True),
        (("01.03.2024", "no"), True, pd.Timestamp("2024-03-01")),
        (DAYS, True, pd.Timestamp("2024-03-03", tz="UTC")),
    ],
)
@pytest.mark.parametrize("unknown", ["error", "ignore"])
def test_what_may_be_one_of_several_labels_is_refused(
    levels: Sequence[Label], has_others: bool, value: Any, unknown: Unknown
) -> None:
    column = Column("a", "category", tuple(levels), has_others)
    with pytest.raises(
        DataError, match=r"^x: column a has .* in row 1, .* legal are texts as in tr"
    ):
        encoded(column, [value], unknown)


def test_what_is_no_label_in_any_way_of_writing_is_another() -> None:
    column = Column("a", "category", HOUSES, has_others=True)
    assert encoded(column, [13]) == [[0, 0, 0, 1]]
    assert encoded(
        Column("a", "category", DAYS, has_others=True), [pd.Timestamp("2025-01-01")]
    ) == [[0, 0, 1]]
    assert encoded(Column("a", "category", ("007", "8A")), [7]) == [[1, 0]]  # there is no other 7
    assert encoded(Column("a", "category", HOUSES), ["012"], "ignore") == [[0, 0, 0]]


def test_classes_are_found_as_categories_are() -> None:
    labels, is_doubtful = KnownLabels((0, 1), True).translate(pd.Series(["1", None, "0.0", "?"]))
    assert labels[[0, 2, 3]].tolist() == [1, 0, "?"]
    assert np.isnan(labels[1])
    assert not is_doubtful.any()


def test_parquet_with_digits_alone_is_predicted_as_csv_is(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": [7, 12]}).to_parquet(tmp_path / "x.parquet")
    pd.DataFrame({"a": [7, 12]}).to_csv(tmp_path / "x.csv", index=False)
    column = Column("a", "category", HOUSES, has_others=True)
    found = [
        next(NewRows(table, (column,), ("y",), None, "error").of(tmp_path / f"x.{form}")).x
        for table, form in (
            (parquet_of(tmp_path / "x.parquet"), "parquet"),
            (csv_of(tmp_path / "x.csv"), "csv"),
        )
    ]
    np.testing.assert_array_equal(found[0], [[0, 0, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(*found)


def test_times_and_numbers_are_not_taken_for_each_other() -> None:
    days = pd.to_datetime(["2024-03-01", "2024-03-02", "2024-03-05", "2024-03-04"])
    (time, number), _ = learn_columns(pd.DataFrame({"t": days, "n": [1.5, 2, 2, 7]}), (), 9)
    assert (time.is_time, number.is_time) == (True, False)
    seconds = [each.timestamp() for each in days]
    assert [value for (value,) in encoded(time, days)] == seconds
    assert [value for (value,) in encoded(time, days.strftime("%Y-%m-%d"))] == seconds
    with pytest.raises(
        DataError, match=r"^x: column t has numbers, where training has times; legal"
    ):
        encoded(time, [1, 2])
    with pytest.raises(
        DataError, match=r"^x: column n has times, where training has numbers; legal"
    ):
        encoded(number, days)
    with pytest.raises(DataError, match="column t has 'soon' in row 2, where training has times; "):
        encoded(time, ["2024-03-01", "soon"])
    before = {name: value for name, value in time.to_json().items() if name != "is_time"}
    assert encoded(Column.from_json(before), [1, 2]) == [[1], [2]]  # nobody recorded it
