"""Images of which each bright pixel is of class 1: a data set of a class of its own."""

import numpy as np

from nasrunner.data.tensors import Arrays, TensorDataModule


def masks(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8) and their masks (N, 8, 8)."""
    x = np.random.default_rng(count).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    return x, (x[:, 0] > 127).astype(np.int64)


class Masks(TensorDataModule):
    """Some of them."""

    def read_fit(self) -> Arrays:
        return masks(40)

    def read_test(self) -> Arrays:
        return masks(8)
