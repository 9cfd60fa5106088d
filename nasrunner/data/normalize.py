"""Normalization of inputs with the statistics of the examples that are trained on."""

from dataclasses import dataclass

import numpy as np
import torch

from nasrunner.core.errors import DataError

# N = number of examples, C = channels or features, ... = the other dimensions of an example

_CHUNK = 128
"""Examples taken at a time: float64 copies of so many images stay in the cache."""

_ROUNDING = 1e-12
"""A smaller standard deviation, relative to the mean, is the rounding of a constant."""


@dataclass(frozen=True)
class Normalization:
    """Subtracts a mean and divides by a standard deviation, one of each channel or feature.

    The statistics are computed in float64 by one thread, so that they, and with them a child's
    reward, do not depend on the number of threads.

    Attributes:
        mean: (C, 1, …), as wide as an example of C channels.
        std: the same shape; 1 where a channel is constant.
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> "Normalization":
        """Returns the statistics of examples (N, C, …).

        Raises:
            DataError: a channel has values that are not finite.
        """
        axes = (0, *range(2, x.ndim))
        num_values = x.size // x.shape[1]
        shape = (-1, *[1] * (x.ndim - 2))
        chunks = [x[start : start + _CHUNK] for start in range(0, len(x), _CHUNK)]
        mean = sum(chunk.sum(axes, dtype=np.float64) for chunk in chunks) / num_values
        if not np.isfinite(mean).all():
            raise DataError(
                "data: every value must be a finite number; channels or features with others: "
                f"{np.flatnonzero(~np.isfinite(mean)).tolist()}"
            )
        mean = mean.reshape(shape)
        variance = sum(np.square(chunk - mean).sum(axes) for chunk in chunks) / num_values
        std = np.sqrt(variance).reshape(shape)
        is_constant = std <= _ROUNDING * np.abs(mean)
        return cls(mean, np.where(is_constant, 1.0, std))

    def apply(self, x: np.ndarray) -> torch.Tensor:
        """Returns normalized copies of examples (N, C, …), as float32."""
        std = self.std.astype(np.float32)
        out = np.empty(x.shape, np.float32)
        for start in range(0, len(x), _CHUNK):
            chunk = out[start : start + _CHUNK]
            np.subtract(x[start : start + _CHUNK], self.mean, out=chunk, casting="same_kind")
            chunk /= std
        return torch.from_numpy(out)
