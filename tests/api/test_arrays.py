"""Arrays in memory become a file that studies read, the same for the same arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import nasrunner
from nasrunner.api.arrays import saved
from nasrunner.core import ConfigError, DataError

X, Y = np.random.default_rng(0).normal(size=(60, 4)).astype("float32"), np.arange(60) % 3


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(data: Any) -> dict[str, np.ndarray]:
    with np.load(saved(data)["data.path"]) as file:
        return dict(file)


def test_they_are_read_as_they_were() -> None:
    found = read(((X, Y), (X[:5], Y[:5])))
    assert sorted(found) == ["x", "x_test", "y", "y_test"]
    np.testing.assert_array_equal(found["x"], X)
    np.testing.assert_array_equal(found["y_test"], Y[:5])
    tensors = read((torch.from_numpy(X), torch.from_numpy(Y)))
    np.testing.assert_array_equal(tensors["x"], X)
    settings = saved(({"a": X, "b": X[:, :2]}, Y))
    assert settings["data.inputs"] == ["a", "b"]


def test_a_column_of_text_is_text() -> None:
    labels = pd.Series(["a", "b", "c"] * 20, dtype=object)
    assert read((X, labels))["y"].tolist() == labels.tolist()


def test_a_file_is_called_by_what_is_in_it() -> None:
    first = saved((X, Y))["data.path"]
    assert saved((X.copy(), Y.copy()))["data.path"] == first
    others = [(X + 1, Y), (X, Y + 1), (X.reshape(60, 2, 2), Y), (X.astype("float64"), Y)]
    assert len({first, *(saved(each)["data.path"] for each in others)}) == 5
    assert len(list(Path("outputs/arrays").iterdir())) == 5, "and nothing unfinished is left"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X,), "data is a tuple of 1; legal is data="),
        ((X, Y, Y), "data is a tuple of 3"),
        (((X, Y), (X,)), "data holds a tuple of 1"),
        (([[1], [1, 2]], Y), "data: x is no array"),
        ((object(), Y), "data: x is object of object"),
        ((X, None), "data: y is NoneType"),
        ((X, np.array(["2020"] * 60, "datetime64[Y]")), "data: y is ndarray of datetime64"),
        ((torch.zeros(60, 2, dtype=torch.bfloat16), Y), "data: x is no array"),
    ],
    ids=range(8),
)
def test_what_are_no_arrays_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        saved(data)


def test_a_study_of_arrays_is_searched_and_resumed() -> None:
    space = {"concat": [{"affine": {"units": {"oneof": [4, 8]}}}, "relu",
                        {"affine": {"units": "${data.num_outputs}"}}]}  # fmt: skip
    settings: dict[str, Any] = {"searcher": "random", "executor": "serial", "tracker": "none"}
    study = nasrunner.search(space, (X, Y), **settings, max_children=1, trainer={"max_epochs": 1})
    assert (study.config["data"]["in_shape"], study.config["data"]["num_outputs"]) == ([4], 3)
    assert study.best.network()(torch.from_numpy(X[:2])).shape == (2, 3)
    assert len(nasrunner.resume(study.folder, ["max_children=2"])) == 2


def test_arrays_that_do_not_go_together_are_refused_before_training() -> None:
    with pytest.raises((ConfigError, DataError), match="x has 60 examples and y 59"):
        nasrunner.search("mlp", (X, Y[:59]), executor="serial", tracker="none")
