"""Trains a supernet by turns: its weights on training batches, its architecture on validation."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch.distributed as dist

from nasrunner.children.supernets.learning import ArchitectureLearner
from nasrunner.children.supernets.trials import Trials
from nasrunner.children.supernets.validation_batches import Batch, ValidationBatches
from nasrunner.children.tasks.tasks import Task
from nasrunner.core import ConfigError, Genotype
from nasrunner.core.machine.child_folder import DERIVED, PROBABILITIES
from nasrunner.core.machine.files import replace_file

_MOST_RECORDED = 1_000
"""So many options have their probabilities recorded, those of the first decisions."""

_DECIMALS = 6


class _Module(Protocol):
    """What it needs of the LightningModule that holds a supernet."""

    automatic_optimization: bool
    before_step: Callable[[Batch], None] | None

    def add_to_line(self, metrics: Mapping[str, float]) -> None: ...


class Alternation(pl.Callback):
    """Has a supernet's ``learner`` learn before each step of the weights and after each epoch.

    Its turn before a step comes once where several batches make one step. Its turn after an epoch
    comes when the epoch was validated and before its line is recorded, which has the metrics that
    it returns. The architecture that it takes for the best one after each epoch stands in
    ``derived.jsonl``: ``epoch``, ``genotype`` and ``text``; how likely it takes options to be
    stands in ``probabilities.jsonl``, as ``ChildFolder.probabilities`` reads it. A learner that is
    done ends training.

    Where it is in the validation batches, each rank in its own, stands in the checkpoint, as what
    the files hold does.

    Args:
        learner: the supernet's.
        task: whose loss and reward it learns by.
        batches: of validation examples.
        folder: the child's.
        text_of: writes an architecture in one line.
    """

    def __init__(
        self,
        learner: ArchitectureLearner,
        task: Task,
        batches: ValidationBatches,
        folder: Path,
        text_of: Callable[[Genotype], str],
    ) -> None:
        self.learner = learner
        self.task = task
        self.batches = batches
        self.folder = folder
        self.text_of = text_of
        self._derived: list[dict[str, Any]] = []
        self._probabilities: list[str] = []  # lines
        self._trials: Trials | None = None
        self._rank, self._num_ranks = 0, 1

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        share: float = trainer.overfit_batches  # type: ignore[attr-defined]  # set in its __init__
        if share:
            raise ConfigError(
                f"trainer.overfit_batches={share:g} puts training examples in "
                "the place of the validation examples that the architecture of a supernet learns "
                "from; legal: 0, or trainer.limit_train_batches"
            )
        self._rank, self._num_ranks = trainer.global_rank, trainer.world_size

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.batches.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.batches.close()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trials = self._trials = Trials(pl_module, self.task, trainer, self.batches)
        module: _Module = pl_module  # type: ignore[assignment]  # is one
        if not module.automatic_optimization:
            module.before_step = lambda batch: self.learner.before_step(batch, trials)
        if self._rank == 0:
            lines = [json.dumps(each) + "\n" for each in self._derived]
            replace_file(self.folder / DERIVED, "".join(lines))
            path = self.folder / PROBABILITIES
            if self._probabilities or path.exists():
                replace_file(path, "".join(self._probabilities))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        is_first = batch_idx % trainer.accumulate_grad_batches == 0
        if pl_module.automatic_optimization and is_first:
            assert self._trials is not None
            self.learner.before_step(batch, self._trials)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert self._trials is not None
        module: _Module = pl_module  # type: ignore[assignment]  # is one
        module.add_to_line(self.learner.after_epoch(self._trials))
        genotype, epoch = self.learner.likeliest(), trainer.current_epoch
        record = {"epoch": epoch, "genotype": genotype, "text": self.text_of(genotype)}
        self._derived.append(record)
        self._add(DERIVED, json.dumps(record) + "\n")
        if probabilities := self.learner.probabilities():
            line = json.dumps({"epoch": epoch, **_recorded(probabilities)})
            self._probabilities.append(line + "\n")
            self._add(PROBABILITIES, line + "\n")
        if self.learner.is_done():
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        own = self.batches.state_dict()
        return {
            "batches": self._of_all_ranks(own),
            "derived": self._derived,
            "probabilities": self._probabilities,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        batches = state_dict["batches"]
        self.batches.load_state_dict(batches if self._num_ranks == 1 else batches[self._rank])
        self._derived = list(state_dict["derived"])
        self._probabilities = list(state_dict.get("probabilities", ()))  # older ones have none

    def _add(self, name: str, line: str) -> None:
        """Adds a line to a file of the folder, which one rank writes."""
        if self._rank == 0:
            with (self.folder / name).open("a", encoding="utf-8") as file:
                file.write(line)

    def _of_all_ranks(self, own: dict[str, int]) -> dict[str, int] | list[dict[str, int]]:
        """What each rank has, by rank; all of them save a checkpoint together."""
        if self._num_ranks == 1:
            return own
        ranks: list[Any] = [None] * self._num_ranks
        dist.all_gather_object(ranks, own)
        return ranks


def _recorded(probabilities: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What a line of the file holds: ``decisions``, and how many more are ``left_out``."""
    kept: dict[str, dict[str, float]] = {}
    count = 0
    for path, options in probabilities.items():
        count += len(options)
        if count > _MOST_RECORDED:
            break
        kept[path] = {name: round(each, _DECIMALS) for name, each in options.items()}
    left_out = len(probabilities) - len(kept)
    return {"decisions": kept, **({"left_out": left_out} if left_out else {})}
