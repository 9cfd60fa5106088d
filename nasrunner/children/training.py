"""Trains one child in the process it is called in: what executors send to their workers."""

import functools
import gc
import signal
import threading
import time
import traceback
from collections.abc import Iterator
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
from nasrunner.core import Outcome, Proposal, child_folder

_NO_METRICS = ("epoch", "step", "time")
"""What a line of the curves holds beside metrics."""


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
        started = time.perf_counter()
        files = ChildFiles(child_folder(self.task.folder, proposal.index))
        curves: list[Line] = []
        reward, error = None, None
        try:
            reward = self._train(proposal, files, curves)
        except SIGTERMException:
            raise  # the worker is told to stop; that is not the child's doing
        except (Exception, SystemExit) as failure:
            error = describe(failure)
            del failure
            _free_memory()
        outcome = Outcome(
            proposal,
            "completed" if error is None else "failed",
            reward,
            _final(curves),
            time.perf_counter() - started,
            error,
        )
        try:
            files.write_outcome(outcome)
        except OSError as failure:
            error = f"the child ended, but its outcome could not be written: {failure}"
            return replace(outcome, status="failed", reward=None, error=error)
        return outcome

    def _train(self, proposal: Proposal, files: ChildFiles, curves: list[Line]) -> float:
        frozen = self.task.space.freeze(proposal.genotype)
        config = applied(self.task.config, frozen.hyperparameters)
        files.start(proposal, config)
        with files, files.log(), _interruptible():
            task: Task = self.task.construct(
                config["task"], "task", num_outputs=config["data"]["num_outputs"]
            )
            keep = KeepWeights(files.folder, config["trainer"]["checkpoint"], task.reward)
            callbacks = [*_early_stopping(config, task), keep]
            trainer = make_trainer(config["trainer"], files.folder, self.task.construct, callbacks)
            data = load_data(config["data"], trainer, self.task.seed, self.task.construct)
            pl.seed_everything(self._seed_of(proposal), workers=True, verbose=False)
            network, _ = frozen.build(self.task.in_shape)

            def record(line: Line) -> None:
                curves.append(line)
                files.add_line(line)
                keep.consider(line, module)

            fast = is_fast(config["trainer"], trainer)
            module = ChildModule(
                network,
                task,
                functools.partial(self.task.construct, config["optimizer"], "optimizer"),
                functools.partial(self.task.construct, config["scheduler"], "scheduler"),
                record,
                is_fast=fast,
            )
            try:
                trainer.fit(module, datamodule=LoadedData(data, is_fast=fast))
            finally:
                data.trainer = None  # it outlives this child
        return task.reward(curves)

    def _seed_of(self, proposal: Proposal) -> int:
        """32 bits that depend on the study's seed and the proposal's index."""
        return int(np.random.SeedSequence([self.task.seed, proposal.index]).generate_state(1)[0])


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


def _final(curves: list[Line]) -> dict[str, float]:
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
