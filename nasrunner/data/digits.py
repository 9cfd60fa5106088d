"""Handwritten digits bundled with scikit-learn: nothing to download."""

from dataclasses import dataclass

import numpy as np

from nasrunner.data.split import count_of, hold_out
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

    test_examples: int | float

    def read_fit(self) -> Arrays:
        return self._read()[0]

    def read_test(self) -> Arrays:
        return self._read()[1]

    def _read(self) -> tuple[Arrays, Arrays]:
        from sklearn.datasets import load_digits  # half a second, and only digits needs it

        x_NF, y_N = load_digits(return_X_y=True)
        x_NCHW = x_NF.astype(np.float32).reshape(-1, 1, 8, 8)
        num_test = count_of("test_examples", self.test_examples, len(y_N))
        rows, test_rows = hold_out(y_N, num_test, self.split_seed)
        return (x_NCHW[rows], y_N[rows]), (x_NCHW[test_rows], y_N[test_rows])
