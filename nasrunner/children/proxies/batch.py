"""The batch that all children of a study are scored on, and the loss that they have on it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nasrunner.children.fit.batches import BatchCheck, batches_of
from nasrunner.children.fit.loading import load_data
from nasrunner.children.inputs import Inputs
from nasrunner.children.proxies.sample import Loss
from nasrunner.children.settings.arguments import make_trainer
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.tasks.tasks import make_task
from nasrunner.core import ConfigError, DataError
from nasrunner.core.shapes import each_input

_SILENT = {
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""Arguments of Lightning's Trainer, which says where a batch goes and does nothing else here."""


@dataclass(frozen=True)
class FirstBatch:
    """The first training batch of a data module, where networks are scored.

    Attributes:
        x: its inputs; numbers are in single precision.
        loss: the task's loss of what is predicted for it.
        device: where it lies.
    """

    x: Inputs
    loss: Loss
    device: torch.device


def first_batch(
    config: Config, seed: int, construct: Construct, batch_size: int | None = None
) -> FirstBatch:
    """Loads the first batch of training examples, as a training that begins would see it.

    It depends on the data's configuration and the study's seed alone, so that networks are scored
    on equal batches. Augmentation is part of it.

    Args:
        config: the child's configuration.
        seed: the study's seed. All global generators are seeded with it.
        construct: builds data module and task.
        batch_size: examples of the batch; None: ``data.batch_size``.

    Raises:
        ConfigError: the data cannot give so many.
        DataError: they cannot be loaded, or are not what a child needs.
    """
    settings = sized(config["data"], batch_size)
    task = make_task(config, construct)
    accelerator = config["trainer"].get("accelerator", "auto")
    trainer = make_trainer({**_SILENT, "accelerator": accelerator}, Path(), construct, [])
    device = trainer.strategy.root_device
    try:
        data = load_data(settings, trainer, seed, construct)
    except ConfigError as error:
        if batch_size is None:
            raise
        text = f"trainer.batch_size={batch_size} takes the place of data.batch_size: {error}"
        raise ConfigError(text) from error
    task.learn_from(data)
    try:
        with batches_of(data.train_dataloader()) as batches:
            batch: Any = next(batches, None)
        if batch is None:
            raise DataError(f"data: {type(data).__name__} has no training batch")
        batch = data.on_before_batch_transfer(batch, 0)
        batch = data.transfer_batch_to_device(batch, device, 0)
        batch = data.on_after_batch_transfer(batch, 0)
    finally:
        data.trainer = None
    BatchCheck.of(config, task, data)(batch)
    x, target, *weights_B = batch
    if batch_size is not None and len(target) != batch_size:
        raise ConfigError(
            f"trainer.batch_size={batch_size} is not what {type(data).__name__} gives, whose first "
            f"batch has {len(target)} examples; legal is what it has, or null: data.batch_size"
        )
    loss: Loss = functools.partial(_loss, task, target)
    if weights_B:
        loss = functools.partial(_weighted, task, target, weights_B[0])
    return FirstBatch(each_input(x, _single), loss, device)


def sized(data: Mapping[str, Any], batch_size: int | None) -> dict[str, Any]:
    """Returns the ``data`` part of a configuration with batches of this size.

    Raises:
        ConfigError: it has no ``batch_size``.
    """
    if batch_size is None:
        return dict(data)
    if "batch_size" not in data:
        raise ConfigError(
            f"trainer.batch_size={batch_size} takes the place of data.batch_size, which "
            f"{data.get('_target_')} has not; legal: null"
        )
    return {**data, "batch_size": batch_size}


def _single(part: torch.Tensor) -> torch.Tensor:
    return part.float() if part.dtype.is_floating_point else part


def _loss(task: Any, target: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = task.loss(predicted, target)
    return loss


def _weighted(
    task: Any, target: torch.Tensor, weights_B: torch.Tensor, predicted: torch.Tensor
) -> torch.Tensor:
    loss: torch.Tensor = task.weighted_loss(predicted, target, weights_B)
    return loss
