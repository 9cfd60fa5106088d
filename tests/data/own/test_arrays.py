from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris

from nasrunner.core import ConfigError, DataError
from nasrunner.data.own.arrays import ArrayFile
from nasrunner.data.own.reading import Reading

COMMON: dict[str, Any] = {
    "batch_size": 8,
    "eval_batch_size": 64,
    "drop_last": False,
    "validation_examples": 0.2,
    "split_seed": 0,
}


def write(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def iris(tmp_path: Path) -> str:
    found = load_iris()
    return write(tmp_path / "iris.npz", x=found.data, y=found.target_names[found.target])


def guessed(**settings: Any) -> ArrayFile:
    kind = settings.pop("task", None)
    settings = {**COMMON, **settings}
    found = ArrayFile(**settings).guess(kind).settings
    return ArrayFile(**{**settings, **found})


def test_iris_is_known_for_what_it_is(iris: str) -> None:
    found = ArrayFile(**COMMON, path=iris).guess("classes")
    expected = {"in_shape": [4], "num_outputs": 3, "target_kind": "classes"}
    assert found.settings.items() >= expected.items()
    assert "150 examples, 30 of them for the test" in found.told()
    assert "setosa 33%" in found.told()


def test_each_part_has_a_third_of_each_class_and_none_of_the_others_examples(iris: str) -> None:
    module = guessed(path=iris)
    module.setup("test")
    loaders = module.train_dataloader(), module.val_dataloader(), module.test_dataloader()
    assert [len(each.y) for each in loaders] == [96, 24, 30]
    seen: set[tuple[float, ...]] = set()
    for each in loaders:
        counts = torch.bincount(each.y)
        assert counts.max() - counts.min() <= 2  # equal irises stay together
        rows = {tuple(row) for row in each.x.tolist()}
        assert not rows & seen
        seen |= rows


def test_a_reading_tells_classes_and_statistics_and_survives_json(iris: str) -> None:
    module = guessed(path=iris)
    module.setup("fit")
    reading = module.reading
    assert reading.classes == ("setosa", "versicolor", "virginica")
    x = load_iris().data
    raw = (module.train_dataloader().x.double() * torch.tensor(reading.std)) + torch.tensor(
        reading.mean
    )
    rows = {tuple(row) for row in np.round(raw.numpy(), 3).tolist()}
    assert rows <= {tuple(row) for row in np.round(x, 3).tolist()}
    assert Reading.from_json(reading.to_json()) == reading


@pytest.mark.parametrize("form", ["pt", "safetensors"])
def test_other_files_hold_the_same(tmp_path: Path, form: str) -> None:
    found = load_diabetes()
    x, y = torch.tensor(found.data), torch.tensor(found.target)
    path = tmp_path / f"diabetes.{form}"
    if form == "pt":
        torch.save((x, y), path)
    else:
        pytest.importorskip("safetensors.torch").save_file({"x": x, "y": y}, path)
    module = guessed(path=str(path), task="numbers")
    assert (module.in_shape, module.num_outputs) == ([10], 1)
    module.setup("fit")
    assert module.train_dataloader().y.dtype == torch.float32


def test_arrays_called_train_and_test_are_these_parts(tmp_path: Path) -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    path = write(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:6] + 100, y_test=y[:6])
    module = guessed(path=path)
    module.setup("test")
    assert len(module.test_dataloader().y) == 6
    with pytest.raises(ConfigError, match=r"data.test_examples=0.5 .* has 6 of its own"):
        guessed(path=path, test_examples=0.5)


@pytest.mark.parametrize(
    ("shape", "dtype", "in_shape"),
    [
        ((30, 8, 8), np.uint8, [1, 8, 8]),  # grey images
        ((30, 8, 9, 3), np.uint8, [3, 8, 9]),
        ((30, 3, 8, 9), np.uint8, [3, 8, 9]),
        ((30, 6, 64), np.float32, [6, 64]),  # signals
    ],
)
def test_channels_are_found(
    tmp_path: Path, shape: tuple[int, ...], dtype: type, in_shape: list[int]
) -> None:
    x = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    assert guessed(path=write(tmp_path / "a.npz", x=x, y=np.arange(30) % 3)).in_shape == in_shape


def test_several_inputs_are_known_by_their_names(tmp_path: Path) -> None:
    x = {"image": np.zeros((20, 1, 4, 4)), "table": np.arange(60.0).reshape(20, 3)}
    path = write(tmp_path / "a.npz", **x, y=np.arange(20) % 2)
    module = guessed(path=path, inputs=["image", "table"])
    assert module.in_shape == {"image": [1, 4, 4], "table": [3]}
    module.setup("fit")
    batch, _ = next(iter(module.train_dataloader()))
    assert {name: tuple(each.shape) for name, each in batch.items()} == {
        "image": (8, 1, 4, 4),
        "table": (8, 3),
    }
    assert set(module.reading.mean) == {"image", "table"}


def test_a_reading_of_tokens_has_no_statistics(tmp_path: Path) -> None:
    x, y = np.arange(120).reshape(40, 3) % 7, np.arange(40) % 2
    module = guessed(path=write(tmp_path / "a.npz", x=x, y=y), in_dtype="int64")
    module.setup("fit")
    reading = Reading.from_json(module.state_dict()["reading"])
    assert reading == module.reading
    assert (reading.mean, reading.std) == (None, None)


def test_a_vocabulary_is_all_tokens_there_are(tmp_path: Path) -> None:
    x, y = np.arange(120).reshape(40, 3) % 7, np.arange(40) % 2
    settings = {**COMMON, "path": write(tmp_path / "a.npz", x=x, y=y), "in_dtype": "int64"}
    assert ArrayFile(**settings).guess(None).settings["vocabulary"] == 7
    assert ArrayFile(**settings, vocabulary=9).guess(None).settings["vocabulary"] == 9
    with pytest.raises(DataError, match=r"data.vocabulary=6 needs tokens .* has 6; legal are 7"):
        ArrayFile(**settings, vocabulary=6).guess(None)
    write(tmp_path / "a.npz", x=x - 1, y=y)
    with pytest.raises(DataError, match=r"data.in_dtype=int64 needs tokens from 0 on, .* has -1"):
        ArrayFile(**settings).guess(None)


def test_a_vocabulary_is_of_all_inputs_that_are_tokens(tmp_path: Path) -> None:
    arrays = {"a": np.arange(40) % 7, "b": np.arange(40) % 5, "y": np.arange(40) % 2}
    arrays |= {name: arrays[name][:, None].repeat(3, axis=1) for name in "ab"}
    settings: dict[str, Any] = {"inputs": ["a", "b"], "in_dtype": {"a": "int64", "b": "int64"}}
    settings |= {**COMMON, "path": write(tmp_path / "a.npz", **arrays)}
    found = ArrayFile(**settings, vocabulary=7).guess("classes").settings
    assert found["vocabulary"] == 7
    assert "vocabulary" not in ArrayFile(**settings).guess("classes").settings
    with pytest.raises(DataError, match=r"data.vocabulary=6 needs tokens .* has 6; legal are 7"):
        ArrayFile(**settings, vocabulary=6).guess("classes")


def test_a_type_that_there_is_not_is_refused(iris: str) -> None:
    with pytest.raises(
        ConfigError, match=r"data.in_dtype must be float32 or int64 or null, got 'i"
    ):
        ArrayFile(**COMMON, path=iris, in_dtype="int32")


def test_numbers_have_no_vocabulary(iris: str) -> None:
    with pytest.raises(ConfigError, match=r"data.vocabulary=9 is of tokens, .* data.in_dtype="):
        ArrayFile(**COMMON, path=iris, vocabulary=9)


def test_a_group_is_not_cut(tmp_path: Path) -> None:
    groups = np.arange(60) // 3
    path = write(
        tmp_path / "a.npz", x=np.arange(60.0)[:, None], y=np.arange(60) % 2, patient=groups
    )
    module = guessed(path=path, groups="patient", inputs="x")
    module.setup("test")
    std, mean = module.reading.std, module.reading.mean
    parts = [
        {round(value * std[0] + mean[0]) // 3 for value in each.x[:, 0].tolist()}
        for each in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20


X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2


@pytest.mark.parametrize(
    ("arrays", "kind", "told"),
    [
        ({"x": X}, "classes", r"data.targets must say which are the targets"),
        ({"a": X, "b": X, "y": Y}, "classes", r"data.inputs must say which are the inputs"),
        (
            {"x": X, "y": Y[:5]},
            "classes",
            r"x has 20 examples and y 5 examples; they must have the same length",
        ),
        (
            {"x_train": X, "x_test": X[:9], "y_train": Y[:15], "y_test": Y[:14]},
            "classes",
            r"x_train has 20 examples, and 9 for the test and y_train 15 examples, and 14 for the",
        ),
        (
            {"x_train": X, "y_train": Y[:15], "y_test": Y[:5]},
            "classes",
            r"x_train has 20 examples and y_train 15 examples, and 5 for the test; they must",
        ),
        ({"x": X[:1], "y": Y[:1]}, "classes", r"has 1 example; at least 2"),
        ({"x": X, "y": Y * 0}, "classes", r"is 0 in all 20 examples: there is nothing to learn"),
        ({"x": X, "y": Y * 0.0}, "numbers", r"is 0.0 in all 20 examples"),
        ({"x": X, "y": np.arange(20)}, "classes", r"another one in each of the 20 examples"),
        ({"x": X, "y": np.arange(20)}, "numbers", r"numbers the examples, 0 to 19"),
        ({"x": X, "y": X[:, 0] / 7}, "classes", r"20 different numbers, .* legal: task=regression"),
        ({"x": X, "y": np.array(["a", "b"])[Y]}, "numbers", r"'a', which is no number"),
        ({"x": np.array(["a", "b"])[Y], "y": Y}, "classes", r"x holds <U1 such as 'a'; legal are"),
        (
            {"x": X, "y": np.zeros((20, 4, 4), int)},
            None,
            r"own files have no masks; legal are",
        ),
        ({"x": X, "y": np.where(Y, np.nan, 1.0)}, "classes", r"no value in 10 of 20 examples"),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
            "classes",
            r"classes that training never saw: 2 \(10\)",
        ),
    ],
)
def test_what_cannot_be_learnt_is_one_sentence(
    tmp_path: Path, arrays: dict[str, np.ndarray], kind: Any, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        ArrayFile(**COMMON, path=write(tmp_path / "a.npz", **arrays)).guess(kind)


@pytest.mark.parametrize("y", [np.arange(300) % 60, np.arange(300) % 60 / 7])
def test_numbers_are_classes_if_the_user_says_so(tmp_path: Path, y: np.ndarray) -> None:
    path = write(tmp_path / "a.npz", x=np.arange(300.0)[:, None], y=y)
    with pytest.raises(
        DataError, match=r"60 different numbers.*legal: .* data.target_kind=classes"
    ):
        ArrayFile(**COMMON, path=path).guess("classes")
    module = guessed(path=path, task="classes", target_kind="classes")
    module.setup("fit")
    assert module.num_outputs == 60
    assert module.reading.classes == tuple(np.unique(y).tolist())


def test_a_file_that_is_damaged_or_of_another_form_is_one_sentence(tmp_path: Path) -> None:
    for name, text in (("a.npz", "no archive"), ("a.pt", "no"), ("a.mat", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=r"cannot be read as arrays|must end in one of .npz"):
            ArrayFile(**COMMON, path=str(tmp_path / name)).guess(None)
    with pytest.raises(DataError, match=r"gone.npz is missing"):
        ArrayFile(**COMMON, path=str(tmp_path / "gone.npz")).guess(None)


def test_an_archive_that_is_damaged_is_one_sentence(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).random((500, 9)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[100:400] = bytes(300)
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as arrays"):
        ArrayFile(**COMMON, path=str(tmp_path / "a.npz")).guess(None)


def test_pickled_objects_are_not_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}, {}], dtype=object), y=np.arange(2))
    with pytest.raises(DataError, match=r"cannot be read as arrays"):
        ArrayFile(**COMMON, path=str(tmp_path / "a.npz")).guess(None)


def test_a_class_that_training_would_not_see_is_named(tmp_path: Path) -> None:
    y = np.array([0] * 20 + [1] * 20 + [2])
    path = write(tmp_path / "a.npz", x=np.arange(41.0)[:, None], y=y)
    module = guessed(path=path, test_examples=1, validation_examples=0.5)
    with pytest.raises(DataError, match=r"of class 2, which has 1 of 40 examples, none is in"):
        module.setup("fit")


def test_what_the_user_says_of_targets_must_go_with_the_task(iris: str) -> None:
    with pytest.raises(ConfigError, match=r"data.target_kind=classes does not go with the task"):
        ArrayFile(**COMMON, path=iris, target_kind="classes").guess("numbers")
