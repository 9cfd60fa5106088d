"""Trains one child in the process it is called in: what executors send to their workers."""

import functools
from dataclasses import dataclass

import numpy as np

from nasrunner.children.attempts import Attempt, Result, attempted
from nasrunner.children.files import ChildFiles, RankFiles
from nasrunner.children.fitting import Fitting, rewarded
from nasrunner.children.lightning import LightningTask
from nasrunner.children.settings import applied
from nasrunner.core import Outcome, Proposal, child_folder


@dataclass(frozen=True)
class TrainChild:
    """Trains a proposal and returns its outcome; a child's failure is an outcome, too.

    The network's first weights, the order of the examples and dropout depend on the study's seed
    and the proposal's index alone. A child that was interrupted goes on from its ``last.ckpt``
    and becomes what it would have been without the interruption.

    Attributes:
        task: what to train it with, and where its folder goes.
        rank: which of the child's processes this is; rank 0 alone writes its files.
    """

    task: LightningTask
    rank: int = 0

    def __call__(self, proposal: Proposal) -> Outcome:
        folder = child_folder(self.task.folder, proposal.index)
        files = RankFiles(folder, self.rank) if self.rank else ChildFiles(folder)
        files.forget_outcome()
        return attempted(proposal, files, functools.partial(self._train, proposal, files))

    def _train(self, proposal: Proposal, files: ChildFiles, attempt: Attempt) -> Result:
        frozen = self.task.space.freeze(proposal.genotype)
        config = applied(self.task.config, frozen.hyperparameters)
        fitting = Fitting(self.task, proposal, frozen, config, self._seed_of(proposal))
        with fitting.run(files, attempt) as fitted:
            pass
        return rewarded(fitted, attempt.curves)

    def _seed_of(self, proposal: Proposal) -> int:
        """The proposal's own; of an older study, 32 bits that depend on its seed and the index."""
        if proposal.seed is not None:
            return proposal.seed
        return int(np.random.SeedSequence([self.task.seed, proposal.index]).generate_state(1)[0])
