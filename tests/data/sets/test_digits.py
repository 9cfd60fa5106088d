import numpy as np
import pytest
from sklearn.datasets import load_digits

from nasrunner.core import ConfigError
from nasrunner.data.digits import Digits


def digits(**changes: object) -> Digits:
    settings = {
        "in_shape": [1, 8, 8],
        "num_outputs": 10,
        "batch_size": 32,
        "eval_batch_size": 512,
        "drop_last": False,
        "validation_examples": 287,
        "split_seed": 0,
        "test_examples": 360,
        **changes,
    }
    return Digits(**settings)  # type: ignore[arg-type]


def test_every_digit_is_in_one_part_and_each_class_keeps_its_share() -> None:
    module = digits()
    (x, y), (test_x, test_y) = module.read_fit(), module.read_test()
    whole_x, whole_y = load_digits(return_X_y=True)
    parts = np.concatenate([x, test_x]).reshape(1797, 64)
    labels = np.concatenate([y, test_y])
    order = np.lexsort([labels, *parts.T])
    whole_order = np.lexsort([whole_y, *whole_x.T])
    np.testing.assert_array_equal(parts[order], whole_x[whole_order])
    np.testing.assert_array_equal(labels[order], whole_y[whole_order])
    assert len(test_y) == 360
    assert set(np.bincount(test_y)) <= {34, 35, 36, 37}


def test_the_shipped_split_is_1150_287_360() -> None:
    module = digits()
    module.setup("test")
    loaders = (module.train_dataloader(), module.val_dataloader(), module.test_dataloader())
    assert [len(loader.x) for loader in loaders] == [1150, 287, 360]
    assert len(loaders[0]) == 36


def test_an_impossible_test_part_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.test_examples must be .* from 1 to 1,796 or"):
        digits(test_examples=1797).setup("fit")
