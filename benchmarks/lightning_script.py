"""The Lightning script that one would write to train a child: ``lightning_script.py FOLDER SPACE``.

The folder is a child's; its configuration, genotype and number of devices are taken from there.
Each epoch's end is a line of Unix seconds in the folder's ``script.txt``.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from children import shipped_space
from torch import nn
from torch.nn import functional

from nasrunner.compose.construct import construct
from nasrunner.data.cifar10 import pad_crop_flip


class Slices:
    """Batches of tensors on the device: this rank's part of each, in an order of all ranks."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, batch_size: int, pad: int | None) -> None:
        self.x, self.y, self.batch_size, self.pad = x, y, batch_size, pad
        self.rank, self.num_ranks, self.epoch = 0, 1, 0

    def __len__(self) -> int:
        return len(self.x) // self.batch_size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.epoch += 1
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(self.epoch))
        batches = torch.split(order.to(self.x.device), self.batch_size)
        for rows in batches[: len(self)]:
            part = rows.chunk(self.num_ranks)[self.rank]
            x = self.x[part] if self.pad is None else pad_crop_flip(self.x[part], self.pad)
            yield x.contiguous(memory_format=torch.channels_last), self.y[part]


class Images(pl.LightningDataModule):
    """The child's images on the device of its rank."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config

    def setup(self, stage: str) -> None:
        data = construct(self.config, "data")
        data.trainer = self.trainer
        data.setup(stage)
        data.trainer = None  # or it would give each rank its part
        self.train, (self.held_out,) = data.training_tensors(), list(data.val_dataloader())

    def train_dataloader(self) -> Slices:
        return self._slices(*self.train, self.config["batch_size"], self.config["pad"])

    def val_dataloader(self) -> Slices:
        return self._slices(*self.held_out, len(self.held_out[0]), None)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch

    def _slices(self, *arguments: Any) -> Slices:
        assert self.trainer is not None
        slices = Slices(*arguments)
        slices.rank, slices.num_ranks = self.trainer.global_rank, self.trainer.world_size
        return slices


class Classifier(pl.LightningModule):
    """Trains the network and logs its losses and accuracy."""

    def __init__(self, network: nn.Module, optimizer: dict[str, Any], times: Path) -> None:
        super().__init__()
        self.network, self.optimizer, self.times = network, optimizer, times

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = functional.cross_entropy(self.network(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        predicted = self.network(x)
        self.log("val_loss", functional.cross_entropy(predicted, y), sync_dist=True)
        accuracy = (predicted.argmax(dim=1) == y).float().mean()
        self.log("val_accuracy", accuracy, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        if self.trainer.is_global_zero:
            with self.times.open("a") as file:
                file.write(f"{time.time()}\n")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return construct(self.optimizer, "optimizer", self.parameters())  # type: ignore[no-any-return]


def main() -> None:
    """Trains the child."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a child's")
    parser.add_argument("space", help="the shipped space that the child is of")
    arguments = parser.parse_args()
    folder, space = arguments.folder, shipped_space(arguments.space)
    torch.set_num_threads(1)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    genotype = json.loads((folder / "proposal.json").read_text())["genotype"]
    network, _ = space.freeze(genotype).build(tuple(config["data"]["in_shape"]))
    settings = ("accelerator", "devices", "strategy", "precision", "max_epochs")
    trainer = pl.Trainer(
        **{name: config["trainer"][name] for name in settings},
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
    )
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # is legal
    classifier = Classifier(network, config["optimizer"], folder / "script.txt")
    trainer.fit(classifier, datamodule=Images(config["data"]))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
