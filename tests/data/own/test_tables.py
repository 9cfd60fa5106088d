import datetime
import gzip
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import datasets

from nasrunner.compose.construct import construct
from nasrunner.core import ConfigError, DataError
from nasrunner.data.own.columns import Column
from nasrunner.data.own.reading import Reading
from nasrunner.data.own.tables import CsvFile, ParquetFile

COMMON: dict[str, Any] = {
    "batch_size": 8,
    "eval_batch_size": 64,
    "drop_last": False,
    "validation_examples": 0.2,
    "split_seed": 0,
}


def guessed(kind: Any = None, **settings: Any) -> CsvFile:
    settings = {**COMMON, **settings}
    found = CsvFile(**settings).guess(kind)
    return CsvFile(**{**settings, **found.settings})


@pytest.fixture
def people(tmp_path: Path) -> str:
    """200 rows with a number that is missing at times, and categories; ``id`` numbers the rows."""
    rng = np.random.default_rng(0)
    age = rng.integers(1, 80, 200).astype(float)
    table = pd.DataFrame(
        {
            "id": np.arange(200),
            "name": [f"person {number}" for number in range(200)],
            "age": np.where(rng.random(200) < 0.2, np.nan, age),
            "city": rng.choice(["Rome", "Oslo", None], 200, p=[0.6, 0.3, 0.1]),
            "fare": rng.random(200),
            "class": np.where(age > 40, "old", "young"),
        }
    )
    table.to_csv(tmp_path / "people.csv", index=False)
    return str(tmp_path / "people.csv")


@pytest.mark.parametrize(
    ("name", "kind", "in_shape", "num_outputs"),
    [
        ("iris", "classes", [4], 3),
        ("wine", "classes", [13], 3),
        ("breast_cancer", "classes", [30], 2),
        ("digits", "classes", [64], 10),
        ("diabetes", "numbers", [10], 1),
    ],
)
def test_the_tables_of_scikit_learn_are_known(
    tmp_path: Path, name: str, kind: str, in_shape: list[int], num_outputs: int
) -> None:
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    frame.to_csv(tmp_path / "a.csv", index=False)
    module = guessed(kind, path=str(tmp_path / "a.csv"), target="target")
    assert (module.in_shape, module.num_outputs) == (in_shape, num_outputs)
    module.setup("test")
    total = sum(
        len(each.y)
        for each in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    )
    assert total == len(frame)


def test_several_numbers_are_predicted_from_parquet(tmp_path: Path) -> None:
    frame = datasets.load_linnerud(as_frame=True).frame
    frame.to_parquet(tmp_path / "a.parquet")
    settings = {
        **COMMON,
        "path": str(tmp_path / "a.parquet"),
        "target": ["Weight", "Waist", "Pulse"],
    }
    found = dict(ParquetFile(**settings).guess("numbers").settings)
    del found["digest"]
    assert found == {"in_shape": [3], "num_outputs": 3, "target_kind": "numbers"}
    module = ParquetFile(**settings, **found)
    module.setup("fit")
    assert next(iter(module.train_dataloader()))[1].shape == (8, 3)


def test_what_columns_become_is_told(people: str) -> None:
    told = CsvFile(**COMMON, path=people, target="class").guess("classes").told()
    assert "left out: id (numbers the rows), name (has 160 different texts)" in told
    assert "3 columns make 6 features" in told  # age, no age; Rome, Oslo, none; fare
    assert "missing age" in told


def test_missing_numbers_become_the_mean_of_training_and_are_told_apart(people: str) -> None:
    module = guessed(path=people, target="class")
    module.setup("test")
    train = module.train_dataloader().x
    is_missing = train[:, 1] == 1
    assert 0 < is_missing.sum() < len(train)
    assert (train[is_missing, 0] == 0).all()
    known = train[~is_missing, 0]
    assert abs(float(known.mean())) < 1e-6
    assert float(known.std(correction=0)) == pytest.approx(1)
    for each in (module.val_dataloader().x, module.test_dataloader().x):
        assert each.isfinite().all()
        assert abs(float(each[each[:, 1] == 0, 0].mean())) > 1e-4  # not its own


def test_the_test_teaches_nothing(people: str, tmp_path: Path) -> None:
    table = pd.read_csv(people)
    test = table[:40].assign(city="Paris", age=1e6)
    test.to_csv(tmp_path / "test.csv", index=False)
    alone = guessed(path=people, target="class", test_path=people)
    module = guessed(path=people, target="class", test_path=str(tmp_path / "test.csv"))
    alone.setup("fit")
    module.setup("test")
    assert alone.reading.mean == module.reading.mean
    assert alone.reading.columns == module.reading.columns
    x = module.test_dataloader().x
    assert (x[:, 2:5] == 0).all()  # no city that is known
    assert (x[:, 0] > 100).all()


def test_a_category_that_training_lacks_is_none(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": np.arange(0, 40, 2) % 14, "kind": ["a", "b"] * 10, "y": [0, 1] * 10})
    table["when"] = np.arange(20)
    table.loc[15, "kind"] = "c"  # of validation: the last but four
    table.to_csv(tmp_path / "a.csv", index=False)
    module = guessed(path=str(tmp_path / "a.csv"), target="y", time="when", test_examples=4)
    module.setup("fit")
    validation = module.val_dataloader().x
    assert (validation[-1, 1:].abs() < 1e-20).all()
    assert validation[0, 1:].sum() == 1


def test_rare_categories_share_a_feature(tmp_path: Path) -> None:
    kinds = ["a"] * 30 + ["b"] * 20 + ["c", "c", "d", "d", "e", "e"]
    table = pd.DataFrame({"kind": kinds, "x": np.arange(56) % 9, "y": [0, 1] * 28})
    table.to_csv(tmp_path / "a.csv", index=False)
    module = guessed(
        path=str(tmp_path / "a.csv"), target="y", max_categories=3, equal_inputs="apart"
    )
    module.setup("fit")
    (column,) = (Column.from_json(each) for each in module.reading.columns[:1])
    assert (column.levels, column.has_others) == (("a", "b"), True)
    assert module.in_shape == [4]
    assert (module.train_dataloader().x[:, :3].sum(dim=1) == 1).all()


def test_codes_may_be_categories(people: str) -> None:
    module = guessed(path=people, target="class", categorical=["age"], max_categories=5)
    assert module.in_shape == [4 + 1 + 1 + 3 + 1]


def test_the_last_rows_in_time_are_for_the_test(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=50)
    order = np.random.default_rng(0).permutation(50)
    table = pd.DataFrame({"day": days, "x": np.arange(50) * 3 % 50, "y": np.arange(50) % 2})
    table.iloc[order].to_csv(tmp_path / "a.csv", index=False)
    module = guessed(path=str(tmp_path / "a.csv"), target="y", time="day")
    module.setup("test")
    loaders = module.train_dataloader(), module.val_dataloader(), module.test_dataloader()
    mean, std = module.reading.mean[0], module.reading.std[0]
    rows = [
        {round(value * std + mean) * 17 % 50 for value in each.x[:, 0].tolist()} for each in loaders
    ]
    assert rows == [set(range(32)), set(range(32, 40)), set(range(40, 50))]


def test_a_group_is_not_cut_and_is_no_input(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"patient": np.arange(60) // 3, "x": np.arange(60) * 7 % 60 + 0.5, "y": np.arange(60) % 2}
    )
    table.to_csv(tmp_path / "a.csv", index=False)
    module = guessed(path=str(tmp_path / "a.csv"), target="y", group="patient")
    assert module.in_shape == [1]
    module.setup("test")
    mean, std = module.reading.mean[0], module.reading.std[0]
    patients = [
        {round(v * std + mean - 0.5) * 43 % 60 // 3 for v in each.x[:, 0].tolist()}
        for each in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    ]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 20


def test_large_numbers_keep_their_differences(tmp_path: Path) -> None:
    table = pd.DataFrame({"t": 1.7e9 + np.arange(40.0) * 7 % 41, "y": np.arange(40) % 2})
    table.to_csv(tmp_path / "a.csv", index=False)
    module = guessed(path=str(tmp_path / "a.csv"), target="y")
    module.setup("fit")
    assert len(module.train_dataloader().x.unique()) == len(module.train_dataloader().x)


def test_a_reading_survives_json(people: str) -> None:
    module = guessed(path=people, target="class")
    module.setup("fit")
    reading = module.reading
    assert Reading.from_json(reading.to_json()) == reading
    assert reading.classes == ("old", "young")
    assert [Column.from_json(each).name for each in reading.columns] == ["age", "city", "fare"]


@pytest.mark.parametrize(
    ("text", "settings", "told"),
    [
        ("a,b\n1,2\n3,4\n", {"target": "c"}, r"data.target=c is no column of .*legal: a, b"),
        ("a,b\n1,2\n3,2\n4,2\n", {"target": "b"}, r"is 2 in all 3 examples"),
        ("a,b\n1,x\n3,y\n4,z\n", {"target": "b"}, r"another one in each of the 3 examples"),
        ("a,b\n1,2\n", {"target": "b"}, r"has 1 example; at least 2 are needed"),
        ("a,b\n", {"target": "b"}, r"has no examples"),
        ("", {"target": "b"}, r"cannot be read as CSV: No columns to parse"),
        ('a,b\n1,2\n"3,4\n', {"target": "b"}, r"cannot be read as CSV"),
        ("1,2\n3,4\n5,6\n", {"target": "b"}, r"its first row, 1, 2, …, is numbers"),
        ("b\n1\n2\n", {"target": "b"}, r"has no column beside b"),
        ("a,b\n1,2\n3,\n5,6\n", {"target": "b"}, r"has no value in 1 of 3 examples"),
        (
            "a,b\n" + "1,0\n2,1\n" * 10 + "twelve,1\n",
            {"target": "b"},
            r"column a has numbers, and 'twelve' in row 21; .* data.missing=\['twelve'\]",
        ),
        (
            "a,b,c\n" + "1,0,0\n2,1,0\n" * 10,
            {"target": "b", "drop": ["d"]},
            r"data.drop=d is no column",
        ),
        (
            "a,b,c\n" + "p,0,1\nq,3,2\np,4,2\nq,inf,1\nq,-inf,3\n" * 3,
            {"target": "a"},
            r"column b has infinite numbers",
        ),
        ("t,b\nx,0\ny,1\nz,0\nv,1\n", {"target": "b", "time": "t"}, r"has no column beside b, t|"),
        (
            "t,a,b\n" + "soon,1,0\nlate,2,1\n" * 9,
            {"target": "b", "time": "t"},
            r"data.time=t must be numbers or times",
        ),
        (
            "t,a,b\n" + ",1,0\n3,2,1\n" * 9,
            {"target": "b", "group": "t"},
            r"data.group=t has no value in 9 of 18",
        ),
    ],
)
def test_what_cannot_be_learnt_is_one_sentence(
    tmp_path: Path, text: str, settings: dict[str, Any], told: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        CsvFile(**COMMON, path=str(tmp_path / "a.csv"), **settings).guess("classes")


@pytest.mark.parametrize("changed", ["a.csv", "b.csv"])
def test_files_that_changed_are_refused(tmp_path: Path, changed: str) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("x,y\n" + "1,cat\n2,dog\n3,cat\n" * 5)
    settings = {"path": f"{tmp_path}/a.csv", "test_path": f"{tmp_path}/b.csv", "target": "y"}
    module = guessed("classes", **settings)
    module.prepare_data()
    os.utime(tmp_path / changed, (1, 1))  # what is in it is the same
    module.prepare_data()
    (tmp_path / changed).write_text("x,y\n" + "1,cat\n2,dog\n4,cat\n" * 5)
    with pytest.raises(DataError, match=r"a.csv has changed: its digest is .* or a new study"):
        module.prepare_data()
    CsvFile(**COMMON, **settings).prepare_data()


@pytest.mark.parametrize("settings", [{}, {"categorical": ["tags"]}, {"target": "tags"}])
def test_a_column_of_lists_is_one_sentence(tmp_path: Path, settings: dict[str, Any]) -> None:
    table = pd.DataFrame({"tags": [[1], [2, 3]] * 9, "y": [0, 1] * 9, "x": np.arange(18) / 7})
    table.to_parquet(tmp_path / "a.parquet")
    settings = {**COMMON, "path": f"{tmp_path}/a.parquet", "target": "y", **settings}
    with pytest.raises(DataError, match=r"column tags has a ndarray; .* data.drop=\[tags\] leaves"):
        ParquetFile(**settings).guess("classes")


def test_an_archive_that_is_damaged_is_one_sentence(tmp_path: Path) -> None:
    text = "a,b\n" + "".join(f"{n / 7},{n % 2}\n" for n in range(9000))
    whole = gzip.compress(text.encode())
    broken = bytearray(whole)
    broken[len(broken) // 2 :] = bytes(len(broken) - len(broken) // 2)
    for content in (whole[: len(whole) // 2], whole[:15], bytes(broken)):
        (tmp_path / "a.csv.gz").write_bytes(content)
        for separator in (None, ","):
            module = CsvFile(**COMMON, path=f"{tmp_path}/a.csv.gz", target="b", separator=separator)
            with pytest.raises(DataError, match=r"a.csv.gz cannot be read as CSV: "):
                module.guess(None)


def test_labels_of_the_test_that_training_never_saw_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "1,cat\n2,dog\n3,cat\n" * 5)
    (tmp_path / "b.csv").write_text("y,x\nfox,1\ncat,2\nfox,7\n")
    with pytest.raises(DataError, match=r"the test has classes that training never saw: 'fox' \(2"):
        guessed("classes", path=str(tmp_path / "a.csv"), test_path=f"{tmp_path}/b.csv", target="y")


def test_missing_values_may_have_a_text_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\n" + "1,5;0\n2,5;1\n?;1\n" * 10)
    module = guessed(
        path=str(tmp_path / "a.csv"),
        target="b",
        missing=["?"],
        decimal="comma",
        equal_inputs="apart",
    )
    module.setup("fit")
    assert module.in_shape == [2]
    assert len(module.train_dataloader().x.unique(dim=0)) == 3


def test_categories_and_classes_may_be_of_any_type(tmp_path: Path) -> None:
    day, price = datetime.date(2024, 1, 1), Decimal("1.50")
    table = pd.DataFrame(
        {
            "when": pd.to_datetime(["2024-01-01", "2024-01-02"] * 20),
            "price": [price, Decimal("2.25"), None, price] * 10,
            "day": [day, day + datetime.timedelta(days=1)] * 20,
        }
    )
    table.to_parquet(tmp_path / "a.parquet")
    settings = {**COMMON, "path": f"{tmp_path}/a.parquet", "target": "day"}
    settings |= {"categorical": ["when", "price"], "equal_inputs": "apart"}
    module = ParquetFile(**settings, **ParquetFile(**settings).guess("classes").settings)
    module.setup("fit")
    reading = Reading.from_json(module.reading.to_json())
    assert reading.classes == ("2024-01-01", "2024-01-02")
    assert [set(each["levels"]) for each in reading.columns] == [
        {"2024-01-01 00:00:00", "2024-01-02 00:00:00"},
        {"1.50", "2.25"},
    ]
    assert module.in_shape == [5]


def test_columns_may_be_called_by_numbers(tmp_path: Path) -> None:
    years = {str(year): np.random.default_rng(year).random(40) for year in range(2008, 2011)}
    table = pd.DataFrame({**years, "who": np.arange(40) // 2})
    table.to_csv(tmp_path / "a.csv", index=False)
    config = {
        **{"_target_": "nasrunner.data.own.tables.CsvFile", **COMMON},
        **{"path": str(tmp_path / "a.csv"), "target": 2010, "drop": [2008], "group": "who"},
    }
    data = construct(config, "data")
    assert data.guess("numbers").settings["in_shape"] == [1]
    assert data.target == "2010"
    several = construct({**config, "target": [2009, "2010"], "drop": []}, "data")
    assert several.guess("numbers").settings["num_outputs"] == 2
    with pytest.raises(
        DataError, match=r"data.target=2011 is no column of .*, did you mean '2010'"
    ):
        construct({**config, "target": 2011}, "data").guess("numbers")


def test_the_ranges_of_numbers_are_told(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": np.arange(40) % 7, "y": np.arange(40) % 9, "z": np.arange(40) * 30})
    table.to_csv(tmp_path / "a.csv", index=False)
    settings = {**COMMON, "path": str(tmp_path / "a.csv")}
    found = CsvFile(**settings, target=["y", "z"]).guess("numbers").told()
    assert re.search(r"targets 0 to 8, \d+ to \d+; in_shape", found)


def test_columns_are_no_tokens(people: str) -> None:
    settings = {**COMMON, "path": people, "target": "class"}
    assert guessed("classes", path=people, target="class", in_dtype="float32").in_shape == [6]
    with pytest.raises(
        ConfigError, match=r"data.in_dtype=int64 is of tokens, but a column .* null"
    ):
        CsvFile(**settings, in_dtype="int64")
    with pytest.raises(
        ConfigError, match=r"data.in_dtype={'age': 'int64'} is of tokens, but a col"
    ):
        CsvFile(**settings, in_dtype={"age": "int64"})
    with pytest.raises(ConfigError, match=r"data.vocabulary: CsvFile takes no 'vocabulary', legal"):
        construct(
            {"_target_": "nasrunner.data.own.tables.CsvFile", **settings, "vocabulary": 9}, "data"
        )


def test_group_and_time_do_not_go_together(people: str) -> None:
    with pytest.raises(ConfigError, match=r"data.group=city and data.time=age split in different"):
        CsvFile(**COMMON, path=people, target="class", group="city", time="age")


@pytest.mark.parametrize("key", ["target", "drop", "group", "time"])
def test_what_is_no_input_is_no_category(people: str, key: str) -> None:
    settings: dict[str, Any] = {"target": "class", key: ["city"] if key == "drop" else "city"}
    with pytest.raises(
        ConfigError, match=rf"data.categorical has city, .*: data.{key} has it, too"
    ):
        CsvFile(**COMMON, path=people, categorical=["city"], **settings).guess(None)


def test_folds_do_not_go_with_time(people: str) -> None:
    module = guessed(path=people, target="class", time="id", folds=3)
    with pytest.raises(ConfigError, match=r"legal: evaluation.folds=null"):
        module.setup("fit")


def test_targets_of_regression_are_float(people: str) -> None:
    module = guessed("numbers", path=people, target="fare")
    module.setup("fit")
    assert module.train_dataloader().y.dtype == torch.float32
