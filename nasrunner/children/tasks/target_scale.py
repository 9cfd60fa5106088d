"""Standardizes the numbers that a network learns to predict, and undoes it to what it predicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from nasrunner.core import DataError

# N = number of examples, B = batch, K = number of targets

TARGET_SCALE = "target_scale"
"""What a checkpoint has it under, beside the weights of the network."""

_ROUNDING = 1e-7
"""A smaller standard deviation, relative to the largest number, is float32's rounding."""


class TargetScale:
    """The centre and the scale of each target: its mean and standard deviation in training.

    A network trained on (target - mean) / std begins near the targets wherever these lie, and its
    loss counts targets of different units alike.

    Args:
        mean: of each target, K numbers.
        std: likewise, > 0; 1 where a target is constant.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean_K, self._std_K = torch.tensor(mean), torch.tensor(std)

    @classmethod
    def of(cls, targets_NK: torch.Tensor) -> "TargetScale":
        """Returns that of training targets, computed in float64 on the CPU.

        Raises:
            DataError: a target is not a finite number.
        """
        values_NK = targets_NK.detach().cpu().numpy().astype(np.float64)
        is_wrong_N = ~np.isfinite(values_NK).all(axis=1)
        if is_wrong_N.any():
            raise DataError(
                f"data: targets must be finite numbers, but {int(is_wrong_N.sum()):,} of the "
                f"{len(values_NK):,} training examples have others"
            )
        std_K = values_NK.std(axis=0)  # NumPy's sums do not depend on the number of threads
        is_constant_K = std_K <= _ROUNDING * np.abs(values_NK).max(axis=0)
        mean_K, std_K = values_NK.mean(axis=0), np.where(is_constant_K, 1.0, std_K)
        return cls(mean_K.tolist(), std_K.tolist())

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "TargetScale":
        """Reads what ``as_dict`` returned."""
        return cls(saved["mean"], saved["std"])

    def as_dict(self) -> dict[str, list[float]]:
        """Returns the numbers as plain values, for checkpoints and files."""
        return {"mean": self._mean_K.tolist(), "std": self._std_K.tolist()}

    def standardized(self, target_BK: torch.Tensor) -> torch.Tensor:
        """Returns targets as the network learns them: (target - mean) / std."""
        self._follow(target_BK)
        return (target_BK - self._mean_K) / self._std_K

    def in_units(self, predicted_BK: torch.Tensor) -> torch.Tensor:
        """Returns outputs of a network in the units of the targets: predicted * std + mean."""
        self._follow(predicted_BK)
        return predicted_BK * self._std_K + self._mean_K

    def _follow(self, values: torch.Tensor) -> None:
        """Moves the numbers to a batch's device, once."""
        if self._mean_K.device == values.device:
            return
        with torch.inference_mode(mode=False):  # a validation may come first, and then training
            self._mean_K = self._mean_K.to(values.device)
            self._std_K = self._std_K.to(values.device)
