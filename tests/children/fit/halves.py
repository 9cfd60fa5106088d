"""The digits with two inputs by name: the left half as an image, the right one as a vector."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from nasrunner.data.digits import Digits

HALVES = {
    "_target_": "tests.children.fit.halves.Halves",
    "in_shape": {"left": [1, 8, 4], "right": [32]},
    "num_outputs": 10,
    "batch_size": 64,
    "eval_batch_size": 287,
    "drop_last": False,
    "validation_examples": 287,
    "split_seed": 0,
    "test_examples": 360,
}
OWN_HALVES = {
    "_target_": "tests.children.fit.halves.OwnHalves",
    "in_shape": HALVES["in_shape"],
    "num_outputs": 10,
    "batch_size": 64,
}
SPACE = {
    "concat": [
        {
            "fork": {
                "branches": [
                    {
                        "concat": [
                            {"input": "left"},
                            {"conv2d": {"filters": {"oneof": [4, 8]}, "kernel_size": 3}},
                            "relu",
                            "global_pool",
                            "flatten",
                        ]
                    },
                    {"concat": [{"input": "right"}, {"affine": {"units": 16}}, "relu"]},
                ],
                "merge": "concat",
            }
        },
        {"affine": {"units": 10}},
    ]
}


def halved(x):
    """The two inputs of some images (N, 1, 8, 8)."""
    return {"left": x[..., :4], "right": x[..., 4:].reshape(len(x), 32)}


@dataclass(kw_only=True, eq=False)
class Halves(Digits):
    """The halves in memory."""

    def read_fit(self):
        x, y = super().read_fit()
        return halved(x), y

    def read_test(self):
        x, y = super().read_test()
        return halved(x), y


@dataclass(kw_only=True, eq=False)
class HalvesAndTokens(Halves):
    """The right halves as they are: grey levels from 0 to 16, whole numbers."""

    def read_fit(self):
        x, y = super().read_fit()
        return {**x, "right": x["right"].astype(int)}, y


class Pairs(Dataset):
    """Examples one by one, as a user would have them for torch alone."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return {name: each[row] for name, each in self.x.items()}, self.y[row]


class OwnHalves(pl.LightningDataModule):
    """The halves, not normalized, in loaders of a user's own."""

    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def setup(self, stage):
        assert stage == "fit"
        arguments = {name: value for name, value in HALVES.items() if name != "_target_"}
        x, y = Halves(**arguments).read_fit()
        x = {name: torch.from_numpy(each / 16) for name, each in x.items()}
        first, last = slice(None, 1000), slice(1000, None)
        self.train, self.validation = (
            Pairs({name: each[part] for name, each in x.items()}, torch.from_numpy(y[part]))
            for part in (first, last)
        )

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.validation, 200)


class WeightedHalves(OwnHalves):
    """The same, each example with a weight."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return x, y, 1.0 + y


class NamelessHalves(OwnHalves):
    """The same under other names than the configuration has."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return {"left": x["left"], "rigth": x["right"]}, y


class HalfHalves(OwnHalves):
    """The right half alone, without a name."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return x["right"], y


class FlatHalves(OwnHalves):
    """The same with the image as a vector."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return {"left": x["left"].flatten(1), "right": x["right"]}, y


class TwoEyes(nn.Module):
    """A user's own network of two inputs, told their shapes by name."""

    def __init__(self, units, in_shape):
        super().__init__()
        assert type(in_shape) is dict
        (channels, height, width), (features,) = in_shape["left"], in_shape["right"]
        self.left = nn.Linear(channels * height * width, units)
        self.right = nn.Linear(features, units)

    def forward(self, x):
        assert set(x) == {"left", "right"}
        return torch.relu(self.left(x["left"].flatten(1)) + self.right(x["right"]))


class OfTokens(nn.Module):
    """A user's own network of an image and tokens."""

    def __init__(self, vocabulary, in_shape):
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, 4)

    def forward(self, x):
        return self.vectors(x["right"]).mean(1) + x["left"].mean((1, 2, 3))[:, None]
