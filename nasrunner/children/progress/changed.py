"""Goes on with a training under other hyperparameters, as population based training does."""

import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nasrunner.children.progress.continuing import SavedProgress, class_of
from nasrunner.children.settings.scheduling import Interval

_WATCHED = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
"""What a plateau's scheduler has found out, beside what it was configured with."""

_OF_ANY_STATE = ("params", "lr", "initial_lr")
"""What of a group's options does not change what is kept of its parameters."""


class NewSettings(pl.Callback):
    """Makes a proposal's hyperparameters win over those of the checkpoint that it goes on from.

    torch's ``load_state_dict`` would bring the old ones back. So optimizer and scheduler stay as
    they were configured; the scheduler takes as many steps as a training with these settings
    would have taken by now, and the optimizer gets the state of each parameter, as momentum,
    where its class is the same; what an option of it needs that had none before, as ``amsgrad``,
    is there as at the beginning of a training. Where a plateau's scheduler had lowered the learning
    rate it is lowered by the same factor.

    Args:
        progress: what the training goes on from.
        interval: when the scheduler is stepped.
    """

    def __init__(self, progress: SavedProgress, interval: Interval) -> None:
        self.progress = progress
        self.interval = interval
        self._optimizer: Mapping[str, Any] = {}
        self._scheduler: Mapping[str, Any] = {}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        (self._optimizer,) = checkpoint["optimizer_states"]
        (self._scheduler,) = checkpoint["lr_schedulers"]
        checkpoint["optimizer_states"], checkpoint["lr_schedulers"] = [], []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (optimizer,), (config,) = trainer.optimizers, trainer.lr_scheduler_configs
        if self.progress.optimizer == class_of(optimizer):
            own = optimizer.state_dict()
            optimizer.load_state_dict({**own, "state": self._optimizer["state"]})
            _complete(optimizer, self._optimizer["param_groups"])
        if isinstance(config.scheduler, ReduceLROnPlateau):
            self._lower(config.scheduler)
        else:
            _step(config.scheduler, self._num_steps(trainer))

    def _num_steps(self, trainer: pl.Trainer) -> int:
        """How often the scheduler was stepped by now, had there been these settings before."""
        if self.interval == "epoch":
            return trainer.current_epoch
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set while it trains
        per_epoch: int | None = data.length(trainer).batches_per_epoch
        if per_epoch is None:
            return trainer.global_step
        return trainer.current_epoch * math.ceil(per_epoch / trainer.accumulate_grad_batches)

    def _lower(self, scheduler: ReduceLROnPlateau) -> None:
        """Gives a plateau's scheduler what one of the same metric has found out before."""
        before, now = self._scheduler, scheduler.state_dict()
        watched = ("monitor", "mode")
        if any(before.get(name) != now.get(name) for name in watched) or "best" not in before:
            return
        scheduler.load_state_dict({**now, **{name: before[name] for name in _WATCHED}})
        groups = scheduler.optimizer.param_groups
        earlier = self._optimizer["param_groups"]
        for place, (group, old) in enumerate(zip(groups, earlier, strict=True)):
            factor = old["lr"] / self.progress.rates[place]
            group["lr"] = max(group["lr"] * factor, scheduler.min_lrs[place])


def _complete(optimizer: Optimizer, earlier: Sequence[Mapping[str, Any]]) -> None:
    """Adds to the state of each parameter what its optimizer was not configured to keep before.

    torch makes it where a parameter has no state at all, and fails where it has only a part.

    Args:
        optimizer: with the state of before.
        earlier: its groups of then, with their options.
    """
    for group, before in zip(optimizer.param_groups, earlier, strict=True):
        options = {name: value for name, value in group.items() if name not in _OF_ANY_STATE}
        if all(before.get(name) == value for name, value in options.items()):
            continue
        for parameter in group["params"]:
            if state := optimizer.state.get(parameter):
                for name, value in _first_state(optimizer, group, parameter).items():
                    state.setdefault(name, value)


def _first_state(
    optimizer: Optimizer, group: Mapping[str, Any], parameter: torch.Tensor
) -> dict[str, Any]:
    """What an optimizer keeps of a parameter before it has moved: nothing pulls at this one."""
    probe = torch.nn.Parameter(torch.zeros_like(parameter))
    probe.grad = torch.zeros_like(parameter)
    own = optimizer.state, optimizer.param_groups
    optimizer.state, optimizer.param_groups = defaultdict(dict), [{**group, "params": [probe]}]
    try:
        type(optimizer).step(optimizer, lambda: 0.0)  # its scheduler counts its own
        return dict(optimizer.state[probe])
    finally:
        optimizer.state, optimizer.param_groups = own


def _step(scheduler: LRScheduler, times: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer takes no step between these
        for _ in range(times):
            scheduler.step()
