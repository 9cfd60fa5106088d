"""Trains one child in the process it is called in: what executors send to their workers."""

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nasrunner.children.evaluating import mean_curves, mean_outcome
from nasrunner.children.files import ChildFiles, RankFiles
from nasrunner.children.fit.assembling import Plan
from nasrunner.children.fit.deployed import costs_of
from nasrunner.children.fit.network_training import fitted, rewarded
from nasrunner.children.progress.attempts import Attempt, Line, Result, attempted, curve_of
from nasrunner.children.progress.continuing import read_progress
from nasrunner.children.progress.ending import Reporting
from nasrunner.children.progress.lineage import Origin, Stage, lineage, origin_of
from nasrunner.children.recipe import Recipe
from nasrunner.children.supernets.learning import learner_of
from nasrunner.core import Hear, Outcome, Proposal
from nasrunner.core.machine.child_folder import KEEPS_LAST, OUTCOME, ChildFolder
from nasrunner.core.records import last_line


@dataclass(frozen=True)
class TrainChild:
    """Trains a proposal and returns its outcome; a child's failure is an outcome, too.

    The network's first weights, the order of the examples and dropout depend on the proposal's
    seed alone. A child that was interrupted goes on from its ``last.ckpt``
    and becomes what it would have been without the interruption. One that goes on with another
    child begins with that one's; see ``origin_of``. One whose reward is the mean of
    several trainings keeps each in a folder of its own, ``trainings/0`` and so on, and goes on
    with the first that has not ended; it has the weights of training 0.

    Attributes:
        task: what to train it with, and where its folder goes.
        rank: which of the child's processes this is; rank 0 alone writes its files.
        hear: who is told of each epoch, in this process; None: nobody.
    """

    task: Recipe
    rank: int = 0
    hear: Hear | None = None

    def __call__(self, proposal: Proposal) -> Outcome:
        folder = ChildFolder.of(self.task.folder, proposal.index)
        files = RankFiles(folder.path, self.rank) if self.rank else ChildFiles(folder.path)
        if folder.holds(OUTCOME):
            shutil.rmtree(folder.trainings, ignore_errors=True)  # all of it is trained anew
        files.forget_outcome()
        is_single = self.task.evaluation.is_single
        train = self._train_once if is_single else self._train_several_times
        return attempted(proposal, files, functools.partial(train, proposal, files))

    def _train_once(self, proposal: Proposal, files: ChildFiles, attempt: Attempt) -> Result:
        files.write_proposal(proposal)
        with files.log():
            stages = lineage(self.task, proposal)
            if (source := _completed_source(self.task, proposal)) is not None:
                attempt.keep_last()  # where its source kept one
                return _repeated(source, stages[-1], files)
            stages, origin = origin_of(self.task, stages, files)
            if origin.progress is not None:
                attempt.go_on(origin.progress.curves, origin.cost_s)
            reporting = Reporting(proposal.index, None if self.rank else self.hear)
            for stage in stages[:-1]:
                plan = self._plan(proposal, stage)
                with fitted(plan, files, attempt, origin, reporting) as trained:
                    costs = costs_of(plan, trained)
                if trained.callbacks.ending.status is None:
                    return rewarded(trained, attempt.curves, origin.lacks).beside(costs)
                progress = read_progress(files.last, [plan.identity], plan.config)
                assert progress is not None, "it was paused"
                origin = Origin(progress, lacks=origin.lacks)
            plan = self._plan(proposal, stages[-1])
            with fitted(plan, files, attempt, origin, reporting) as trained:
                costs = costs_of(plan, trained)
        result = rewarded(trained, attempt.curves, origin.lacks).beside(costs)
        if proposal.kind != "supernet":
            return result
        learner = learner_of(trained.module.network)
        found = () if learner is None else tuple(learner.found())
        return replace(result, reward=None, found=found)

    def _plan(self, proposal: Proposal, stage: Stage) -> Plan:
        is_own = stage.proposal is proposal
        return Plan(
            self.task,
            proposal,
            stage.frozen,
            stage.config,
            stage.seed,
            until=stage.until,
            is_stoppable=is_own,
            stage=stage.proposal,
        )

    def _train_several_times(
        self, proposal: Proposal, files: ChildFiles, attempt: Attempt
    ) -> Result:
        (stage,) = lineage(self.task, proposal)
        with files:  # a child whose training fails is known by them, too
            files.start(proposal, stage.config)
        trainings = self.task.evaluation.trainings(stage.config, stage.seed)
        plans = [Plan(self.task, proposal, stage.frozen, *each) for each in trainings]
        outcomes, curves = _trained_each(plans, files.found, attempt)
        mean = mean_curves(curves)
        with files:
            files.start(proposal, stage.config, mean)
        for path in files.found.training(0).path.glob("*.ckpt"):
            shutil.copyfile(path, files.folder / path.name)
        attempt.keep_last()
        reward, metrics = mean_outcome(outcomes)
        names = dict.fromkeys(name for outcome in outcomes for name in outcome.curve)
        return Result(reward, metrics, curve=curve_of(mean, list(names)))


class TrainingError(Exception):
    """One of a child's trainings has failed; its folder has the whole reason."""


def _trained(plan: Plan, files: ChildFiles, attempt: Attempt) -> Result:
    with fitted(plan, files, attempt) as trained:
        costs = costs_of(plan, trained)
    return rewarded(trained, attempt.curves).beside(costs)


def _trained_each(
    plans: Sequence[Plan], folder: ChildFolder, attempt: Attempt
) -> tuple[list[Outcome], list[list[Line]]]:
    """The outcomes and curves of a child's trainings, each in a folder of its own.

    The attempt has cost what they have, those of earlier attempts among them.
    """
    outcomes, curves = [], []
    spent_s = 0.0
    for number, plan in enumerate(plans):
        files = ChildFiles(folder.training(number).path)
        outcome = files.found.outcome(plan.proposal)
        if outcome is None:
            outcome = attempted(plan.proposal, files, functools.partial(_trained, plan, files))
        else:
            files.settle(keeps_last=plan.config["trainer"]["checkpoint"] in KEEPS_LAST)
        spent_s += outcome.cost_s
        attempt.set_cost_s(spent_s)
        if outcome.status != "completed":
            reason = last_line(outcome.error)
            raise TrainingError(f"training {number} of {len(plans)} failed: {reason}")
        outcomes.append(outcome)
        curves.append(files.found.curves())
    return outcomes, curves


def _completed_source(task: Recipe, proposal: Proposal) -> tuple[ChildFolder, Outcome] | None:
    """The child that a proposal goes on with, where nothing is left to train of it."""
    if proposal.continues is None:
        return None
    folder = ChildFolder.of(task.folder, proposal.continues)
    try:
        outcome = folder.outcome(folder.proposal())
    except (OSError, ValueError):
        return None
    return (folder, outcome) if outcome is not None and outcome.status == "completed" else None


def _repeated(source: tuple[ChildFolder, Outcome], stage: Stage, files: ChildFiles) -> Result:
    """What became of a child that was trained to its end, as the result of going on with it."""
    folder, outcome = source
    with files:
        files.start(stage.proposal, stage.config, folder.curves())
    files.copy_checkpoints(folder)
    return Result(outcome.reward, outcome.metrics, curve=outcome.curve, cost_s=0.0)
