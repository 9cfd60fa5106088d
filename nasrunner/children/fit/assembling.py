"""Puts together all that one network's training takes: trainer, data, network and module."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import nn

from nasrunner.children.files import ChildFiles
from nasrunner.children.fit.batch_norm import set_epsilon
from nasrunner.children.fit.checkpoints import KeepWeights
from nasrunner.children.fit.loading import LoadedData, prepared
from nasrunner.children.fit.measuring import LastValidation, Measuring
from nasrunner.children.fit.memory_format import is_channels_last
from nasrunner.children.fit.module import ChildModule
from nasrunner.children.fit.patience import patience
from nasrunner.children.inheritance.keys import anatomy
from nasrunner.children.progress.attempts import Attempt, Line
from nasrunner.children.progress.borrowing import Borrowed
from nasrunner.children.progress.changed import NewSettings
from nasrunner.children.progress.continuing import KeepProgress
from nasrunner.children.progress.ending import EndsEarly, Reporting
from nasrunner.children.progress.lineage import Origin, stage_identity
from nasrunner.children.randomness import RandomState, random_state
from nasrunner.children.ranks import Ranks, seed_of
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.arguments import has_users_callbacks, make_trainer
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.settings.scaling import scaled
from nasrunner.children.settings.scheduling import Schedule
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.alternation import Alternation
from nasrunner.children.supernets.learning import ArchitectureLearner, learner_of
from nasrunner.children.supernets.shared_gradients import SharedGradients
from nasrunner.children.supernets.stored import supernet_known_by
from nasrunner.children.supernets.validation_batches import ValidationBatches
from nasrunner.children.tasks.tasks import Task, make_task
from nasrunner.core import InShape, Proposal, SearchSpace
from nasrunner.core.machine.stop_file import StopFile
from nasrunner.core.relaxation import Relaxation


@dataclass(frozen=True)
class Plan:
    """What one network is trained by.

    Attributes:
        child: what all children of the study share.
        proposal: the child.
        frozen: its architecture.
        config: its configuration, with the hyperparameters that the space searches.
        seed: of the first weights, the order of the examples and dropout.
        joins_validation: whether the validation examples are trained on, too.
        until: after how many epochs training is paused; None: it is not.
        is_stoppable: whether it ends where its child is told to stop.
        stage: the proposal whose training this is; None: the child's.
    """

    child: Recipe
    proposal: Proposal
    frozen: SearchSpace
    config: Config
    seed: int
    joins_validation: bool = False
    until: int | None = None
    is_stoppable: bool = False
    stage: Proposal | None = None

    @property
    def in_shape(self) -> InShape:
        """Of one example: as of the study, but at the resolution that it is trained at."""
        return at_resolution(self.child.in_shape, self.config["data"])

    @property
    def identity(self) -> str:
        """Whose a checkpoint of this training is."""
        proposal, joins = self.stage or self.proposal, self.joins_validation
        return stage_identity(proposal, self.config, self.seed, joins_validation=joins)


@dataclass(frozen=True)
class Callbacks:
    """Those of ours that others have to do with."""

    keep: KeepWeights
    progress: KeepProgress
    ending: EndsEarly
    ranks: Ranks


@dataclass(frozen=True)
class Assembled:
    """A network and all that it is trained with, before, while and after it is trained."""

    module: ChildModule
    trainer: pl.Trainer
    data: LoadedData
    task: Task
    callbacks: Callbacks


def assembled(
    plan: Plan, files: ChildFiles, attempt: Attempt, origin: Origin, reporting: Reporting
) -> Assembled:
    """Puts a training together; the network has its first weights.

    Args:
        plan: what is trained, and how.
        files: the child's folder.
        attempt: takes each epoch's line.
        origin: what training begins with.
        reporting: is told of each line once all else has it.
    """
    config, construct = plan.config, plan.child.construct
    task = make_task(config, construct)
    callbacks = _callbacks(plan, task, files, attempt, origin, reporting)
    trainer = _trainer(plan, task, files, origin, callbacks)
    data = prepared(config, trainer, plan.child.seed, construct, plan.joins_validation)
    # After the data: they draw from the same generators.
    network, inherited = _network(plan, origin.borrowed)
    callbacks.progress.inherited = inherited or callbacks.progress.inherited
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        callbacks.progress.start = _start_of_rank(plan.seed, trainer)

    def measured(line: Line) -> None:
        if trainer.is_global_zero:
            callbacks.keep.consider(line, module)

    def record(line: Line) -> None:
        attempt.add_line(line)
        files.add_line(line)
        if trainer.is_global_zero:
            callbacks.keep.recorded(line, module)
        reporting(line)

    module = _module(plan, task, network, trainer, data, measured, record)
    if (learner := learner_of(network)) is not None:
        alternation = _alternation(plan, learner, task, trainer, data, files)
        trainer.callbacks.append(alternation)  # type: ignore[attr-defined]  # set in its __init__
    return Assembled(module, trainer, data, task, callbacks)


def _callbacks(
    plan: Plan,
    task: Task,
    files: ChildFiles,
    attempt: Attempt,
    origin: Origin,
    reporting: Reporting,
) -> Callbacks:
    settings = plan.config["trainer"]
    keep = KeepWeights(files.folder, settings["checkpoint"], task.reward)
    progress = KeepProgress(
        files.last,
        settings["checkpoint_every_s"],
        plan.identity,
        attempt,
        origin.progress,
        plan.config,
        origin.lacks,
        supernet_known_by(plan.child, plan.proposal),
    )
    stop = StopFile(files.folder) if plan.is_stoppable else None
    ending = EndsEarly(plan.until, stop, reporting, progress.write, keeps_last=keep.keeps_last)
    facts = {"architecture": plan.proposal.hash, "lines": len(attempt.curves)}
    ranks = Ranks(files.folder, attempt.processes, **facts)
    return Callbacks(keep, progress, ending, ranks)


def _trainer(
    plan: Plan, task: Task, files: ChildFiles, origin: Origin, ours: Callbacks
) -> pl.Trainer:
    """Lightning's Trainer, with the user's callbacks and ours in the order that they need."""
    settings, construct = plan.config["trainer"], plan.child.construct
    measuring = Measuring(keeps_weights=has_users_callbacks(settings))
    first: list[pl.Callback] = [measuring]
    if plan.proposal.kind == "supernet":
        first.append(SharedGradients(is_synchronized=bool(settings.get("sync_batchnorm"))))
    progress = origin.progress
    if progress is not None and not progress.has_settings_of(plan.config):
        first.append(NewSettings(progress, Schedule(plan.config["scheduler"], construct).interval))
    validation = LastValidation(measuring)
    last = [*patience(settings, task), ours.ranks, ours.progress, ours.ending, validation]
    return make_trainer(settings, files.folder, construct, [*last, ours.keep], first=first)


def _alternation(
    plan: Plan,
    learner: ArchitectureLearner,
    task: Task,
    trainer: pl.Trainer,
    data: LoadedData,
    files: ChildFiles,
) -> Alternation:
    """Has the architecture of a supernet learn from validation batches, in turns with weights."""
    device = trainer.strategy.root_device
    # As in their authors' code: what α learns from is augmented, what ENAS' rewards are of is not.
    augmented = isinstance(plan.child.policy, Relaxation)

    def one_pass() -> Iterator[Any]:
        return data.validation_pass(trainer, augmented=augmented)

    batches = ValidationBatches(one_pass, plan.seed, device)
    space = plan.child.space
    return Alternation(learner, task, batches, files.folder, lambda g: space.freeze(g).text())


def _network(plan: Plan, borrowed: Borrowed) -> tuple[nn.Module, Mapping[str, float]]:
    """The network, with its own first weights but for those that other children lend it.

    Returns:
        It, and the metrics of what it was lent.
    """
    in_shape = plan.in_shape

    def build() -> nn.Module:
        return first_network(plan.frozen, in_shape, plan.seed, plan.config)

    if borrowed.is_nothing:
        return build(), {}
    if plan.proposal.kind == "supernet":
        supernet = build()
        return supernet, borrowed.lend_to_supernet(supernet)
    own = anatomy(plan.frozen, in_shape, build)
    return own.network, borrowed.lend(plan.frozen, own, in_shape, plan.seed)


def first_network(frozen: SearchSpace, in_shape: InShape, seed: int, config: Config) -> nn.Module:
    """Builds a network with its own first weights.

    Args:
        frozen: its architecture.
        in_shape: shape of one example.
        seed: of the weights. All global generators are seeded with it.
        config: the child's; its ``trainer.batch_norm_epsilon`` is set, where it has one.
    """
    pl.seed_everything(seed, workers=True, verbose=False)
    network, _ = frozen.build(in_shape)
    set_epsilon(network, config["trainer"].get("batch_norm_epsilon"))
    return network


def _module(
    plan: Plan,
    task: Task,
    network: nn.Module,
    trainer: pl.Trainer,
    data: LoadedData,
    measured: Callable[[Line], None],
    record: Callable[[Line], None],
) -> ChildModule:
    config, construct = plan.config, plan.child.construct
    settings = config["trainer"]
    make_optimizer = functools.partial(construct, config["optimizer"], "optimizer")
    return ChildModule(
        network,
        task,
        scaled(make_optimizer, settings, data.num_batches_in_a_step(trainer)),
        Schedule(config["scheduler"], construct),
        lambda: data.length(trainer),  # no partial: callbacks copy the module, not the data
        measured,
        record,
        is_channels_last=is_channels_last(settings["channels_last"], network, plan.in_shape),
        is_fast=data.is_fast,
    )


def _start_of_rank(seed: int, trainer: pl.Trainer) -> RandomState:
    """Where a rank's random generators start: Lightning resets those of all to the same."""
    if trainer.global_rank:
        pl.seed_everything(seed_of(seed, trainer.global_rank), workers=True, verbose=False)
    return random_state(trainer.strategy.root_device)
