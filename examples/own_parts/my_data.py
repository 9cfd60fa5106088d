"""Data of your own: a LightningDataModule as any, and one over arrays, which is less to write."""

from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from nasrunner.data.tensors import Arrays, TensorDataModule

# N = number of examples


class Stripes(pl.LightningDataModule):
    """Images (1, 12, 12) of stripes that lie or stand, in noise. Batches are (inputs, targets).

    Args:
        batch_size: examples a batch.
        num_examples: for training; a quarter as many are for validation, and for the test.
    """

    def __init__(self, batch_size: int, num_examples: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_examples = num_examples
        self._with_validation = False

    def join_validation(self) -> None:
        """Makes the validation examples part of the training examples, for nasrunner-retrain."""
        self._with_validation = True

    def setup(self, stage: str) -> None:
        count = self.num_examples
        x, y = stripes(count + count // 2, seed=0)
        part = count // 4
        self.validation = TensorDataset(x[:part], y[:part])
        self.test = TensorDataset(x[part : 2 * part], y[part : 2 * part])
        first = 0 if self._with_validation else part
        train = torch.cat([torch.arange(first, part), torch.arange(2 * part, len(x))])
        self.train = TensorDataset(x[train], y[train])

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.validation, self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.test, self.batch_size)


def stripes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns images (N, 1, 12, 12) and their classes (N,): 0 where stripes lie, 1 where not."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=generator)
    lines = torch.randint(2, (count, 1, 12, 1), generator=generator).float()
    x = torch.where(y[:, None, None, None] == 0, lines, lines.mT).expand(-1, -1, 12, 12)
    return x + 0.5 * torch.randn(count, 1, 12, 12, generator=generator), y


@dataclass(kw_only=True, eq=False)
class Spirals(TensorDataModule):
    """Two spirals in the plane: in_shape [2], num_outputs 2.

    Args:
        noise: standard deviation of the points around their spiral.
    """

    noise: float

    def read_fit(self) -> Arrays:
        return spirals(400, self.noise, seed=0)

    def read_test(self) -> Arrays:
        return spirals(100, self.noise, seed=1)


def spirals(count: int, noise: float, seed: int) -> Arrays:
    """Returns points (N, 2) and their spirals (N,)."""
    rng = np.random.default_rng(seed)
    y_N = np.arange(count) % 2
    turn_N = rng.uniform(0.5, 4, count)
    angle_N = turn_N * np.pi / 2 + y_N * np.pi
    x_N2 = turn_N[:, None] * np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1)
    return (x_N2 + rng.normal(0, noise, x_N2.shape)).astype(np.float32), y_N
