"""Ends a child's training before its own end: it is to be paused there, or was told to stop."""

from collections.abc import Callable
from typing import Literal

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import _TunerExitException

from nasrunner.children.progress.attempts import Line
from nasrunner.core import Hear
from nasrunner.core.machine.child_folder import report_of
from nasrunner.core.machine.stop_file import StopFile

Early = Literal["paused", "stopped"]
"""How a training ends that does not come to its own end."""


class _EndedError(_TunerExitException):
    """Ends a fit as if it had come to its end: nothing has failed, and ``on_train_end`` is not due.

    Lightning has it for its tuners, tears down as ever, and returns.
    """


class Reporting:
    """Tells somebody in this process what a child measures after each of its epochs.

    Args:
        index: the child's.
        hear: who is told; None: nobody.

    Attributes:
        is_to_stop: whether the answer was that the child is to stop.
        num_told: the epochs so far.
    """

    def __init__(self, index: int, hear: Hear | None) -> None:
        self.index = index
        self.hear = hear
        self.is_to_stop = False
        self.num_told = 0

    def __call__(self, line: Line) -> None:
        """Tells of a line of the curves, if it ends an epoch that was not told of."""
        report = report_of(self.index, line)
        if self.hear is not None and report is not None and report.epoch > self.num_told:
            self.num_told = report.epoch
            self.is_to_stop = self.hear(report) or self.is_to_stop


class EndsEarly(pl.Callback):
    """Pauses a training after some of its epochs, or stops it where its child is told to.

    At the start of the next epoch, as all that belongs to the one before is done then, and a
    training that ends by itself never comes to it. Comes after ``KeepProgress``.

    Args:
        until: how many epochs are trained before the pause; None: it is not paused.
        stop: the file that tells the child to stop; None: nobody does.
        reporting: whose answer may be that, too.
        write: writes the checkpoint that training could go on from.
        keeps_last: whether it is written where training is stopped.

    Attributes:
        status: how the training has ended; None: by itself, or not yet.
    """

    def __init__(
        self,
        until: int | None,
        stop: StopFile | None,
        reporting: Reporting,
        write: Callable[[pl.Trainer], None],
        *,
        keeps_last: bool,
    ) -> None:
        self.until = until
        self.stop = stop
        self.reporting = reporting
        self.write = write
        self.keeps_last = keeps_last
        self.status: Early | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # All ranks end with the first, which alone looks for the file.
        self.status = trainer.strategy.broadcast(self._due(trainer.current_epoch))
        if self.status is None:
            return
        if self.status == "paused" or self.keeps_last:
            self.write(trainer)
        raise _EndedError

    def _due(self, num_trained: int) -> Early | None:
        if self.until is not None and num_trained >= self.until:
            return "paused"
        if self.stop is None or num_trained == 0:
            return None
        told = self.stop.read()
        is_told = told is not None and num_trained >= told
        return "stopped" if is_told or self.reporting.is_to_stop else None
