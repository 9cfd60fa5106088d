"""What Lightning is given of a data module that was set up once for all children of a process."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden

from nasrunner.children.settings import Construct
from nasrunner.core import ConfigError, DataError

_KEPT: dict[tuple[Any, ...], pl.LightningDataModule] = {}
"""The last data module this process set up, by what it depends on."""


def load_data(
    config: Mapping[str, Any],
    trainer: pl.Trainer | None,
    seed: int,
    construct: Construct,
    *,
    joins_validation: bool = False,
) -> pl.LightningDataModule:
    """The data module of a configuration, its files checked and its training examples loaded.

    It is kept for the next child of this process. Its random draws, if it makes any, are seeded
    with the study's seed: every child of a study sees the same split.

    Args:
        config: the ``data`` part of the child's configuration.
        trainer: whose device the data module may use; None: the CPU.
        seed: the study's seed. All global generators are seeded with it where data is loaded.
        construct: builds the data module.
        joins_validation: whether the validation examples are trained on, too.

    Raises:
        ConfigError: the data module cannot join them.
        DataError: a file is missing or damaged, or the examples are not what ``config`` says.
    """
    device = "cpu" if trainer is None else str(trainer.strategy.root_device)
    text = json.dumps(config, sort_keys=True, default=repr)
    identity = (text, device, seed, construct, joins_validation)
    if identity not in _KEPT:
        _KEPT.clear()
        pl.seed_everything(seed, workers=True, verbose=False)
        data = make_data(config, construct)
        if joins_validation:
            join_validation(data)
        data.trainer = trainer
        data.prepare_data()
        data.setup("fit")
        _KEPT[identity] = data
    return _KEPT[identity]


def make_data(config: Mapping[str, Any], construct: Construct) -> pl.LightningDataModule:
    """The data module of a configuration; nothing is loaded.

    Raises:
        DataError: it is no LightningDataModule.
    """
    data = construct(config, "data")
    if not isinstance(data, pl.LightningDataModule):
        raise DataError(
            f"data._target_ must name a LightningDataModule, got {config.get('_target_')}"
        )
    return data


def join_validation(data: pl.LightningDataModule) -> None:
    """Makes the validation examples part of the training part of a data module.

    Raises:
        ConfigError: it has no ``join_validation``; see ``TensorDataModule`` for one that has.
    """
    join = getattr(data, "join_validation", None)
    if join is None:
        raise ConfigError(
            f"on=train_and_validation: {type(data).__name__} has no join_validation(), which makes "
            "its validation examples part of the training part; legal without it: on=train"
        )
    join()


class LoadedData(pl.LightningDataModule):
    """Stands in for a data module that is set up already, so that Lightning does not repeat it.

    Args:
        data: the data module.
        is_fast: whether an epoch's training batches are handed over together.
    """

    def __init__(self, data: pl.LightningDataModule, *, is_fast: bool) -> None:
        super().__init__()
        self.data = data
        self.is_fast = is_fast

    def train_dataloader(self) -> Any:
        loader = self._attached().train_dataloader()
        return WholeEpochs(loader, self._moves()) if self.is_fast else loader

    def val_dataloader(self) -> Any:
        return self._attached().val_dataloader()

    def test_dataloader(self) -> Any:
        return self._attached().test_dataloader()

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, Epoch):
            return batch
        return self.data.on_before_batch_transfer(batch, dataloader_idx)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        if isinstance(batch, Epoch):
            return batch
        return self.data.transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, Epoch):
            return batch
        return self.data.on_after_batch_transfer(batch, dataloader_idx)

    def _attached(self) -> pl.LightningDataModule:
        self.data.trainer = self.trainer
        return self.data

    def _moves(self) -> list[Callable[[Any], Any]]:
        """What is done to each batch of an epoch: the hooks that the data module really has."""
        assert self.trainer is not None
        data, device = self.data, self.trainer.strategy.root_device
        moves: list[Callable[[Any], Any]] = []
        if is_overridden("on_before_batch_transfer", data):
            moves.append(lambda batch: data.on_before_batch_transfer(batch, 0))
        if is_overridden("transfer_batch_to_device", data):
            moves.append(lambda batch: data.transfer_batch_to_device(batch, device, 0))
        else:
            moves.append(lambda batch: [part.to(device, non_blocking=True) for part in batch])
        if is_overridden("on_after_batch_transfer", data):
            moves.append(lambda batch: data.on_after_batch_transfer(batch, 0))
        return moves


class WholeEpochs:
    """A data loader with one element: the epoch that another data loader gives."""

    def __init__(self, loader: Iterable[Any], moves: list[Callable[[Any], Any]]) -> None:
        self.epoch = Epoch(loader, moves)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator["Epoch"]:
        yield self.epoch


class Epoch:
    """All batches of one pass over a data loader, made while they are iterated over."""

    def __init__(self, loader: Iterable[Any], moves: list[Callable[[Any], Any]]) -> None:
        self.loader = loader
        self.moves = moves

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            for move in self.moves:
                batch = move(batch)
            yield batch
