"""One attempt at training a child, and the outcome it becomes, whatever happens."""

import gc
import os
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from nasrunner.children.evaluating import ONE_CLASS
from nasrunner.children.files import ChildFiles
from nasrunner.children.ranks import RankProcesses
from nasrunner.core import Genotype, MachineError, Outcome, Proposal
from nasrunner.core.machine.child_folder import NO_METRICS
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.forks import end_copy
from nasrunner.core.records import Status

Line = dict[str, float]
"""A point of a child's curves: epoch, step, time (Unix seconds), learning rate, metrics by name.

There is one at the end of each epoch, with ``train_loss`` and what a validation there measured, and
one for each validation in the middle of an epoch or after the last.
"""


@dataclass(frozen=True)
class Result:
    """What a training has come to that did not break.

    Attributes:
        reward: None: it has none, and needs none.
        metrics: by name.
        status: of the outcome.
        curve: as of ``Outcome``.
        lacks: as of ``Outcome``.
        cost_s: the seconds that the outcome has cost; None: those of the attempt.
        found: as of ``Outcome``.
    """

    reward: float | None
    metrics: Mapping[str, float]
    status: Status = "completed"
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    lacks: Sequence[int] = ()
    cost_s: float | None = None
    found: Sequence[Genotype] = ()

    def beside(self, metrics: Mapping[str, float]) -> "Result":
        """Returns the result with further metrics."""
        return replace(self, metrics={**self.metrics, **metrics})


class Attempt:
    """What an attempt at a child has come to: its curves, and what they cost.

    Attributes:
        processes: those of its other ranks; all fits of the attempt have the same.
    """

    def __init__(self) -> None:
        self.processes: RankProcesses = {}
        self._keeps_last = False
        self._curves: list[Line] = []
        self._earlier_s = 0.0
        self._started_s = time.perf_counter()

    @property
    def curves(self) -> Sequence[Line]:
        """The lines so far, those of what it goes on from among them."""
        return self._curves

    @property
    def keeps_last(self) -> bool:
        """Whether ``last.ckpt`` is kept once there is an outcome."""
        return self._keeps_last

    def keep_last(self) -> None:
        """Has ``last.ckpt`` kept, whatever becomes of the child."""
        self._keeps_last = True

    def add_line(self, line: Line) -> None:
        """Takes the next line of the curves."""
        self._curves.append(line)

    def cost_s(self) -> float:
        """Counts the seconds that were spent on the child so far, earlier attempts among them."""
        return self._earlier_s + time.perf_counter() - self._started_s

    def go_on(self, curves: Sequence[Line], earlier_s: float) -> None:
        """Makes what was done before this attempt a part of it.

        Args:
            curves: all lines so far.
            earlier_s: the seconds that earlier attempts at the same child have spent on it.
        """
        self._curves = list(curves)
        self._earlier_s = earlier_s

    def set_cost_s(self, cost_s: float) -> None:
        """Makes what was spent so far this many seconds, as others have counted them."""
        self._earlier_s += cost_s - self.cost_s()


def attempted(proposal: Proposal, files: ChildFiles, train: Callable[[Attempt], Result]) -> Outcome:
    """Returns the outcome of a training, whatever becomes of it; it stands in the child's folder.

    Args:
        proposal: the child.
        files: its folder.
        train: trains it and adds each epoch's line to the attempt.

    Raises:
        MachineError: a full disk or the like interrupted it; it has no outcome, and keeps its
            ``last.ckpt``.
    """
    attempt, pid = Attempt(), os.getpid()
    error = None
    try:
        result = train(attempt)
    except (KeyboardInterrupt, SIGTERMException):
        raise  # the user stops, or the worker is told to; that is not the child's doing
    except BaseException as failure:
        if fault := machine_fault(failure):
            raise fault from failure
        error = describe(failure)
        result = Result(None, final_metrics(attempt.curves), "failed")
        del failure
        _free_memory()
    end_copy(pid)
    cost_s = attempt.cost_s() if result.cost_s is None else result.cost_s
    outcome = Outcome(
        proposal,
        result.status,
        result.reward,
        result.metrics,
        cost_s,
        error,
        curve=result.curve,
        found=result.found,
        lacks=result.lacks,
    )
    try:
        files.write_outcome(outcome)
    except OSError as failure:
        raise MachineError(f"the outcome could not be written: {failure}") from failure
    if outcome.status != "paused":
        files.settle(keeps_last=attempt.keeps_last)
    return outcome


def describe(failure: BaseException, num_lines: int = 12) -> str:
    """Returns the last lines of a traceback, down to the message."""
    lines = "".join(traceback.format_exception(failure)).rstrip().splitlines()
    return "\n".join(lines[-num_lines:])


def final_metrics(curves: Sequence[Line]) -> dict[str, float]:
    """Returns the last value of every metric, and the number of epochs that were trained."""
    if not curves:
        return {}
    last = {name: value for line in curves for name, value in line.items()}
    metrics = {name: value for name, value in last.items() if name not in NO_METRICS}
    return metrics | {"epochs": float(num_epochs(curves))}


def rewarded_metrics(curves: Sequence[Line], places: Collection[int]) -> dict[str, float]:
    """Returns the metrics of the epochs that a reward is of: the mean where these are several.

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
        if "val_loss" in line:
            known.pop(ONE_CLASS, None)  # of a validation before
        known |= {name: value for name, value in line.items() if name not in NO_METRICS}
        if place in places:
            for name, value in known.items():
                measured.setdefault(name, []).append(value)
    if len(measured.get(ONE_CLASS, places)) < len(places):
        del measured[ONE_CLASS]
    metrics = {name: fmean(values) for name, values in measured.items()}
    metrics["epochs"] = float(num_epochs(curves))
    if len(places) == 1:
        metrics["reward_epoch"] = float(next(curves[place]["epoch"] for place in places))
    return metrics


def num_epochs(curves: Sequence[Line]) -> int:
    """Returns how many epochs were trained: each ends with a line that has its ``train_loss``."""
    return sum("train_loss" in line for line in curves)


def curve_of(curves: Sequence[Line], names: Collection[str]) -> dict[str, list[float]]:
    """Returns the values of metrics after each epoch that was trained, as outcomes have them.

    Where an epoch was not validated it is the value before. Epochs before the first value have
    that one. What is measured after the last epoch counts to it.

    Args:
        curves: of the whole training.
        names: of the metrics; those that were never measured are left out.
    """
    epochs = [line["epoch"] for line in curves if "train_loss" in line]
    if not epochs:
        return {}
    found: dict[str, list[float]] = {}
    for name in names:
        measured = {min(line["epoch"], epochs[-1]): line[name] for line in curves if name in line}
        for epoch in epochs if measured else ():
            values = found.setdefault(name, [])
            before = values[-1] if values else next(iter(measured.values()))
            values.append(measured.get(epoch, before))
    return found


def _free_memory() -> None:
    """Frees what a failed child held on the device, for the next one."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()
