"""Trains one network anew in the process it is called in, and tests it once."""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities.model_helpers import is_overridden

from nasrunner.children.files import ChildFiles
from nasrunner.children.fit.assembling import Assembled, Plan
from nasrunner.children.fit.loading import join_validation, make_data
from nasrunner.children.fit.network_training import fitted, rewarded
from nasrunner.children.muted import without_messages
from nasrunner.children.progress.attempts import (
    Attempt,
    Result,
    attempted,
    final_metrics,
    num_epochs,
)
from nasrunner.children.rehearsal.checks import check_child
from nasrunner.children.rehearsal.needs import Needs
from nasrunner.children.settings.arguments import make_trainer, needs_ranks
from nasrunner.children.settings.searched import Config, applied, variants
from nasrunner.core import ConfigError, Genotype, NasRunnerError, OneOf, Outcome, Proposal
from nasrunner.core.machine.child_folder import BEST, LAST, TESTED
from nasrunner.retrain.training.recipe import (
    RetrainRecipe,
    network_folder,
    repetition_of,
    repetition_seed,
    with_all_examples,
)


@dataclass(frozen=True)
class TrainNetwork:
    """Trains a child's architecture, and tests the network that comes of it once.

    Training begins with weights of its own, or with those that the child's reward is of, and the
    optimizer and its schedule at their beginnings.

    The test part is read after the training has ended, in the same process and for these weights
    only: there is no way to test a network again but to train it again. Which epoch's weights are
    tested depends on the validation part alone: with ``on=train`` the best epoch's where these
    are kept (``trainer.checkpoint``: best or all), else the last one's.

    First weights, order of the examples and dropout depend on the study's seed and the repetition;
    the split is the study's own. A training that was interrupted goes on from its ``last.ckpt``.
    """

    task: RetrainRecipe

    def __call__(self, proposal: Proposal) -> Outcome:
        repetition = repetition_of(proposal)
        folder = self.task.child.folder
        files = ChildFiles(network_folder(folder, f"{proposal.index:04d}", repetition))
        if (files.folder / TESTED).exists():
            files.forget_progress()  # a network that was tested is trained anew
        files.forget_outcome()  # first: it says that all is done
        (files.folder / TESTED).unlink(missing_ok=True)
        return attempted(proposal, files, functools.partial(self._train, proposal, files))

    def _train(self, proposal: Proposal, files: ChildFiles, attempt: Attempt) -> Result:
        child = self.task.child
        frozen = child.space.freeze(proposal.genotype)
        plan = Plan(
            child,
            proposal,
            frozen,
            config_of(self.task, proposal.genotype),
            repetition_seed(child.seed, repetition_of(proposal)),
            joins_validation=self.task.on == "train_and_validation",
        )
        borrowed = self.task.borrowed(proposal.index, plan.config)
        with fitted(plan, files, attempt, borrowed=borrowed) as trained:
            curves = attempt.curves
            if trained.module.diverged is not None:
                raise FloatingPointError(trained.module.diverged)
            metrics = _tested(trained, files, num_epochs(curves))
        if self.task.on != "train":
            return Result(None, final_metrics(curves) | metrics)
        result = rewarded(trained, curves)
        return replace(result, metrics={**result.metrics, **metrics})


def config_of(task: RetrainRecipe, genotype: Genotype) -> Config:
    """Returns what a network is trained with: without a validation part, nothing may ask for
    one.
    """
    config = applied(task.child.config, task.child.space.freeze(genotype).hyperparameters)
    if task.on == "train_and_validation":
        without = {"limit_val_batches": 0, "stop_patience": None, "checkpoint": "last"}
        config["trainer"].update(without)
    return with_all_examples(config, task.on)


def check_network(task: RetrainRecipe, genotype: Genotype) -> list[str]:
    """Tries all that a network will need, and trains it a step.

    Returns:
        Sentences on what will be done in another way than was asked for.

    Raises:
        ConfigError: a part cannot be built, no weights would be kept, or something needs a
            validation or test part that there is not; names the key.
        DataError: a file of the data set is missing or damaged.
    """
    config = config_of(task, genotype)
    _check_retraining(task, config)
    return _check_child(task, genotype, config, ())


def check_grid(
    task: RetrainRecipe, genotype: Genotype, grid: Sequence[tuple[str, OneOf]]
) -> list[str]:
    """Tries what a network and the search for its settings will need, with every value of these.

    Args:
        task: trains the network, before any of the settings.
        genotype: its architecture.
        grid: (dotted key, values) pairs.

    Returns:
        As of ``check_network``.

    Raises:
        ConfigError, DataError: as of ``check_network``; names the value where it is one's.
    """
    child = task.child
    for option, config in variants(child.config, grid):
        try:
            varied = replace(task, child=replace(child, config=config))
            _check_retraining(varied, config_of(varied, genotype))
        except NasRunnerError as error:
            where = f" (with {option} of the grid)" if option else ""
            raise type(error)(f"{error}{where}") from error
    searched = applied(child.config, child.space.freeze(genotype).hyperparameters)
    said = _check_child(replace(task, on="train"), genotype, searched, grid)
    return [*said, *_check_child(task, genotype, config_of(task, genotype), grid)]


def _check_child(
    task: RetrainRecipe,
    genotype: Genotype,
    config: Config,
    settings: Sequence[tuple[str, OneOf]],
) -> list[str]:
    child = task.child
    return check_child(
        config,
        settings,
        child.in_shape,
        child.construct,
        [child.space.freeze(genotype)],
        Needs(is_rewarded=task.on == "train"),
        named="{} of the grid",
    )


def _check_retraining(task: RetrainRecipe, config: Config) -> None:
    """Refuses what a network is not trained and tested with, though a child might be."""
    child, settings = task.child, config["trainer"]
    with without_messages():  # Lightning says which devices it found
        if needs_ranks(settings, lambda: make_trainer(settings, Path(), child.construct, [])):
            given = [f"trainer.{n}={settings.get(n)}" for n in ("devices", "num_nodes", "strategy")]
            raise ConfigError(
                "nasrunner-retrain trains and tests each network on one device, not with "
                f"{' '.join(given)}; legal: trainer.devices=1 trainer.num_nodes=1 "
                "trainer.strategy=auto"
            )
    if settings["checkpoint"] == "none":
        raise ConfigError(
            "trainer.checkpoint=none keeps no weights of a network; legal here: best, last, all"
        )
    data: Any = make_data(config["data"], child.construct)
    if not is_overridden("test_dataloader", data):
        raise ConfigError(
            f"data: {type(data).__name__} has no test_dataloader(), so nothing can be tested"
        )
    if task.on == "train_and_validation":
        join_validation(data)
        monitor = config["scheduler"].get("monitor")
        if isinstance(monitor, str) and monitor.startswith("val_"):
            raise ConfigError(
                f"scheduler.monitor={monitor} is not measured with on=train_and_validation: give "
                "scheduler.monitor=train_loss, another scheduler, or on=train"
            )


def _tested(trained: Assembled, files: ChildFiles, num_trained: int) -> dict[str, float]:
    """Measures a network that was just trained on the test part, and records that it was."""
    best_epoch = trained.callbacks.keep.put_back(trained.module)
    trained.data.data.setup("test")
    trained.trainer.test(trained.module, datamodule=trained.data, verbose=False)
    record = {
        "time": time.time(),
        "weights": LAST if best_epoch is None else BEST,
        "epoch": num_trained - 1 if best_epoch is None else best_epoch,
        "examples": trained.module.num_tested,
        "metrics": trained.module.tested,
    }
    files.write_whole(TESTED, record)
    return trained.module.tested
