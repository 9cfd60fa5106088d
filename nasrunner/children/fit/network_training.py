"""Trains one network with Lightning, from its first epoch or from where it was interrupted."""

import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nasrunner.children.evaluating import DIVERGED
from nasrunner.children.files import ChildFiles
from nasrunner.children.fit.assembling import Assembled, Plan, assembled
from nasrunner.children.progress.allowed import allowed_classes
from nasrunner.children.progress.attempts import (
    Attempt,
    Line,
    Result,
    curve_of,
    num_epochs,
    rewarded_metrics,
)
from nasrunner.children.progress.borrowing import NOTHING, Borrowed
from nasrunner.children.progress.continuing import SavedProgress, read_progress
from nasrunner.children.progress.ending import Reporting
from nasrunner.children.progress.lineage import Origin
from nasrunner.children.settings.searched import Config


@contextmanager
def fitted(
    plan: Plan,
    files: ChildFiles,
    attempt: Attempt,
    origin: Origin | None = None,
    reporting: Reporting | None = None,
    borrowed: Borrowed = NOTHING,
) -> Iterator[Assembled]:
    """Trains a network; its data, trainer and log stay open for the block.

    Args:
        plan: what is trained, and how.
        files: the child's folder, which is begun anew where training is.
        attempt: takes each epoch's line.
        origin: what training begins with, of which the attempt knows; None: where an earlier
            attempt was, or else its first weights.
        reporting: is told of each line, those from before among them; None: nobody is.
        borrowed: what replaces the first weights; an ``origin`` has its own.
    """
    reporting = reporting or Reporting(plan.proposal.index, None)
    with files, files.log(), interruptible():
        if origin is None:
            origin = Origin(_own_progress(plan, files, attempt), borrowed)
        files.start(plan.proposal, plan.config, attempt.curves)
        found = assembled(plan, files, attempt, origin, reporting)
        ours = found.callbacks
        if ours.keep.keeps_last:
            attempt.keep_last()
        for line in attempt.curves:
            reporting(line)
        try:
            with ours.ranks.joined(found.trainer):
                _fit(found, plan.config, origin.progress)
                if ours.ending.status is not None:
                    ours.keep.write_best(found.trainer, found.module)
                yield found
        finally:
            found.data.data.trainer = None  # it outlives this child


def _own_progress(plan: Plan, files: ChildFiles, attempt: Attempt) -> SavedProgress | None:
    """What an earlier attempt has left to go on from; it becomes part of this one."""
    progress = read_progress(files.last, [plan.identity], plan.config)
    if progress is None:
        files.forget_progress()
    else:
        attempt.go_on(progress.curves, progress.cost_s)
    return progress


def rewarded(trained: Assembled, curves: Sequence[Line], lacks: Sequence[int] = ()) -> Result:
    """Returns the reward of a training that has ended, and the metrics of the epochs that it is of.

    One that diverged, and has a reward all the same, has a metric ``diverged`` of 1.

    Args:
        trained: what was trained.
        curves: of the whole training.
        lacks: as of ``Outcome``.

    Raises:
        FloatingPointError: training diverged before anything was measured.
        ValueError: there is no reward, as of ``Reward``.
    """
    reward, metrics = _measured(trained, curves)
    names = dict.fromkeys((trained.task.reward.metric, "val_loss"))
    status = trained.callbacks.ending.status or "completed"
    metrics |= trained.callbacks.progress.inherited
    return Result(_finite(reward), metrics, status, curve_of(curves, list(names)), lacks)


def _measured(trained: Assembled, curves: Sequence[Line]) -> tuple[float, dict[str, float]]:
    task, diverged = trained.task, trained.module.diverged
    metric = task.reward.metric
    if diverged is not None and task.reward.diverged == "chance":
        value = task.by_chance(metric)
        assert value is not None, "the task has looked"
        epochs = float(num_epochs(curves))
        return task.reward.of_value(value), {metric: value, "epochs": epochs, DIVERGED: 1.0}
    if diverged is not None and not any(metric in line for line in curves):
        raise FloatingPointError(f"{diverged}, before {metric} was measured")
    metrics = rewarded_metrics(curves, task.reward.chosen(curves))
    if diverged is not None:
        metrics[DIVERGED] = 1.0
    if trained.module.num_validated:
        metrics["val_targets"] = float(trained.module.num_validated)
    return task.reward(curves), metrics


def _finite(reward: float) -> float:
    """The reward as it is; a user's own class may give anything."""
    if not (isinstance(reward, int | float) and math.isfinite(reward)):
        raise ValueError(f"task.reward must give a finite number, got {reward!r}")
    return reward


def _fit(found: Assembled, config: Config, progress: SavedProgress | None) -> None:
    path = None if progress is None else progress.path
    with allowed_classes(config, path), sigterm_first(found.trainer):
        # Also where there is no path: Lightning looks for checkpoints of its own in a SLURM job.
        found.trainer.fit(found.module, datamodule=found.data, ckpt_path=path, weights_only=True)


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
