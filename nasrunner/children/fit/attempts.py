"""One attempt at training a child, and the outcome it becomes, whatever happens."""

import gc
import os
import time
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from statistics import fmean

import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nasrunner.children.files import ChildFiles
from nasrunner.children.fit.module import Line
from nasrunner.core import MachineError, Outcome, Proposal
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.forks import end_copy
from nasrunner.core.records import Status

Result = tuple[float | None, dict[str, float]]
"""A reward and metrics."""

_NO_METRICS = ("epoch", "step", "time")
"""What a line of the curves holds beside metrics."""


@dataclass
class Attempt:
    """What an attempt at a child has come to.

    Attributes:
        curves: the lines so far, those of the attempts that it goes on from among them.
        earlier_s: seconds that these attempts spent.
        started_s: when this one began, on the clock of ``time.perf_counter``.
        keeps_last: whether ``last.ckpt`` is kept once there is an outcome.
    """

    curves: list[Line] = field(default_factory=list)
    earlier_s: float = 0.0
    started_s: float = field(default_factory=time.perf_counter)
    keeps_last: bool = False

    def cost_s(self) -> float:
        """Seconds that were spent on the child so far."""
        return self.earlier_s + time.perf_counter() - self.started_s

    def set_cost_s(self, cost_s: float) -> None:
        """Makes what was spent so far this many seconds, as others have counted them."""
        self.earlier_s += cost_s - self.cost_s()


def attempted(proposal: Proposal, files: ChildFiles, train: Callable[[Attempt], Result]) -> Outcome:
    """The outcome of a training, whatever becomes of it; it stands in the child's folder.

    Args:
        proposal: the child.
        files: its folder.
        train: trains it and appends each epoch's line to the attempt's curves.

    Raises:
        MachineError: a full disk or the like interrupted it; it has no outcome, and keeps its
            ``last.ckpt``.
    """
    attempt, pid = Attempt(), os.getpid()
    reward, error = None, None
    try:
        reward, metrics = train(attempt)
    except (KeyboardInterrupt, SIGTERMException):
        raise  # the user stops, or the worker is told to; that is not the child's doing
    except BaseException as failure:
        if fault := machine_fault(failure):
            raise fault from failure
        error = describe(failure)
        metrics = final_metrics(attempt.curves)
        del failure
        _free_memory()
    end_copy(pid)
    status: Status = "completed" if error is None else "failed"
    outcome = Outcome(proposal, status, reward, metrics, attempt.cost_s(), error)
    try:
        files.write_outcome(outcome)
    except OSError as failure:
        raise MachineError(f"the outcome could not be written: {failure}") from failure
    if not attempt.keeps_last:
        files.forget_progress()
    return outcome


def describe(failure: BaseException, num_lines: int = 12) -> str:
    """The last lines of a traceback, down to the message."""
    lines = "".join(traceback.format_exception(failure)).rstrip().splitlines()
    return "\n".join(lines[-num_lines:])


def final_metrics(curves: list[Line]) -> dict[str, float]:
    """The last value of every metric, and the number of epochs that were trained."""
    if not curves:
        return {}
    last = {name: value for line in curves for name, value in line.items()}
    metrics = {name: value for name, value in last.items() if name not in _NO_METRICS}
    return metrics | {"epochs": float(num_epochs(curves))}


def rewarded_metrics(curves: list[Line], places: Collection[int]) -> dict[str, float]:
    """The metrics of the epochs that a reward is of: the mean where these are several.

    Args:
        curves: of the whole training.
        places: of the lines that the reward is the mean of.

    Returns:
        each metric as it was last measured at these lines; the number of epochs that were trained,
        and ``reward_epoch`` where the reward is of one.
    """
    known: dict[str, float] = {}
    measured: dict[str, list[float]] = {}
    for place, line in enumerate(curves):
        known |= {name: value for name, value in line.items() if name not in _NO_METRICS}
        if place in places:
            for name, value in known.items():
                measured.setdefault(name, []).append(value)
    metrics = {name: fmean(values) for name, values in measured.items()}
    metrics["epochs"] = float(num_epochs(curves))
    if len(places) == 1:
        metrics["reward_epoch"] = float(next(curves[place]["epoch"] for place in places))
    return metrics


def num_epochs(curves: list[Line]) -> int:
    """How many epochs were trained: each ends with a line that has its ``train_loss``."""
    return sum("train_loss" in line for line in curves)


def _free_memory() -> None:
    """Frees what a failed child held on the device, for the next one."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()
