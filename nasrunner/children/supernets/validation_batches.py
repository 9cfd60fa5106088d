"""Validation batches that a supernet's architecture learns from, without end."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from nasrunner.children.randomness import (
    RandomState,
    random_state,
    seed_generators,
    set_random_state,
)
from nasrunner.core import DataError

Batch = Any
"""Inputs (B, ...) and their targets, and third the weights of the examples, if they have any."""


class ValidationBatches:
    """Passes over the validation examples again and again, each in an order of its own.

    What a pass draws from global generators, such as its order, depends on the seed and on the
    number of the pass alone, and moves these generators for nobody else: the training batches are
    those that they would be without it.

    Args:
        one_pass: begins a pass.
        seed: of what the passes draw.
        device: whose generator a pass may draw from beside the CPU's.
    """

    def __init__(
        self, one_pass: Callable[[], Iterator[Batch]], seed: int, device: torch.device
    ) -> None:
        self.one_pass = one_pass
        self.seed = seed
        self.device = device
        self._num_passes = 0  # begun, the present one among them
        self._num_taken = 0  # batches of the present pass
        self._batches: Iterator[Batch] = iter(())
        self._random: RandomState | None = None  # of the present pass

    def __iter__(self) -> "ValidationBatches":
        return self

    def __next__(self) -> Batch:
        """Returns the next batch.

        Raises:
            DataError: there is none.
        """
        with self._own_generators():
            if (batch := next(self._batches, None)) is None:
                self._begin(self._num_passes + 1)
                if (batch := next(self._batches, None)) is None:
                    raise DataError(
                        "data: the architecture of a supernet learns from validation batches, and "
                        "the validation part has none"
                    )
            self._num_taken += 1
        return batch

    def state_dict(self) -> dict[str, int]:
        """Returns where it is."""
        return {"passes": self._num_passes, "taken": self._num_taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes where ``state_dict`` says: the batches before are made once more."""
        with self._own_generators():
            self._begin(state["passes"])
            for _ in range(state["taken"]):
                next(self._batches)
        self._num_taken = state["taken"]

    def close(self) -> None:
        """Ends the present pass: no worker of its loader is left."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def _begin(self, number: int) -> None:
        seed = np.random.SeedSequence([self.seed, number]).generate_state(1)[0]
        seed_generators(int(seed), self.device)
        self._num_passes, self._num_taken = number, 0
        self._batches = self.one_pass() if number else iter(())

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        """Has the global generators go on with the present pass, and puts them back after it."""
        others = random_state(self.device)
        if self._random is not None:
            set_random_state(self._random, self.device)
        try:
            yield
        finally:
            self._random = random_state(self.device)
            set_random_state(others, self.device)


def shuffled_validation(data: pl.LightningDataModule, *, augmented: bool) -> Any:
    """Returns the loader of a pass over the validation examples that the architecture learns from.

    Of several ranks each has its part of them, as Lightning would divide training examples.

    Args:
        data: has them.
        augmented: whether inputs are changed as those of training are, by data that know how.

    Raises:
        DataError: there is none, or more than one.
    """
    own = getattr(data, "shuffled_validation", None)
    if own is not None:
        is_told = "augmented" in inspect.signature(own).parameters
        return own(augmented=augmented) if is_told else own()
    if not is_overridden("val_dataloader", data):
        raise DataError(
            f"data: {type(data).__name__} has no val_dataloader, and the architecture of a "
            "supernet learns from validation batches"
        )
    loader = data.val_dataloader()
    if isinstance(loader, list | tuple | dict):
        raise DataError(
            f"data: {type(data).__name__} has {len(loader)} validation loaders, and the "
            "architecture of a supernet learns from one"
        )
    if type(loader) is not DataLoader or type(loader.sampler) is not SequentialSampler:
        return loader
    if type(loader.batch_sampler) is not BatchSampler:
        return loader
    batches = BatchSampler(
        _shuffled(loader.dataset, data.trainer),
        loader.batch_sampler.batch_size,
        drop_last=loader.batch_sampler.drop_last,
    )
    return DataLoader(
        loader.dataset,
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
    )


def _shuffled(examples: Any, trainer: pl.Trainer | None) -> Sampler[int]:
    """The order of a data set that was read in order, or this rank's part of it."""
    if trainer is None or trainer.world_size == 1:
        return RandomSampler(examples)
    seed = int(torch.randint(2**31, ()))  # the same on all ranks, see ``ValidationBatches``
    return DistributedSampler(examples, trainer.world_size, trainer.global_rank, seed=seed)
