"""What Lightning is given of a child's data module."""

from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden

from nasrunner.children.fit.batches import batches_of
from nasrunner.children.settings.arguments import is_fast
from nasrunner.children.settings.length import Length
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.supernets.validation_batches import shuffled_validation
from nasrunner.core import ConfigError, DataError


def load_data(
    config: Mapping[str, Any],
    trainer: pl.Trainer | None,
    seed: int,
    construct: Construct,
    *,
    joins_validation: bool = False,
) -> pl.LightningDataModule:
    """Returns the data module of a configuration, its files checked and its training examples
    loaded.

    Each child has a new one, as each fit of Lightning's would: what it draws or remembers does not
    pass from child to child. Data sets in memory share their tensors. Its random draws, if it makes
    any, are seeded with the study's seed: every child of a study sees the same split.

    Args:
        config: the ``data`` part of the child's configuration.
        trainer: whose device the data module may use; None: the CPU.
        seed: the study's seed. All global generators are seeded with it.
        construct: builds the data module.
        joins_validation: whether the validation examples are trained on, too.

    Raises:
        ConfigError: the data module cannot join them.
        DataError: a file is missing or damaged, or the examples are not what ``config`` says.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    data = make_data(config, construct)
    if joins_validation:
        join_validation(data)
    data.trainer = trainer
    data.prepare_data()
    data.setup("fit")
    return data


def make_data(config: Mapping[str, Any], construct: Construct) -> pl.LightningDataModule:
    """Returns the data module of a configuration; nothing is loaded.

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


def prepared(
    config: Config,
    trainer: pl.Trainer,
    seed: int,
    construct: Construct,
    joins_validation: bool,
) -> "LoadedData":
    """Returns what Lightning is given of a child's data: loaded already where the child has one
    device.

    With several devices each rank loads it once all of them have started, see ``RankData``.

    Args:
        config: the child's configuration.
        trainer: of this rank.
        seed: the study's seed.
        construct: builds the data module.
        joins_validation: whether the validation examples are trained on, too.

    Raises:
        ConfigError: as of ``load_data``.
        DataError: as of ``load_data``.
    """
    if trainer.world_size > 1:
        per_device: bool = config["trainer"]["batch_size_per_device"]
        data = make_data(config["data"], construct)
        return RankData(data, seed, per_device=per_device).attach(trainer)
    data = load_data(config["data"], trainer, seed, construct, joins_validation=joins_validation)
    is_epochwise = is_in_memory(data) and is_fast(config["trainer"], trainer)
    return LoadedData(data, is_fast=is_epochwise).attach(trainer)


def is_in_memory(data: pl.LightningDataModule) -> bool:
    """Tells whether training batches are our own slices of tensors, with no loader of a user's.

    Only then does an epoch's order not depend on what Lightning does with its loader: samplers,
    workers and their seeds.
    """
    return type(data).train_dataloader.__module__.startswith("nasrunner.data.")


class LoadedData(pl.LightningDataModule):
    """Stands in for a data module that is set up already, so that Lightning does not repeat it.

    Args:
        data: the data module.
        is_fast: whether an epoch's training batches are handed over together.
    """

    def __init__(self, data: pl.LightningDataModule, *, is_fast: bool) -> None:
        super().__init__()
        self.is_fast = is_fast
        self.prepare_data_per_node = data.prepare_data_per_node
        zero_length = data.allow_zero_length_dataloader_with_multiple_devices
        self.allow_zero_length_dataloader_with_multiple_devices = zero_length
        self.data = data  # last: from now on attributes are those of the data module

    def attach(self, trainer: pl.Trainer) -> "LoadedData":
        """Tells a trainer what the data module has not, which this one seems to have."""
        if not is_overridden("val_dataloader", self.data):
            trainer.limit_val_batches = 0
        return self

    def num_batches_in_a_step(self, trainer: pl.Trainer) -> int:
        """Returns how many times ``data.batch_size`` examples a step of the optimizer takes."""
        return int(trainer.accumulate_grad_batches)

    def __getattr__(self, name: str) -> Any:
        """Shows callbacks what the data module itself has: ``trainer.datamodule`` is this one."""
        if name == "data":
            raise AttributeError(name)
        return getattr(self.data, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Lets callbacks change what the data module itself has."""
        data = self.__dict__.get("data")
        if data is not None and name != "trainer" and name not in self.__dict__:
            setattr(data, name, value)
        else:
            super().__setattr__(name, value)

    def length(self, trainer: pl.Trainer) -> Length:
        """Returns how long a training that Lightning has begun will be."""
        fit_loop = trainer.fit_loop
        fit_loop.setup_data()  # as ``Trainer.estimated_stepping_batches`` does
        num_batches: float = trainer.num_training_batches
        if self.is_fast:
            assert fit_loop._combined_loader is not None
            (whole,) = fit_loop._combined_loader.flattened
            num_batches = whole.num_batches
        return Length.of(trainer, num_batches)

    def training_batches(self, trainer: pl.Trainer) -> Generator[Any, None, None]:
        """Yields the training batches of an epoch, on a trainer's device, without training."""
        self.trainer = trainer
        loader = self._attached().train_dataloader()
        with batches_of(loader) as batches:
            yield from Epoch(batches, self._moves())

    def validation_pass(
        self, trainer: pl.Trainer, *, augmented: bool
    ) -> Generator[Any, None, None]:
        """Yields validation batches, on a trainer's device, for the architecture of a supernet.

        They are of all validation examples: ``trainer.limit_val_batches`` is about validations.
        Data that have ``shuffled_validation``, as ``TensorDataModule`` has, say which. Those of a
        ``DataLoader`` that would give all examples in order are shuffled, and any others come as
        their loader gives them.

        Args:
            trainer: whose device they are for.
            augmented: as of ``shuffled_validation``.

        Raises:
            DataError: there is no validation loader, or more than one.
        """
        self.trainer = trainer
        data = self._attached()
        loader = shuffled_validation(data, augmented=augmented)
        convert = trainer.precision_plugin.convert_input
        with batches_of(loader) as batches:
            yield from Epoch(map(convert, batches), self._moves())

    def train_dataloader(self) -> Any:
        loader = self._attached().train_dataloader()
        trainer: Any = self.trainer
        if trainer.overfit_batches and is_in_memory(self.data):
            loader.is_shuffled = False  # as Lightning does with a DataLoader
        return WholeEpochs(loader, self._moves()) if self.is_fast else loader

    def val_dataloader(self) -> Any:
        return self._attached().val_dataloader()

    def test_dataloader(self) -> Any:
        return self._attached().test_dataloader()

    def teardown(self, stage: str) -> None:
        self._attached().teardown(stage)

    def state_dict(self) -> dict[str, Any]:
        return self.data.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.data.load_state_dict(state_dict)

    def on_exception(self, exception: BaseException) -> None:
        self._attached().on_exception(exception)

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


class RankData(LoadedData):
    """A data module as one rank of several uses it: Lightning sets it up once all have started.

    One that has ``divide_batches``, as ``TensorDataModule`` has, gives each rank its part of
    every batch. Lightning gives each rank batches of its own of others: ``data.batch_size`` is of
    each device then, and ``DistributedSampler`` repeats examples so that all have as many.

    Args:
        data: the data module, not set up.
        seed: the study's seed: the same random split on every rank.
        per_device: whether ``data.batch_size`` is of each device.
    """

    def __init__(self, data: pl.LightningDataModule, seed: int, *, per_device: bool) -> None:
        divide = getattr(data, "divide_batches", None)
        self.seed = seed
        self.is_per_device = per_device or divide is None
        super().__init__(data, is_fast=False)
        if divide is not None:
            divide(per_device=per_device)

    def num_batches_in_a_step(self, trainer: pl.Trainer) -> int:
        num_ranks = trainer.world_size if self.is_per_device else 1
        return num_ranks * super().num_batches_in_a_step(trainer)

    def prepare_data(self) -> None:
        self._attached().prepare_data()

    def setup(self, stage: str) -> None:
        pl.seed_everything(self.seed, workers=True, verbose=False)
        self._attached().setup(stage)


class WholeEpochs:
    """A data loader with one element: the epoch that another data loader gives."""

    def __init__(self, loader: Any, moves: list[Callable[[Any], Any]]) -> None:
        self.epoch = Epoch(loader, moves)

    @property
    def num_batches(self) -> int:
        """Batches of the epoch."""
        return len(self.epoch.loader)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator["Epoch"]:
        yield self.epoch


class Epoch:
    """All batches of one pass over a data loader, made while they are iterated over."""

    def __init__(self, loader: Any, moves: list[Callable[[Any], Any]]) -> None:
        self.loader = loader
        self.moves = moves

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            for move in self.moves:
                batch = move(batch)
            yield batch
