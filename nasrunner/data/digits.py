"""Handwritten digits bundled with scikit-learn: nothing to download."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasrunner.data.split import Examples, count_of, hold_out
from nasrunner.data.tensors import Arrays, TensorDataModule

# N = number of examples, C = channels, H, W = height and width


@dataclass(kw_only=True, eq=False)
class Digits(TensorDataModule):
    """1,797 images of 8x8 pixels with values 0 to 16, ten classes of about 180 each.

    The test part of the UCI data set "Optical Recognition of Handwritten Digits" (Alpaydin &
    Kaynak 1998), as ``sklearn.datasets.load_digits`` has it. It has no split of its own.

    Args:
        test_examples: how many are held out for the test, or their share; drawn so that each
            class keeps its share.
    """

    test_examples: Examples

    def read_fit(self) -> Arrays:
        return self._read()[0]

    def read_test(self) -> Arrays:
        return self._read()[1]

    def _read(self) -> tuple[Arrays, Arrays]:
        table_NF = np.loadtxt(_bundled_file(), delimiter=",", dtype=np.float32)
        x_NCHW, y_N = table_NF[:, :-1].reshape(-1, 1, 8, 8), table_NF[:, -1].astype(np.int64)
        num_test = count_of("test_examples", self.test_examples, len(y_N))
        groups_N = self.groups_of(x_NCHW)
        rows, test_rows = hold_out(y_N, num_test, self.split_seed, groups_N)
        return (x_NCHW[rows], y_N[rows]), (x_NCHW[test_rows], y_N[test_rows])


def _bundled_file() -> Path:
    """The file in scikit-learn's package; importing scikit-learn takes a second a process."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
