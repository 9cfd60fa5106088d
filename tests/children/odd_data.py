"""Data modules as strangers bring them: some can be trained on, the others are told apart."""

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from nasrunner.data.tensors import TensorDataModule
from tests.children.blobs import OwnBlobs, clouds


class Named(torch.utils.data.Dataset):
    """Examples with names."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return {"image": self.x[row], "label": self.y[row]}


class OddBlobs(OwnBlobs):
    """The clouds, given in some way that ``how`` names."""

    def __init__(self, how, **arguments):
        super().__init__(**arguments)
        self.how = how

    def given(self, x, y):
        match self.how:
            case "weights":
                return TensorDataset(x, y, torch.linspace(0, 2, len(x)))
            case "negative weights":
                return TensorDataset(x, y, torch.linspace(-1, 1, len(x)))
            case "dict":
                return Named(x, y)
            case "float64":
                return TensorDataset(x.double(), y)
            case "bytes":
                return TensorDataset(x.abs().to(torch.uint8), y)
            case "int32":
                return TensorDataset(x, y.int())
            case "column":
                return TensorDataset(x, y[:, None])
            case "from one":
                return TensorDataset(x, y + 1)
            case "late":  # the last examples alone have a class that there is not
                return TensorDataset(x, torch.where(torch.arange(len(y)) == len(y) - 1, 3, y))
            case "one-hot":
                return TensorDataset(x, torch.nn.functional.one_hot(y, 3).float())
            case "wide":
                return TensorDataset(torch.cat([x, x], dim=1), y)
            case "nan":
                return TensorDataset(
                    torch.where(torch.arange(len(x))[:, None] == 3, torch.nan, x), y
                )
            case "alone":
                return TensorDataset(x)

    def train_dataloader(self):
        return DataLoader(self.given(*self.train), self.batch_size)

    def val_dataloader(self):
        return DataLoader(self.given(*self.validation), 30)


class Unvalidated(pl.LightningDataModule):
    """Has nothing to validate on."""

    def __init__(self, in_shape, num_outputs, batch_size, is_regression):
        super().__init__()
        self.examples = clouds(tuple(in_shape), num_outputs, is_regression)
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(TensorDataset(*self.examples), self.batch_size)


class EmptyValidation(Unvalidated):
    """Has a loader of validation batches, and none of these."""

    def val_dataloader(self):
        return DataLoader(TensorDataset(*(each[:0] for each in self.examples)), self.batch_size)


class TornDown(OwnBlobs):
    """Writes down when it is set up and torn down."""

    def __init__(self, log, **arguments):
        super().__init__(**arguments)
        self.log = log

    def setup(self, stage):
        super().setup(stage)
        self.write(f"setup {stage}\n")

    def teardown(self, stage):
        self.write(f"teardown {stage.value}\n")

    def write(self, line):
        with open(self.log, "a") as log:
            log.write(line)


class Remembering(OwnBlobs):
    """Shuffles with a generator of its own, which goes on from epoch to epoch."""

    level = 0

    def setup(self, stage):
        super().setup(stage)
        self.generator = torch.Generator().manual_seed(5)

    def train_dataloader(self):
        examples = TensorDataset(*self.train)
        return DataLoader(examples, self.batch_size, shuffle=True, generator=self.generator)


class Curriculum(pl.Callback):
    """Makes the data harder from epoch to epoch, and writes down what the data says of it."""

    def __init__(self, path):
        self.path = path

    def on_train_epoch_start(self, trainer, pl_module):
        trainer.datamodule.level = trainer.current_epoch
        with open(self.path, "a") as log:
            log.write(f"{trainer.datamodule.data.level}\n")


class ShortFolds(OwnBlobs):
    """Has nothing in its third fold."""

    def __init__(self, fold=0, folds=None, **given):
        super().__init__(**given)
        self.fold = fold

    def setup(self, stage):
        if self.fold == 2:
            raise ValueError("nothing in fold 2")
        super().setup(stage)


class Uncounted(OwnBlobs):
    """A stream of batches that does not say how many it has."""

    def train_dataloader(self):
        x, y = self.train
        return (list(pair) for pair in zip(x.split(16), y.split(16), strict=True))


class SeveralValidations(OwnBlobs):
    """Validates on two data sets."""

    def val_dataloader(self):
        return [super(SeveralValidations, self).val_dataloader() for _ in range(2)]


class Converting(OddBlobs):
    """Makes of its batches what a child needs, where Lightning asks for that."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, y = batch
        return x.float(), y.long().flatten()


class LateValidation(OwnBlobs):
    """The last of its validation examples alone has a class that there is not."""

    def val_dataloader(self):
        x, y = self.validation
        last = torch.arange(len(y)) == len(y) - 1
        return DataLoader(TensorDataset(x, torch.where(last, 3, y)), 10)


class ListedValidation(OwnBlobs):
    """Validates on a list of one data set, in several batches."""

    def val_dataloader(self):
        return [DataLoader(TensorDataset(*self.validation), 10)]


class NoLoader(OwnBlobs):
    """Forgets to return its loader."""

    def train_dataloader(self):
        super().train_dataloader()


class Tensors(TensorDataModule):
    """Gives tensors where arrays are usual."""

    def read_fit(self):
        return clouds(tuple(self.in_shape), self.num_outputs, is_regression=False)

    def read_test(self):
        x, y = clouds(tuple(self.in_shape), self.num_outputs, is_regression=False)
        return np.asarray(x), y
