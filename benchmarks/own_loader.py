"""Children whose data comes from a user's DataLoader with workers, beside a plain Lightning fit.

    OMP_NUM_THREADS=1 python benchmarks/own_loader.py [--rounds 3]

Both train the same MLP on the same random points in turns: Lightning in this process, and a child
in a warm worker of ``executor=local``. Prints seconds, their ratio, and the processes that a child
leaves behind.
"""

import argparse
import contextlib
import logging
import statistics
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # a dependency of distributed, no types
import pytorch_lightning as pl
import torch
from children import configured, trainer_of
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from nasrunner.core import OneByOne, Outcome, Proposal, Train
from nasrunner.executors.local import LocalExecutor
from nasrunner.spaces.language.parsing import parse_space

EPOCHS = 3
SPACE = {"concat": [{"affine": {"units": 64}}, "relu", {"affine": {"units": 4}}]}


class Points(pl.LightningDataModule):
    """Random points in four classes: 5,000 to train on and 1,000 to validate."""

    def __init__(
        self, in_shape: list[int], num_outputs: int, batch_size: int, num_workers: int
    ) -> None:
        super().__init__()
        self.in_shape, self.num_outputs = in_shape, num_outputs
        self.batch_size, self.num_workers = batch_size, num_workers

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(6000, *self.in_shape, generator=generator)
        y = x[:, : self.num_outputs].argmax(dim=1)
        self.train = TensorDataset(x[:5000], y[:5000])
        self.validation = TensorDataset(x[5000:], y[5000:])

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.validation, shuffle=False)

    def _loader(self, examples: Any, *, shuffle: bool) -> DataLoader[Any]:
        return DataLoader(
            examples,
            self.batch_size,
            shuffle=shuffle,
            num_workers=self.num_workers,
            persistent_workers=True,
        )


DATA = {
    "_target_": "own_loader.Points",
    "in_shape": [20],
    "num_outputs": 4,
    "batch_size": 50,
    "num_workers": 2,
}


class Plain(pl.LightningModule):
    """The same network, as a user would write it for Lightning."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3, fused=True)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return functional.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        predicted = self.network(batch[0])
        accuracy = (predicted.argmax(dim=1) == batch[1]).float().mean()
        self.log_dict({"loss": functional.cross_entropy(predicted, batch[1]), "accuracy": accuracy})


class Counted:
    """Trains a child and counts the processes that are left of it."""

    def __init__(self, train: Train) -> None:
        self.train = train

    def __call__(self, proposal: Proposal) -> Outcome:
        before = len(psutil.Process().children(recursive=True))
        (outcome,) = self.train([proposal])
        left = len(psutil.Process().children(recursive=True)) - before
        return replace(outcome, metrics={**outcome.metrics, "left": left})


def plain() -> float:
    """Seconds of Lightning's own fit."""
    start_s = time.perf_counter()
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = {name: value for name, value in DATA.items() if name != "_target_"}
    trainer.fit(Plain(), datamodule=Points(**data))  # type: ignore[arg-type]
    return time.perf_counter() - start_s


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    overrides = (f"trainer.max_epochs={EPOCHS}", "trainer.accelerator=cpu")
    config = {**configured("+optimizer=adam", *overrides), "data": DATA}
    executor = LocalExecutor(
        workers=1,
        threads_per_worker=1,
        memory_limit_gb=None,
        retries=0,
        gpus=[],
        workers_per_gpu=None,
        gpus_per_worker=1,
        preload=["nasrunner.children.fit.training"],
    )
    ratios = []
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(executor):
        train = Counted(trainer_of(parse_space(SPACE), config).task(Path(folder), 0))
        for index in range(rounds + 1):
            executor.submit(OneByOne(train), [Proposal(index, {})], [Path(folder)])
            while not (outcomes := executor.wait()):
                pass
            (outcome,) = outcomes
            assert outcome.status == "completed", outcome.error
            lightning_s = plain()
            if index == 0:
                continue  # the first of each imports and connects
            ratios.append(outcome.cost_s / lightning_s)
            print(
                f"Lightning {lightning_s:.2f} s, child {outcome.cost_s:.2f} s, "
                f"ratio {ratios[-1]:.2f}, processes left {outcome.metrics['left']:.0f}"
            )
    print(f"median ratio {statistics.median(ratios):.2f} (goal 1.2)")


if __name__ == "__main__":
    main()
