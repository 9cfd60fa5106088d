"""Trains one child in the process it is called in: what executors send to their workers."""

import functools
import gc
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nasrunner.children.arguments import is_fast, make_trainer
from nasrunner.children.checkpoints import KeepWeights
from nasrunner.children.files import ChildFiles
from nasrunner.children.lightning import LightningTask
from nasrunner.children.loading import LoadedData, load_data
from nasrunner.children.module import ChildModule, Line
from nasrunner.children.settings import Config, applied
from nasrunner.children.tasks import Task
from nasrunner.core import Outcome, Proposal, SearchSpace, child_folder

_NO_METRICS = ("epoch", "step", "time")
"""What a line of the curves holds beside metrics."""


Result = tuple[float | None, dict[str, float]]
"""A reward and metrics."""


@dataclass(frozen=True)
class TrainChild:
    """Trains a proposal and returns its outcome; a child's failure is an outcome, too.

    The network's first weights, the order of the examples and dropout depend on the study's seed
    and the proposal's index alone.

    Attributes:
        task: what to train it with, and where its folder goes.
    """

    task: LightningTask

    def __call__(self, proposal: Proposal) -> Outcome:
        files = ChildFiles(child_folder(self.task.folder, proposal.index))
        return attempted(proposal, files, functools.partial(self._train, proposal, files))

    def _train(self, proposal: Proposal, files: ChildFiles, curves: list[Line]) -> Result:
        frozen = self.task.space.freeze(proposal.genotype)
        config = applied(self.task.config, frozen.hyperparameters)
        fitting = Fitting(self.task, proposal, frozen, config, self._seed_of(proposal))
        with fitting.run(files, curves) as fitted:
            pass
        return fitted.task.reward(curves), final_metrics(curves)

    def _seed_of(self, proposal: Proposal) -> int:
        """32 bits that depend on the study's seed and the proposal's index."""
        return int(np.random.SeedSequence([self.task.seed, proposal.index]).generate_state(1)[0])


def attempted(
    proposal: Proposal, files: ChildFiles, train: Callable[[list[Line]], Result]
) -> Outcome:
    """The outcome of a training, whatever becomes of it; it stands in the child's folder.

    Args:
        proposal: the child.
        files: its folder.
        train: trains it and appends each epoch's line to the list it is given.
    """
    started = time.perf_counter()
    curves: list[Line] = []
    reward, error = None, None
    try:
        reward, metrics = train(curves)
    except SIGTERMException:
        raise  # the worker is told to stop; that is not the child's doing
    except (Exception, SystemExit) as failure:
        error = describe(failure)
        metrics = final_metrics(curves)
        del failure
        _free_memory()
    outcome = Outcome(
        proposal,
        "completed" if error is None else "failed",
        reward,
        metrics,
        time.perf_counter() - started,
        error,
    )
    try:
        files.write_outcome(outcome)
    except OSError as failure:
        error = f"the child ended, but its outcome could not be written: {failure}"
        return replace(outcome, status="failed", reward=None, error=error)
    return outcome


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

    child: LightningTask
    proposal: Proposal
    frozen: SearchSpace
    config: Config
    seed: int
    joins_validation: bool = False

    @contextmanager
    def run(self, files: ChildFiles, curves: list[Line]) -> Iterator[Fitted]:
        """Trains the network; its data, trainer and log stay open for the block.

        Args:
            files: the child's folder, which is begun anew.
            curves: each epoch's line is appended to it.
        """
        config, construct = self.config, self.child.construct
        files.start(self.proposal, config)
        with files, files.log(), _interruptible():
            task: Task = construct(
                config["task"], "task", num_outputs=config["data"]["num_outputs"]
            )
            keep = KeepWeights(files.folder, config["trainer"]["checkpoint"], task.reward)
            callbacks = [*_early_stopping(config, task), keep]
            trainer = make_trainer(config["trainer"], files.folder, construct, callbacks)
            data = load_data(
                config["data"],
                trainer,
                self.child.seed,
                construct,
                joins_validation=self.joins_validation,
            )
            pl.seed_everything(self.seed, workers=True, verbose=False)
            network, _ = self.frozen.build(self.child.in_shape)

            def record(line: Line) -> None:
                curves.append(line)
                files.add_line(line)
                keep.consider(line, module)

            fast = is_fast(config["trainer"], trainer)
            module = ChildModule(
                network,
                task,
                functools.partial(construct, config["optimizer"], "optimizer"),
                functools.partial(construct, config["scheduler"], "scheduler"),
                record,
                is_fast=fast,
            )
            loaded = LoadedData(data, is_fast=fast)
            try:
                trainer.fit(module, datamodule=loaded)
                yield Fitted(module, trainer, loaded, task, keep)
            finally:
                data.trainer = None  # it outlives this child


def describe(failure: BaseException, num_lines: int = 12) -> str:
    """The last lines of a traceback, down to the message."""
    lines = "".join(traceback.format_exception(failure)).rstrip().splitlines()
    return "\n".join(lines[-num_lines:])


def _early_stopping(config: Config, task: Task) -> Iterator[pl.Callback]:
    trainer = config["trainer"]
    if trainer["stop_patience"] is not None:
        yield EarlyStopping(
            monitor=task.reward.metric,
            mode=task.reward.mode,
            patience=trainer["stop_patience"],
            min_delta=trainer["stop_min_delta"],
        )


def final_metrics(curves: list[Line]) -> dict[str, float]:
    """The last value of every metric, and the number of epochs."""
    if not curves:
        return {}
    last = {name: value for line in curves for name, value in line.items()}
    metrics = {name: value for name, value in last.items() if name not in _NO_METRICS}
    return metrics | {"epochs": float(len(curves))}


def _free_memory() -> None:
    """Frees what a failed child held on the device, for the next one."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Undoes what Lightning 2.6 makes of Ctrl-C: it ignores SIGINT from then on, and exits."""
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if is_main else None
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            if is_main:
                signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from error
        raise
