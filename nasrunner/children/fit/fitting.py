"""Trains one network with Lightning, from its first epoch or from where it was interrupted."""

import functools
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
from pytorch_lightning.strategies import SingleDeviceStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nasrunner.children.evaluating import DIVERGED
from nasrunner.children.files import ChildFiles
from nasrunner.children.fit.allowed import allowed_classes
from nasrunner.children.fit.attempts import Attempt, Result, num_epochs, rewarded_metrics
from nasrunner.children.fit.batch_norm import set_epsilon
from nasrunner.children.fit.checkpoints import KeepWeights
from nasrunner.children.fit.continuing import KeepProgress, Progress, identity_of, read_progress
from nasrunner.children.fit.loading import LoadedData, prepared
from nasrunner.children.fit.measuring import LastValidation, Measuring
from nasrunner.children.fit.memory_format import is_channels_last
from nasrunner.children.fit.module import ChildModule, Line
from nasrunner.children.fit.patience import patience
from nasrunner.children.fit.randomness import RandomState, random_state
from nasrunner.children.ranks import Ranks, seed_of
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.arguments import has_users_callbacks, make_trainer
from nasrunner.children.settings.scaling import scaled
from nasrunner.children.settings.scheduling import Schedule
from nasrunner.children.settings.searched import Config
from nasrunner.children.tasks.tasks import Task, make_task
from nasrunner.core import Proposal, SearchSpace


@dataclass(frozen=True)
class Fitted:
    """A network that has just been trained, while what it was trained with is still there."""

    module: ChildModule
    trainer: pl.Trainer
    data: LoadedData
    task: Task
    keep: KeepWeights


@dataclass(frozen=True)
class Fitting:
    """One network's training in this process.

    Attributes:
        child: what all children of the study share.
        proposal: the child.
        frozen: its architecture.
        config: its configuration, with the hyperparameters that the space searches.
        seed: of the first weights, the order of the examples and dropout.
        joins_validation: whether the validation examples are trained on, too.
    """

    child: Recipe
    proposal: Proposal
    frozen: SearchSpace
    config: Config
    seed: int
    joins_validation: bool = False

    @contextmanager
    def run(self, files: ChildFiles, attempt: Attempt) -> Iterator[Fitted]:
        """Trains the network; its data, trainer and log stay open for the block.

        Args:
            files: the child's folder, which is begun anew where there is no checkpoint in it.
            attempt: each epoch's line is appended to its curves.
        """
        with files, files.log(), interruptible():
            progress = self._progress(files, attempt)
            files.start(self.proposal, self.config, attempt.curves)
            fitted, ranks = self._assembled(files, attempt, progress)
            try:
                with ranks.joined(fitted.trainer):
                    _fit(fitted, self.config, progress)
                    yield fitted
            finally:
                fitted.data.data.trainer = None  # it outlives this child

    def _progress(self, files: ChildFiles, attempt: Attempt) -> Progress | None:
        """What an earlier attempt has left to go on from; it becomes part of this one."""
        progress = (
            read_progress(files.last, self._identity, self.config) if files.last.exists() else None
        )
        if progress is None:
            files.forget_progress()
        else:
            attempt.curves.extend(progress.curves)
            attempt.earlier_s = progress.cost_s
        return progress

    @property
    def _identity(self) -> str:
        proposal = (self.proposal.index, self.proposal.hash)
        return identity_of(proposal, self.config, self.seed, self.joins_validation)

    def _assembled(
        self, files: ChildFiles, attempt: Attempt, progress: Progress | None
    ) -> tuple[Fitted, Ranks]:
        """All that the training takes; the network has its first weights."""
        settings, construct = self.config["trainer"], self.child.construct
        task = make_task(self.config, construct)
        keep = KeepWeights(files.folder, settings["checkpoint"], task.reward)
        attempt.keeps_last = keep.keeps_last
        ranks = Ranks(files.folder, architecture=self.proposal.hash, lines=len(attempt.curves))
        keep_progress = KeepProgress(
            files.last,
            settings["checkpoint_every_s"],
            self._identity,
            attempt,
            progress,
            self.config,
        )
        measuring = Measuring(keeps_weights=has_users_callbacks(settings))
        trainer = make_trainer(
            settings,
            files.folder,
            construct,
            [*patience(settings, task), ranks, keep_progress, LastValidation(measuring), keep],
            first=[measuring],
        )
        data = prepared(self.config, trainer, self.child.seed, construct, self.joins_validation)
        pl.seed_everything(self.seed, workers=True, verbose=False)
        network, _ = self.frozen.build(self.child.in_shape)
        set_epsilon(network, settings["batch_norm_epsilon"])
        if not isinstance(trainer.strategy, SingleDeviceStrategy):
            keep_progress.start = _start_of_rank(self.seed, trainer)

        def measured(line: Line) -> None:
            if trainer.is_global_zero:
                keep.consider(line, module)

        def record(line: Line) -> None:
            attempt.curves.append(line)
            files.add_line(line)
            if trainer.is_global_zero:
                keep.recorded(line, module)

        make_optimizer = functools.partial(construct, self.config["optimizer"], "optimizer")
        module = ChildModule(
            network,
            task,
            scaled(make_optimizer, settings, data.num_batches_in_a_step(trainer)),
            Schedule(self.config["scheduler"], construct),
            lambda: data.length(trainer),  # no partial: callbacks copy the module, not the data
            measured,
            record,
            is_channels_last=is_channels_last(
                settings["channels_last"], network, self.child.in_shape
            ),
            is_fast=data.is_fast,
        )
        return Fitted(module, trainer, data, task, keep), ranks


def rewarded(fitted: Fitted, curves: list[Line]) -> Result:
    """The reward of a training that has ended, and the metrics of the epochs that it is of.

    One that diverged, and has a reward all the same, has a metric ``diverged`` of 1.

    Raises:
        FloatingPointError: training diverged before anything was measured.
        ValueError: there is no reward, as of ``Reward``.
    """
    task, diverged = fitted.task, fitted.module.diverged
    metric = task.reward.metric
    if diverged is not None and task.reward.diverged == "chance":
        value = task.by_chance(metric)
        assert value is not None, "the task has looked"
        return _finite(task.reward.of_value(value)), {
            metric: value,
            "epochs": float(num_epochs(curves)),
            DIVERGED: 1.0,
        }
    if diverged is not None and not any(metric in line for line in curves):
        raise FloatingPointError(f"{diverged}, before {metric} was measured")
    metrics = rewarded_metrics(curves, task.reward.chosen(curves))
    if diverged is not None:
        metrics[DIVERGED] = 1.0
    if fitted.module.num_validated:
        metrics["val_targets"] = float(fitted.module.num_validated)
    return _finite(task.reward(curves)), metrics


def _finite(reward: float) -> float:
    """The reward as it is; a user's own class may give anything."""
    if not (isinstance(reward, int | float) and math.isfinite(reward)):
        raise ValueError(f"task.reward must give a finite number, got {reward!r}")
    return reward


def _fit(fitted: Fitted, config: Config, progress: Progress | None) -> None:
    path = None if progress is None else progress.path
    with allowed_classes(config, path), sigterm_first(fitted.trainer):
        # Also where there is no path: Lightning looks for checkpoints of its own in a SLURM job.
        fitted.trainer.fit(fitted.module, datamodule=fitted.data, ckpt_path=path, weights_only=True)


def _start_of_rank(seed: int, trainer: pl.Trainer) -> RandomState:
    """Where a rank's random generators start: Lightning resets those of all to the same."""
    if trainer.global_rank:
        pl.seed_everything(seed_of(seed, trainer.global_rank), workers=True, verbose=False)
    return random_state(trainer.strategy.root_device)


@contextmanager
def sigterm_first(trainer: pl.Trainer) -> Iterator[None]:
    """Raises what a SIGTERM means to Lightning in the place of errors that come of it.

    SLURM and shells send it to all processes of a job: those that load a child's data end before
    Lightning looks for the signal, and that they did is an error of torch's.

    Args:
        trainer: whose fit this is.

    Raises:
        SIGTERMException: the process was told to stop while it trained.
    """
    try:
        yield
    except Exception as error:
        if trainer.received_sigterm:
            raise SIGTERMException from error
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Undoes what Lightning 2.6 makes of Ctrl-C: it ignores SIGINT from then on, and exits.

    Cleaning up after it may break, too, where it came while loaders were being started.
    """
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    try:
        yield
    except (Exception, SystemExit) as error:
        before = error.__context__
        while before is not None and not isinstance(before, KeyboardInterrupt):
            before = before.__context__
        if before is None:
            raise
        if is_main:
            signal.signal(signal.SIGINT, handler)
        raise before from None
