"""Trains one child in the process it is called in: what executors send to their workers."""

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasrunner.children.evaluating import mean_curves, mean_outcome
from nasrunner.children.files import ChildFiles, RankFiles
from nasrunner.children.fit.attempts import Attempt, Result, attempted
from nasrunner.children.fit.fitting import Fitting, rewarded
from nasrunner.children.fit.module import Line
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.searched import applied
from nasrunner.core import Outcome, Proposal
from nasrunner.core.machine.child_folder import OUTCOME, ChildFolder
from nasrunner.core.records import last_line


@dataclass(frozen=True)
class TrainChild:
    """Trains a proposal and returns its outcome; a child's failure is an outcome, too.

    The network's first weights, the order of the examples and dropout depend on the proposal's
    seed alone. A child that was interrupted goes on from its ``last.ckpt``
    and becomes what it would have been without the interruption. One whose reward is the mean of
    several trainings keeps each in a folder of its own, ``trainings/0`` and so on, and goes on
    with the first that has not ended; it has the weights of training 0.

    Attributes:
        task: what to train it with, and where its folder goes.
        rank: which of the child's processes this is; rank 0 alone writes its files.
    """

    task: Recipe
    rank: int = 0

    def __call__(self, proposal: Proposal) -> Outcome:
        folder = ChildFolder.of(self.task.folder, proposal.index)
        files = RankFiles(folder.path, self.rank) if self.rank else ChildFiles(folder.path)
        if folder.holds(OUTCOME):
            shutil.rmtree(folder.trainings, ignore_errors=True)  # all of it is trained anew
        files.forget_outcome()
        return attempted(proposal, files, functools.partial(self._train, proposal, files))

    def _train(self, proposal: Proposal, files: ChildFiles, attempt: Attempt) -> Result:
        frozen = self.task.space.freeze(proposal.genotype)
        config = applied(self.task.config, frozen.hyperparameters)
        seed, evaluation = self._seed_of(proposal), self.task.evaluation
        if evaluation.is_single:
            return _trained(Fitting(self.task, proposal, frozen, config, seed), files, attempt)
        with files:  # a child whose training fails is known by them, too
            files.start(proposal, config)
        trainings = list(evaluation.trainings(config, seed))
        fittings = [Fitting(self.task, proposal, frozen, *each) for each in trainings]
        outcomes, curves = _trained_each(fittings, files.found, attempt)
        with files:
            files.start(proposal, config, mean_curves(curves))
        for path in files.found.training(0).path.glob("*.ckpt"):
            shutil.copyfile(path, files.folder / path.name)
        attempt.keeps_last = True
        attempt.curves.extend(mean_curves(curves))
        return mean_outcome(outcomes)

    def _seed_of(self, proposal: Proposal) -> int:
        """The proposal's own; of an older study, 32 bits that depend on its seed and the index."""
        if proposal.seed is not None:
            return proposal.seed
        return int(np.random.SeedSequence([self.task.seed, proposal.index]).generate_state(1)[0])


class TrainingError(Exception):
    """One of a child's trainings has failed; its folder has the whole reason."""


def _trained(fitting: Fitting, files: ChildFiles, attempt: Attempt) -> Result:
    with fitting.run(files, attempt) as fitted:
        pass
    return rewarded(fitted, attempt.curves)


def _trained_each(
    fittings: Sequence[Fitting], folder: ChildFolder, attempt: Attempt
) -> tuple[list[Outcome], list[list[Line]]]:
    """The outcomes and curves of a child's trainings, each in a folder of its own.

    The attempt has cost what they have, those of earlier attempts among them.
    """
    outcomes, curves = [], []
    spent_s = 0.0
    for number, fitting in enumerate(fittings):
        files = ChildFiles(folder.training(number).path)
        outcome = files.found.outcome(fitting.proposal)
        if outcome is None:
            train = functools.partial(_trained, fitting, files)
            outcome = attempted(fitting.proposal, files, train)
        spent_s += outcome.cost_s
        attempt.set_cost_s(spent_s)
        if outcome.status != "completed":
            reason = last_line(outcome.error)
            raise TrainingError(f"training {number} of {len(fittings)} failed: {reason}")
        outcomes.append(outcome)
        curves.append(files.found.curves())
    return outcomes, curves
