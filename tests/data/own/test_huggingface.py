import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from datasets import Array2D, Array3D, ClassLabel, Dataset, DatasetDict, Features, List, Value
from PIL import Image

from nasrunner.core import ConfigError, DataError
from nasrunner.data.own.huggingface import DatasetFolder
from nasrunner.data.own.reading import Reading
from nasrunner.data.own.tables import ParquetFile

COMMON: dict[str, Any] = {
    "batch_size": 8,
    "eval_batch_size": 64,
    "drop_last": False,
    "split_seed": 0,
}

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a dataset, or several as splits, and returns its folder."""

    def written(found: Dataset | None = None, name: str = "own", **splits: Dataset) -> str:
        whole = DatasetDict(splits) if found is None else found
        whole.save_to_disk(str(tmp_path / name))
        return str(tmp_path / name)

    return written


def rows_of(num_rows: int = 40, seed: int = 0) -> Dataset:
    """Rows with a column of each kind, and the classes no and yes in turn."""
    rng = np.random.default_rng(seed)
    features = {
        "a": Value("float64"),
        "k": Value("string"),
        "label": ClassLabel(names=["no", "yes"]),
        "v": List(Value("int32"), length=4),
        "m": Array2D((3, 5), "float32"),
        "several": List(Value("float32"), length=2),
        "image": datasets.Image(),
    }
    rows = {
        "a": rng.random(num_rows),
        "k": rng.choice(["x", "y", "z"], num_rows),
        "label": np.arange(num_rows) % 2,
        "v": rng.integers(0, 9, (num_rows, 4)),
        "m": list(rng.random((num_rows, 3, 5)).astype(np.float32)),
        "several": rng.random((num_rows, 2)),
        "image": [
            Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
            for _ in range(num_rows)
        ],
    }
    return Dataset.from_dict(rows, features=Features(features))


def guessed(path: str, kind: Any = "classes", **settings: Any) -> DatasetFolder:
    settings = {**COMMON, "path": path, **settings}
    return DatasetFolder(**{**settings, **DatasetFolder(**settings).guess(kind).settings})


def told(path: str, kind: Any = "classes", **settings: Any) -> str:
    return DatasetFolder(**COMMON, path=path, **settings).guess(kind).told()


@pytest.mark.parametrize(
    ("settings", "kind", "in_shape", "num_outputs", "read_as"),
    [
        ({}, "classes", [3, 6, 5], 2, "images"),
        ({"size": [4, 4], "colours": "grey"}, "classes", [1, 4, 4], 2, "images"),
        ({"target": "a"}, "numbers", [3, 6, 5], 1, "images"),
        ({"inputs": "m"}, "classes", [3, 5], 2, "arrays"),
        ({"inputs": "m", "channels": "none"}, "classes", [1, 3, 5], 2, "arrays"),
        ({"inputs": "m", "target": "several"}, "numbers", [3, 5], 2, "arrays"),
        ({"inputs": ["v", "m"]}, "classes", {"v": [4], "m": [3, 5]}, 2, "arrays"),
        ({"drop": ["image", "m", "several"]}, "classes", [4], 2, "arrays"),
        ({"inputs": ["a", "k"]}, "classes", [4], 2, "table"),
        ({"inputs": ["a", "k"], "target": "several"}, "numbers", [4], 2, "table"),
        ({"inputs": ["k", "label"], "target": ["a", "b"]}, "numbers", [5], 2, "table"),
    ],
)
def test_what_columns_hold_says_what_the_data_are(
    write: Write,
    settings: dict[str, Any],
    kind: str,
    in_shape: Any,
    num_outputs: int,
    read_as: str,
) -> None:
    rows = rows_of().add_column("b", np.arange(40) % 7)
    module = guessed(write(rows), kind, **settings, equal_inputs="apart")
    assert (module.in_shape, module.num_outputs) == (in_shape, num_outputs)
    module.setup("test")
    assert len(module.test_dataloader().y) == 8
    reading = module.reading
    assert reading.kind == read_as
    assert Reading.from_json(reading.to_json()) == reading
    assert reading.classes == (("no", "yes") if kind == "classes" else None)


def test_what_was_guessed_and_left_out_is_told(write: Write) -> None:
    found = told(write(rows_of()))
    assert "40 examples, 8 of them for the test; inputs image, target label; images of 6×5" in found
    assert "columns left out: a, k, v, m, several; classes no 50%, yes 50%" in found


def test_a_table_is_what_the_same_rows_are_as_parquet(write: Write, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": np.where(rng.random(100) < 0.2, np.nan, rng.integers(1, 80, 100)),
            "city": rng.choice(["Rome", "Oslo", None], 100),
            "grade": rng.choice(["low", "high"], 100),
            "ok": rng.random(100) < 0.5,
            "when": pd.date_range("2024-01-01", periods=100).to_numpy()[rng.permutation(100)],
            "price": rng.random(100),
        }
    )
    table.to_parquet(tmp_path / "own.parquet", index=False)
    rows = Dataset.from_pandas(table).cast_column("grade", ClassLabel(names=["high", "low"]))
    settings = {**COMMON, "target": "price", "validation_examples": 0.2}
    parquet = ParquetFile(**settings, path=str(tmp_path / "own.parquet"))
    parquet = ParquetFile(
        **{**settings, **parquet.guess("numbers").settings}, path=str(tmp_path / "own.parquet")
    )
    folder = guessed(write(rows), "numbers", target="price")
    for module in (parquet, folder):
        module.setup("test")
    assert folder.reading.columns == parquet.reading.columns
    for part in ("train_dataloader", "val_dataloader", "test_dataloader"):
        own, other = getattr(folder, part)(), getattr(parquet, part)()
        assert own.x.equal(other.x)
        assert own.y.equal(other.y)


def test_splits_are_the_parts_that_they_are_called(write: Write) -> None:
    parts = {"train": rows_of(20, 1), "validation": rows_of(10, 2), "test": rows_of(6, 3)}
    path = write(**parts, unsupervised=rows_of(4, 4))
    module = guessed(path, "numbers", inputs="m", target="a")
    module.setup("test")
    loaders = (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    for rows, loader in zip(parts.values(), loaders, strict=True):
        np.testing.assert_allclose(loader.y[:, 0].numpy(), rows["a"], rtol=1e-6)
    found = told(path, "numbers", inputs="m", target="a")
    assert "split as the folder is: train 20, validation 10, test 6" in found
    assert "splits left out: unsupervised" in found
    folded = guessed(path, "numbers", inputs="m", target="a")
    folded.folds = 3
    folded.setup("fit")
    assert len(folded.val_dataloader().y) == 10
    assert not np.allclose(folded.val_dataloader().y[:, 0].numpy(), parts["validation"]["a"])


def test_where_there_is_no_split_a_fifth_is_drawn(write: Write) -> None:
    path = write(training=rows_of(50), testing=rows_of(6))
    module = guessed(path, inputs="m")
    module.setup("test")
    assert (len(module.val_dataloader().y), len(module.test_dataloader().y)) == (10, 6)
    module = guessed(path, inputs="m", validation_examples=7)
    module.setup("fit")
    assert len(module.val_dataloader().y) == 7
    alone = guessed(write(only=rows_of(50), name="alone"), inputs="m")
    alone.setup("test")
    assert (len(alone.val_dataloader().y), len(alone.test_dataloader().y)) == (8, 10)


def test_a_test_in_a_folder_of_its_own_is_the_test(write: Write) -> None:
    own, test = write(rows_of(40)), write(rows_of(6, 1), name="other")
    module = guessed(own, inputs="m", test_path=test)
    module.setup("test")
    np.testing.assert_array_equal(module.test_dataloader().y.numpy(), rows_of(6, 1)["label"])
    split = write(name="split", train=rows_of(40), test=rows_of(6))
    with pytest.raises(ConfigError, match=r"of which data.path=.*/split has a split, too; legal"):
        guessed(split, inputs="m", test_path=test)
    with pytest.raises(DataError, match=r"test_path=.*/split has the splits train, test; legal"):
        guessed(own, inputs="m", test_path=split)
    with pytest.raises(DataError, match=r"data.test_path=nowhere is missing"):
        guessed(own, inputs="m", test_path="nowhere")


def test_a_test_without_targets_is_left_out_and_told(write: Write) -> None:
    hidden = rows_of(6).remove_columns("label").add_column("label", [-1] * 6)
    hidden = hidden.cast_column("label", ClassLabel(names=["no", "yes"]))
    path = write(train=rows_of(40), test=hidden)
    assert "40 examples, 8 of them for the test" in told(path, inputs="m")
    assert "test has no targets and is left out" in told(path, inputs="m")


def test_tokens_are_a_column_of_one_length(write: Write) -> None:
    texts = [f"{word} number {n}" for n in range(30) for word in ("good", "bad")]
    rows = Dataset.from_dict({"text": texts, "label": [1, 0] * 30})
    rows = rows.cast_column("label", ClassLabel(names=["neg", "pos"]))
    path = write(rows)
    with pytest.raises(DataError, match=r"text has 48 different texts; .* data.inputs=input_ids"):
        told(path)
    ids = [[0, 3, n + 4] for n in range(60)]
    path = write(rows.add_column("input_ids", ids).add_column("mask", [[1] * 3] * 60), name="ids")
    with pytest.raises(DataError, match=r"arrays in input_ids, mask: data.inputs must say"):
        told(path)
    module = guessed(path, inputs="input_ids", in_dtype="int64")
    assert module.vocabulary == 64
    module.setup("fit")
    assert str(module.train_dataloader().x.dtype) == "torch.int64"
    with pytest.raises(DataError, match=r"vocabulary=9 needs tokens below it, but .* has 63"):
        told(path, inputs="input_ids", in_dtype="int64", vocabulary=9)
    several = guessed(path, inputs=["input_ids", "mask"], in_dtype={"input_ids": "int64"})
    assert several.vocabulary is None
    ragged = write(rows.add_column("input_ids", [[1] * (n % 3 + 1) for n in range(60)]), name="r")
    with pytest.raises(DataError, match=r"input_ids has examples of 1 to 3 numbers; legal .* pad"):
        told(ragged)


def test_bytes_of_images_are_images_with_their_channels_first(write: Write) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)
    features = Features({"x": Array3D((6, 5, 3), "uint8"), "y": Value("int64")})
    module = guessed(write(Dataset.from_dict({"x": x, "y": [0, 1, 2] * 10}, features=features)))
    assert module.in_shape == [3, 6, 5]
    assert np.array_equal(module.read().x, np.moveaxis(x, -1, 1))


def test_the_pixels_of_images_are_theirs(write: Write) -> None:
    rows = rows_of()
    x = guessed(write(rows)).read().x
    for read, image in zip(x, rows["image"], strict=True):
        assert np.array_equal(np.moveaxis(read, 0, -1), np.asarray(image))


def with_images(images: list[Any]) -> Dataset:
    features = Features({"image": datasets.Image(), "label": Value("string")})
    rows = {"image": images, "label": ["a", "b"] * (len(images) // 2)}
    return Dataset.from_dict(rows, features=features)


def test_images_that_cannot_be_learnt_from_are_named(write: Write, tmp_path: Path) -> None:
    images = rows_of()["image"][:]
    content = Path(tmp_path / "a.png")
    images[0].save(content)
    whole = content.read_bytes()
    for number, (broken, message) in enumerate(
        [
            (whole[: len(whole) // 2], r"image of row 4 of train is broken: .*; legal are whole"),
            (b"no image", r"image of row 4 of train is broken: cannot identify image file; legal"),
            (None, r"image of row 4 of train is missing; legal is an image in each row"),
        ]
    ):
        path = write(
            with_images([*images[:3], broken and {"bytes": broken}, *images[4:]]), name=f"{number}"
        )
        with pytest.raises(DataError, match=message):
            told(path)
    other = Image.new("RGB", (7, 9))
    path = write(with_images([*images[:39], other]), name="sizes")
    with pytest.raises(DataError, match=r"images of 2 sizes, 6×5 to 9×7; legal .* data.size=5"):
        told(path)
    assert guessed(path, size=5).in_shape == [3, 5, 5]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"target": "lable"}, DataError, r"target=lable is no column of .*, did you mean 'label'"),
        ({"inputs": "imag"}, DataError, r"data.inputs=imag is no column of .*, did you mean 'ima"),
        ({"inputs": "label"}, ConfigError, r"data.inputs has label, .*: data.target has it, too"),
        ({"inputs": ["a", "m"]}, DataError, r"are a value, m array; legal is one column of images"),
        ({"inputs": []}, DataError, r"data.inputs=\[\]; legal are columns of numbers"),
        ({"target": "image", "inputs": "m"}, DataError, r"data.target=image is of Image; legal"),
        ({"drop": ["image"]}, DataError, r"has arrays in v, m, several: data.inputs must say"),
        ({"drop": ["label"]}, DataError, r"data.target must say which is the target"),
        ({"group": "m"}, DataError, r"data.group=m is of Array2D; legal is a column of values"),
        ({"inputs": "m", "size": 4}, ConfigError, r"size=4 is of images, .* m, are arrays; legal"),
        ({"max_categories": 9}, ConfigError, r"max_categories=9 is of table, .* images; legal: 32"),
        ({"in_dtype": "int64"}, ConfigError, r"in_dtype=int64 is of arrays, .* images; legal: nul"),
        ({"categorical": ["a"]}, ConfigError, r"categorical=\['a'\] is of table, .* legal: \[\]"),
        (
            {"inputs": "k", "categorical": ["a"]},
            ConfigError,
            r"data.categorical has a, which is no input: data.inputs does not have it",
        ),
        ({"inputs": "m", "vocabulary": 9}, ConfigError, r"vocabulary=9 is of tokens, but"),
        ({"inputs": "m", "in_dtype": "int64"}, DataError, r"int64 needs whole numbers, .* float"),
        ({"in_dtype": "int32"}, ConfigError, r"in_dtype must be float32 or int64 or null, got 'in"),
        ({"size": [1, 2, 3]}, DataError, r"data.size must be \[rows, columns\], got \[1, 2, 3\]"),
        ({"target": "v", "inputs": "m"}, DataError, r"has \(4,\) numbers for each example"),
        ({"target": "a", "inputs": "m"}, DataError, r"data.target=a of .*: these are no classes"),
    ],
)
def test_settings_that_do_not_go_with_the_columns_are_refused(
    write: Write, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        told(write(rows_of()), **settings)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "label",
            ["same"] * 40,
            r"data.target=label of .* is same in all 40 examples: there is no",
        ),
        ("label", [f"{n}" for n in range(40)], r"is another one in each of the 40 examples"),
        ("label", ["a"] * 39 + [None], r"has no value in 1 of 40 examples"),
        ("when", [[{"x": 1}]] * 40, r"column when is of List of dict; legal .* data.drop=\[when\]"),
        ("when", [b"bytes"] * 40, r"column when is of binary; legal are numbers, categories"),
        ("when", ["1"] * 38 + ["?", "2"], r"column when has numbers, and '\?' in row 39"),
    ],
)
def test_columns_that_cannot_be_learnt_from_are_refused(
    write: Write, column: str, values: list[Any], message: str
) -> None:
    rows = {"x": list(range(40, 0, -1)), "label": ["a", "b"] * 20, column: values}
    with pytest.raises(DataError, match=message):
        told(write(Dataset.from_dict(rows)))


def test_classes_that_training_lacks_are_named(write: Write) -> None:
    rows = rows_of(40).cast_column("label", Value("int64"))
    more = rows.map(lambda row: {"label": row["label"] + 1})
    for split in ("test", "validation"):
        path = write(name=split, train=rows, **{split: more})
        with pytest.raises(DataError, match=rf"the {split} has classes that training never saw: 2"):
            told(path, inputs="m")


def test_what_a_split_says_is_not_drawn(write: Write) -> None:
    path = write(train=rows_of(40), validation=rows_of(10, 1), test=rows_of(10, 2))
    for settings, message in (
        ({"validation_examples": 5}, r"validation_examples=5 says .* has a split; legal: null"),
        ({"time": "a"}, r"data.time=a says which examples are for validation"),
        ({"test_examples": 5}, r"test_examples=5 holds out .* has 10 of its own; legal: null"),
    ):
        with pytest.raises(ConfigError, match=message):
            told(path, inputs="m", **settings)
    with pytest.raises(DataError, match=r"data.group=k: rows of . stand in train and in another"):
        told(path, inputs="m", group="k")
    apart = guessed(write(rows_of(40), name="one"), inputs="m", group="k", test_examples=0.3)
    apart.setup("test")


def test_splits_must_have_the_same_columns(write: Write) -> None:
    path = write(train=rows_of(40), test=rows_of(10).remove_columns("m"))
    with pytest.raises(DataError, match=r"test lacks the column 'm'; legal are the same columns"):
        told(path, inputs="m")
    path = write(name="b", train=rows_of(40), test=rows_of(10).rename_columns({"k": "m", "m": "k"}))
    with pytest.raises(DataError, match=r"m of test is of string, and of train Array2D; legal"):
        told(path, inputs="m")
    path = write(name="c", first=rows_of(), second=rows_of())
    with pytest.raises(DataError, match=r"has the splits first, second; legal .*, .*/c/first"):
        told(path)
    assert guessed(f"{path}/first").in_shape == [3, 6, 5]


def test_what_is_no_such_folder_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.path=.*/nowhere is missing, seen from"):
        told(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"is no folder that save_to_disk of datasets wrote; legal"):
        told(str(tmp_path))
    path = Path(write(rows_of()))
    (rows,) = path.glob("data-*.arrow")
    rows.write_bytes(rows.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"data.path=.*/own cannot be read: "):
        told(str(path))
    (path / "state.json").write_text("{")
    with pytest.raises(DataError, match=r"data.path=.*/own cannot be read: "):
        told(str(path))


def test_a_folder_that_changed_is_refused_and_results_of_map_are_no_change(write: Write) -> None:
    path = write(rows_of())
    module = guessed(path)
    shutil.copy(next(Path(path).glob("data-*.arrow")), Path(path) / "cache-0123.arrow")
    module.prepare_data()
    shutil.rmtree(path)
    write(rows_of(40, 1))
    with pytest.raises(DataError, match=r"own has changed: its digest is "):
        module.prepare_data()


def test_without_the_library_it_is_said_how_to_get_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(rows_of())
    monkeypatch.setitem(sys.modules, "datasets", None)
    wanted = re.escape("needs datasets: pip install 'nasrunner[huggingface]'")
    with pytest.raises(DataError, match=wanted):
        told(path)
