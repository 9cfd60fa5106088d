from pathlib import Path

import numpy as np
import pytest

from nasrunner.core import ConfigError, DataError
from nasrunner.data.wine_quality import HEADER, MD5, SOURCE, WineFile, WineQuality
from tests.data.conftest import files_of


def wine(root: Path, **changes: object) -> WineQuality:
    settings = {
        "in_shape": [12],
        "num_outputs": 3,
        "batch_size": 32,
        "eval_batch_size": 2048,
        "drop_last": False,
        "validation_examples": 0.2,
        "split_seed": 0,
        "equal_inputs": "together",
        "root": str(root),
        "colour": "both",
        "target": "class",
        "class_edges": [5, 6],
        "test_examples": 0.2,
        **changes,
    }
    return WineQuality(**settings)  # type: ignore[arg-type]


def whole(module: WineQuality) -> tuple[np.ndarray, np.ndarray]:
    (x, y), (test_x, test_y) = module.read_fit(), module.read_test()
    return np.concatenate([x, test_x]), np.concatenate([y, test_y])


def test_three_classes_have_the_sizes_that_the_quality_counts_give() -> None:
    """red {3:10, 4:53, 5:681, 6:638, 7:199, 8:18}; white {3:20, 4:163, 5:1457, 6:2198, ...}."""
    root = files_of("wine_quality")
    assert np.bincount(whole(wine(root, colour="red"))[1]).tolist() == [744, 638, 217]
    assert np.bincount(whole(wine(root, colour="white"))[1]).tolist() == [1640, 2198, 1060]
    assert np.bincount(whole(wine(root))[1]).tolist() == [2384, 2836, 1277]


def rows_of(module: WineQuality) -> list[list[bytes]]:
    """Each row's measurements, of the training, validation and test part."""
    module.setup("test")
    loaders = (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    return [[row.numpy().tobytes() for row in loader.x] for loader in loaders]


@pytest.mark.parametrize("target", ["class", "quality"])
@pytest.mark.parametrize("split_seed", [0, 1, 2])
def test_no_row_that_is_measured_stands_in_training(target: str, split_seed: int) -> None:
    settings: dict[str, object] = {"target": target, "split_seed": split_seed}
    if target == "quality":
        settings |= {"num_outputs": 1, "class_edges": None}
    train, validation, test = rows_of(wine(files_of("wine_quality"), **settings))
    assert not set(validation) & set(train)
    assert not set(test) & {*train, *validation}
    assert [len(train), len(validation), len(test)] == [4158, 1040, 1299]


def test_apart_a_quarter_of_what_is_measured_stands_in_training() -> None:
    train, validation, test = rows_of(wine(files_of("wine_quality"), equal_inputs="apart"))
    trained = set(train)
    assert round(100 * sum(row in trained for row in validation) / len(validation)) == 23
    trained |= set(validation)
    assert round(100 * sum(row in trained for row in test) / len(test)) == 30


def test_each_mark_and_class_keeps_its_share_though_rows_stay_together() -> None:
    module = wine(files_of("wine_quality"))
    (_, y), (_, test_y) = module.read_fit(), module.read_test()
    exact = np.bincount(np.concatenate([y, test_y])) / 5
    assert np.abs(np.bincount(test_y) - exact).max() < 2
    module.setup("fit")
    validation = module.val_dataloader().y.bincount().numpy()
    assert np.abs(validation - np.bincount(y) / 5).max() < 1


def test_the_colour_is_an_input_where_both_are_read() -> None:
    root = files_of("wine_quality")
    x, _ = whole(wine(root))
    assert x.shape == (6497, 12)
    assert x[:, 11].sum() == 4898
    x, _ = whole(wine(root, colour="red"))
    assert x.shape == (1599, 11)
    first = [7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4]
    assert (x == first).all(1).any()


def test_quality_is_a_column_of_floats_for_regression() -> None:
    module = wine(files_of("wine_quality"), target="quality", num_outputs=1, class_edges=None)
    module.prepare_data()
    module.setup("test")
    y = module.test_dataloader().y
    assert y.shape == (1299, 1)
    assert set(y.unique().tolist()) <= {3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}


def test_one_colour_has_eleven_inputs_and_the_error_says_so() -> None:
    module = wine(files_of("wine_quality"), colour="red")
    with pytest.raises(DataError, match=r"data.in_shape must be \[11\], .*got \[12\]"):
        module.setup("fit")


def test_a_missing_colour_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"winequality-red.csv is missing.*{MD5['red']}.*uci.edu"):
        wine(tmp_path).prepare_data()


ROW = "7.4;0.7;0;1.9;0.076;11;34;0.9978;3.51;0.56;9.4;5"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "its header must be .*got ''"),
        (HEADER.replace(";", ","), "its header must be"),
        (f"{HEADER}\n{ROW}", "it must have 2 rows, got 1"),
        (f"{HEADER}\n{ROW}\n7.4;0.7", "is damaged: .*columns changed from 12 to 2"),
        (f"{HEADER}\n{ROW}\n{ROW.replace('7.4', 'x')}", "is damaged: could not convert"),
        (f"{HEADER}\n{ROW}\n{ROW}", "has another checksum"),
    ],
)
def test_a_damaged_table_says_what_is_wrong(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "wine.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        WineFile(tmp_path / "wine.csv", MD5["red"], SOURCE, num_rows=2).verify()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_edges": [6, 5]}, "data.class_edges must be increasing numbers, got"),
        ({"class_edges": None}, "data.class_edges must be increasing numbers, got None"),
    ],
)
def test_an_impossible_setting_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wine(Path("data"), **changes)
