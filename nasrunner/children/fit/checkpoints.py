"""Keeps the weights of a child: those its reward is of, those of its end, both or neither."""

import functools
import math
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from nasrunner.children.fit.measuring import copied
from nasrunner.children.fit.module import ChildModule
from nasrunner.children.progress.attempts import Line
from nasrunner.children.tasks.reward import Reward, diverged_loss
from nasrunner.core.machine.child_folder import BEST, ENDED, KEEPS_LAST
from nasrunner.core.machine.files import replace_file, unfinished

Keep = Literal["best", "last", "all", "none"]


class KeepWeights(pl.Callback):
    """Writes ``best.ckpt`` and ``last.ckpt`` when training ends.

    ``best.ckpt`` holds what a later run or a user needs: ``state_dict`` of the network, ``epoch``
    and ``metrics`` of the validation that the reward is of: with ``reduce=best`` the best of all,
    with ``max_last`` that of the last epochs, with ``last`` and ``mean_last`` the last. They are
    those that were validated, averages of weights too, copied in memory, on their device, and
    written once: a write for every improvement would cost tiny children as much as an epoch. A
    child that counts with the reward of chance keeps none. Beside them stand ``reading``, the text
    of a ``Reading``, where the data say how more of the same are read, and ``target_scale``, a
    mean and a standard deviation of each target, where the network learnt standardized ones.
    ``last.ckpt`` is Lightning's own checkpoint, with the optimizer's state, so that training can go
    on from it. It is called ``ended.ckpt`` until the child has its outcome: one that is killed
    before goes on from the ``last.ckpt`` that was written last while it trained.

    Args:
        folder: the child's folder.
        keep: which of them.
        reward: whose metric and reduction say which validation it is.
    """

    def __init__(self, folder: Path, keep: Keep, reward: Reward) -> None:
        self.folder = folder
        self.keeps_best = keep in ("best", "all")
        self.keeps_last = keep in KEEPS_LAST
        self.reward = reward
        self._kept: list[dict[str, Any]] = []
        """What may be wanted, best first: each came after those before it, and is worse."""
        self._epochs: list[int] = []  # the last with a value, where a reduction looks at so many
        self._is_measured = False  # by a validation whose line is not complete
        self._before: tuple[list[dict[str, Any]], list[int]] = ([], [])  # that validation

    def consider(self, line: Line, module: ChildModule) -> None:
        """Copies the weights if the reward may be of what was just measured of them."""
        value = line.get(self.reward.metric)
        if not self.keeps_best or value is None or not math.isfinite(value) or diverged_loss(line):
            return
        if not self._is_measured:
            self._before = (list(self._kept), list(self._epochs))
        epoch = int(line["epoch"])
        if self.reward.reduce in ("last", "mean_last"):
            self._kept = []
        elif self.reward.reduce == "max_last":
            self._forget_before(epoch)
            while self._kept and self.reward.is_better(value, self._value(self._kept[-1])):
                self._kept.pop()
        elif self._kept and not self.reward.is_better(value, self._value(self._kept[0])):
            return
        else:
            self._kept = []
        self._kept.append({"epoch": epoch, "metrics": line, "state_dict": copied(module)})
        self._is_measured = True

    def _forget_before(self, epoch: int) -> None:
        """Drops what is older than the last epochs, of which this is one."""
        if self._epochs[-1:] != [epoch]:
            self._epochs = [*self._epochs, epoch][-self.reward.last_epochs :]
        self._kept = [each for each in self._kept if each["epoch"] >= self._epochs[0]]

    def _value(self, kept: dict[str, Any]) -> float:
        return float(kept["metrics"][self.reward.metric])

    def recorded(self, line: Line, module: ChildModule) -> None:
        """Completes the metrics of what was kept with the line that its validation is part of.

        A reward metric of training examples is known only now.
        """
        if self._is_measured:
            self._kept[-1]["metrics"] = line
        elif not self.reward.is_of_validation:
            self.consider(line, module)
        self._is_measured, self._before = False, ([], [])

    def put_back(self, module: ChildModule) -> int | None:
        """Gives the network the weights back that its reward is of, and tells their epoch.

        None: they are not kept, and the network has those of its last epoch.
        """
        if not self._kept:
            return None
        module.network.load_state_dict(self._kept[0]["state_dict"])
        return int(self._kept[0]["epoch"])

    def state_dict(self) -> dict[str, Any]:
        """Returns the weights so far: part of a checkpoint that training goes on from."""
        return {"kept": self._kept, "epochs": self._epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict.get("best")  # of an earlier version
        self._kept = state_dict.get("kept", [best] if best else [])
        self._epochs = state_dict.get("epochs", [])

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.keeps_last:
            path = self.folder / ENDED
            trainer.save_checkpoint(unfinished(path))  # all ranks take part, and rank 0 writes
            if trainer.is_global_zero:
                unfinished(path).replace(path)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ChildModule)
        # Also where nothing was left to train of a child that goes on: its time was up.
        self.write_best(trainer, pl_module)

    def write_best(self, trainer: pl.Trainer, module: ChildModule) -> None:
        """Writes the weights that the reward is of, where they are to be kept, and there are any.

        Called once training has ended; by Lightning where it came to its own end.
        """
        if self._is_measured:  # and then the loss of its epoch was no number
            self._kept, self._epochs = self._before
        is_chance = self.reward.diverged == "chance" and module.diverged is not None
        if self._kept and not is_chance and trainer.is_global_zero:
            reading = trainer.datamodule.state_dict().get("reading")  # type: ignore[attr-defined]
            known: dict[str, Any] = {"reading": reading} if isinstance(reading, str) else {}
            known |= module.scale()
            write = functools.partial(torch.save, {**self._kept[0], **known})
            replace_file(self.folder / BEST, write)  # torch's own writer hides a full disk
