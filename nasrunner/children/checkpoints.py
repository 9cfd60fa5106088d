"""Keeps the weights of a child: of its best epoch, of its last one, both or neither."""

import functools
import math
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from nasrunner.children.files import LAST
from nasrunner.children.measuring import copied
from nasrunner.children.module import ChildModule, Line
from nasrunner.children.reward import Reward
from nasrunner.core.files import replace_file

Keep = Literal["best", "last", "all", "none"]


class KeepWeights(pl.Callback):
    """Writes ``best.ckpt`` and ``last.ckpt`` when training ends.

    ``best.ckpt`` holds what a later run or a user needs: ``state_dict`` of the network, ``epoch``
    and ``metrics`` of the validation whose reward metric was best. They are those that were
    validated, averages of weights too, copied in memory whenever they improve, on their device, and
    written once: a write for every improvement would cost tiny children as much as an epoch.
    ``last.ckpt`` is Lightning's own checkpoint, with the optimizer's state, so that training can go
    on from it.

    Args:
        folder: the child's folder.
        keep: which of them.
        reward: whose metric says which epoch is best.
    """

    def __init__(self, folder: Path, keep: Keep, reward: Reward) -> None:
        self.folder = folder
        self.keeps_best = keep in ("best", "all")
        self.keeps_last = keep in ("last", "all")
        self.reward = reward
        self._best: dict[str, Any] | None = None
        self._is_measured = False  # by a validation whose line is not complete

    def consider(self, line: Line, module: ChildModule) -> None:
        """Copies the weights if what was just measured of them is the best so far."""
        value = line.get(self.reward.metric)
        if not self.keeps_best or value is None or not math.isfinite(value):
            return
        best = self._best["metrics"][self.reward.metric] if self._best else None
        if self.reward.is_better(value, best):
            self._best = {
                "epoch": int(line["epoch"]),
                "metrics": line,
                "state_dict": copied(module),
            }
            self._is_measured = True

    def recorded(self, line: Line, module: ChildModule) -> None:
        """Completes the metrics of what is best with the line that its validation is part of.

        A reward metric of training examples is known only now.
        """
        if self._is_measured and self._best is not None:
            self._best["metrics"] = line
        elif not self.reward.is_of_validation:
            self.consider(line, module)
        self._is_measured = False

    def put_back(self, module: ChildModule) -> int | None:
        """Gives the network the weights of its best epoch back, and tells which that was.

        None: they are not kept, and the network has those of its last epoch.
        """
        if self._best is None:
            return None
        module.network.load_state_dict(self._best["state_dict"])
        return int(self._best["epoch"])

    def state_dict(self) -> dict[str, Any]:
        """The best weights so far: part of a checkpoint that training goes on from."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = state_dict["best"]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.keeps_last:
            trainer.save_checkpoint(self.folder / LAST)  # all ranks take part, and rank 0 writes

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Also where nothing was left to train of a child that goes on: its time was up.
        if self._best is not None and trainer.is_global_zero:
            write = functools.partial(torch.save, self._best)
            replace_file(self.folder / "best.ckpt", write)  # torch's own writer hides a full disk
