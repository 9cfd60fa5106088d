"""How a training goes on from where it was interrupted or paused: a checkpoint, ``last.ckpt``."""

import json
import time
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from nasrunner.children.progress.allowed import allowed_classes, load_checkpoint
from nasrunner.children.progress.attempts import Attempt, Line
from nasrunner.children.randomness import RandomState, random_state, set_random_state
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.stored import Facts, why_another
from nasrunner.core import Proposal
from nasrunner.core.machine.files import unfinished

_KEY = "nasrunner"
"""What of a checkpoint is ours."""

_SETTINGS = ("data", "optimizer", "scheduler", "trainer")
"""What of a configuration the states of an optimizer and of its scheduler depend on."""


@dataclass(frozen=True)
class SavedProgress:
    """What an interrupted or paused training had come to.

    Attributes:
        path: the checkpoint.
        identity: whose it is, see ``identity_of``.
        curves: the lines of the epochs that were complete.
        cost_s: seconds spent up to it, by all attempts together.
        random: where the random generators of each rank were.
        metrics: what Lightning's callbacks and schedulers last saw.
        should_stop: whether training was to stop once ``trainer.min_epochs`` are done.
        lacks: the sources whose weights were gone when the training began.
        inherited: the metrics of what its first weights were of others.
        optimizer: the optimizer's class; empty in checkpoints of earlier versions.
        rates: the learning rates of its groups as they were configured; likewise.
        num_validated: the targets of a validation; 0 in checkpoints of earlier versions, too.
        supernet: what a supernet is known by, in JSON; empty likewise, and of other children.
    """

    path: Path
    identity: str
    curves: Sequence[Line]
    cost_s: float
    random: list[RandomState]
    metrics: dict[str, torch.Tensor]
    should_stop: bool
    lacks: Sequence[int] = ()
    inherited: Mapping[str, float] = field(default_factory=dict)
    optimizer: str = ""
    rates: Sequence[float] = ()
    num_validated: int = 0
    supernet: str = ""

    def has_settings_of(self, config: Config) -> bool:
        """Tells whether it was trained with the same optimizer, schedule, data and trainer."""
        _, before, *_ = json.loads(self.identity)
        _, now, *_ = json.loads(identity_of((), config))
        return all(before[group] == now[group] for group in _SETTINGS)


def identity_of(*facts: Any) -> str:
    """Returns what two attempts must have in common for the second to go on where the first was."""
    return json.dumps(facts, sort_keys=True, default=repr)


def read_progress(
    path: Path, identities: Collection[str], config: Config, supernet: Facts = ()
) -> SavedProgress | None:
    """Returns the progress that a checkpoint holds; None where training has to start anew.

    Where there is a checkpoint that cannot be used, a warning says why.

    Args:
        path: the checkpoint.
        identities: of the trainings that it may be of, see ``identity_of``.
        config: the child's configuration, whose packages a checkpoint may hold objects of.
        supernet: as of ``supernet_known_by``.
    """
    found = _read(path, lambda identity: identity in identities, config, supernet)
    if isinstance(found, str):
        warnings.warn(f"{path} is not used, and training starts anew: {found}", stacklevel=2)
        return None
    return found


def read_source(path: Path, proposal: Proposal, config: Config) -> SavedProgress | None:
    """Returns the progress of another child; None where it is gone, or cannot be used.

    Args:
        path: its checkpoint.
        proposal: the child.
        config: as of ``read_progress``.
    """

    def is_its(identity: str) -> bool:
        return bool(json.loads(identity)[0] == [proposal.index, proposal.evaluation])

    found = _read(path, is_its, config)
    if isinstance(found, str):
        warnings.warn(f"{path} is not used: {found}", stacklevel=2)
        return None
    return found


def _read(
    path: Path, is_its: Callable[[str], bool], config: Config, supernet: Facts = ()
) -> SavedProgress | str | None:
    """The progress that a checkpoint holds, or why it has none; None: there is no checkpoint."""
    if not path.exists():
        return None
    try:
        own = load_checkpoint(path, config)[_KEY]
        if not is_its(own["identity"]):
            return "it belongs to another proposal or configuration"
        if another := why_another(json.loads(own.get("supernet") or "{}"), supernet):
            return f"it belongs to {another}"
        if own.pop("has_ended"):
            return "training had ended, but not its child"
        return SavedProgress(path, **own)
    except Exception as error:  # a file that was cut off raises nearly anything
        return f"it cannot be read: {type(error).__name__}: {error}".splitlines()[0]


class KeepProgress(pl.Callback):
    """Writes ``last.ckpt`` while a child trains, and puts back what Lightning does not.

    A checkpoint is written between two epochs, where nothing is half done: schedulers have
    stepped, and callbacks have decided that training goes on. Lightning's own checkpoints hold
    neither the random generators nor the metrics.

    Args:
        path: where to.
        every_s: seconds between two checkpoints, and before the first; None: none is written.
        identity: of the training, see ``identity_of``.
        attempt: what the child has come to.
        progress: what this training goes on from.
        config: the child's configuration.
        lacks: as of ``SavedProgress``.
        supernet: as of ``supernet_known_by``.
    """

    def __init__(
        self,
        path: Path,
        every_s: float | None,
        identity: str,
        attempt: Attempt,
        progress: SavedProgress | None,
        config: Config,
        lacks: Sequence[int],
        supernet: Facts = (),
    ) -> None:
        self.supernet = supernet
        self.path = path
        self.every_s = every_s
        self.identity = identity
        self.attempt = attempt
        self.progress = progress
        self.config = config
        self.lacks = list(lacks)
        self.inherited: Mapping[str, float] = {} if progress is None else progress.inherited
        self.start: RandomState | None = None
        """Where training starts where Lightning would reset the generators: with several ranks."""
        self._has_ended = False
        self._is_restored = False
        self._is_checked = False
        self._written_s = time.monotonic()
        self._rates: list[float] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        if self.progress is not None:
            trainer.should_stop = self.progress.should_stop
            pl_module.num_validated = self.progress.num_validated  # type: ignore[assignment]
        elif self.start is not None:
            set_random_state(self.start, trainer.strategy.root_device)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._written_s = time.monotonic()
        if self.progress is not None:
            trainer.callback_metrics.update(self.progress.metrics)
            # With max_steps Lightning takes every checkpoint for one within an epoch, and would
            # pass over what is left of it: a whole epoch.
            trainer.fit_loop._restarting = False
            trainer.fit_loop.epoch_loop.restarting = False
            # The epoch's iterator is made after its start, as each epoch's but the first; Lightning
            # would go on with one made before samplers were told the epoch.
            trainer.fit_loop._resuming_from_checkpoint = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.progress is not None and not self._is_restored:
            # Where they were taken: loaders that Lightning has set up since have drawn from them.
            state = self.progress.random[trainer.global_rank]
            set_random_state(state, trainer.strategy.root_device)
            self._is_restored = True
        if self.every_s is None or trainer.current_epoch == 0:
            return
        is_due = time.monotonic() - self._written_s >= self.every_s
        if trainer.strategy.broadcast(is_due):  # clocks differ, and all ranks must take part
            self._try_to_write(trainer)
            self._written_s = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._has_ended = True

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        own: dict[str, Any] = {"identity": self.identity, "has_ended": self._has_ended}
        if not self._has_ended:
            own |= {
                "curves": list(self.attempt.curves),
                "cost_s": self.attempt.cost_s(),
                "random": _of_all_ranks(trainer, random_state(trainer.strategy.root_device)),
                "metrics": dict(trainer.callback_metrics),
                "should_stop": trainer.should_stop,
                "lacks": self.lacks,
                "inherited": dict(self.inherited),
                "optimizer": class_of(trainer.optimizers[0]),
                "rates": self._rates,
                "num_validated": pl_module.num_validated,
                "supernet": json.dumps(dict(self.supernet)),
            }
            _forget_next_epoch(checkpoint["loops"]["fit_loop"]["epoch_progress"])
        checkpoint[_KEY] = own

    def write(self, trainer: pl.Trainer) -> None:
        """Writes the checkpoint, between two epochs; all ranks take part, and rank 0 writes.

        Raises:
            OSError: it cannot be written.
        """
        trainer.save_checkpoint(unfinished(self.path))
        if trainer.is_global_zero:
            unfinished(self.path).replace(self.path)
            self._check()

    def _try_to_write(self, trainer: pl.Trainer) -> None:
        try:
            self.write(trainer)
        except OSError as error:
            if trainer.world_size > 1:
                raise  # the others wait for a rank that did not get as far as they
            unfinished(self.path).unlink(missing_ok=True)
            warnings.warn(f"{self.path} could not be written: {error}", stacklevel=1)

    def _check(self) -> None:
        """Warns, while there is time, of a checkpoint that nothing could go on from."""
        if self._is_checked:
            return
        self._is_checked = True
        try:
            with allowed_classes(self.config, self.path):
                pass
        except ValueError as error:
            warnings.warn(f"{self.path} could not be gone on from: {error}", stacklevel=1)


def class_of(optimizer: torch.optim.Optimizer) -> str:
    """Returns the name of an optimizer's class: another one cannot use its state."""
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"


def _forget_next_epoch(progress: Mapping[str, dict[str, int]]) -> None:
    """Lightning has counted the epoch that is about to start; it shall start after a restart."""
    for counts in progress.values():
        counts["ready"] = counts["processed"]


def _of_all_ranks(trainer: pl.Trainer, state: RandomState) -> list[RandomState]:
    if trainer.world_size == 1:
        return [state]
    states: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(states, state)
    return states
