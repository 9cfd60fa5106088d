"""Scores a study's children where executors have them trained: their outcomes, and their files."""

import functools
import json
import warnings
from collections.abc import Sequence

from nasrunner.children.files import ChildFiles, RankFiles
from nasrunner.children.fit.assembling import first_network
from nasrunner.children.progress.attempts import Attempt, Result, attempted
from nasrunner.children.progress.lineage import lineage
from nasrunner.children.proxies.batch import FirstBatch, first_batch
from nasrunner.children.proxies.sample import ProxyError
from nasrunner.children.proxies.scores import scores
from nasrunner.children.ranks import are_started_by_srun, rank_here
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.settings.searched import Config
from nasrunner.core import Outcome, Proposal
from nasrunner.core.machine.child_folder import ChildFolder


class Scoring:
    """Scores children one after the other; the batch that they share is loaded once.

    A network has the first weights that training would begin with.

    Args:
        recipe: how the study's children are made.
        names: of the proxies; the first one's score is the reward.
        batch_size: as of ``first_batch``.
    """

    def __init__(self, recipe: Recipe, names: Sequence[str], batch_size: int | None = None) -> None:
        self.recipe = recipe
        self.names = names
        self.batch_size = batch_size
        self._loaded: tuple[str, FirstBatch] | None = None

    def __call__(self, proposal: Proposal) -> Outcome:
        """The outcome of a child, which stands in its folder; it has failed without a reward."""
        path = ChildFolder.of(self.recipe.folder, proposal.index).path
        rank = rank_here() if are_started_by_srun() else 0
        files = RankFiles(path, rank) if rank else ChildFiles(path)
        files.forget_outcome()
        return attempted(proposal, files, functools.partial(self._score, proposal, files))

    def _score(self, proposal: Proposal, files: ChildFiles, attempt: Attempt) -> Result:
        files.write_proposal(proposal)
        with files.log():
            stage = lineage(self.recipe, proposal)[-1]
            batch = self._batch(stage.config)
            in_shape = at_resolution(self.recipe.in_shape, stage.config["data"])
            network = first_network(stage.frozen, in_shape, stage.seed, stage.config)
            found = scores(network.to(batch.device), batch.x, batch.loss, self.names)
            rewarded = self.names[0]
            for name, reason in found.reasons.items():
                if name != rewarded:
                    warnings.warn(reason, stacklevel=1)
        if rewarded not in found.values:
            raise ProxyError(found.reasons[rewarded])
        return Result(found.values[rewarded], found.values)

    def _batch(self, config: Config) -> FirstBatch:
        """The batch of a child, another one only where its data or its task are others."""
        identity = json.dumps([config["data"], config["task"]], sort_keys=True, default=repr)
        if self._loaded is None or self._loaded[0] != identity:
            recipe = self.recipe
            batch = first_batch(config, recipe.seed, recipe.construct, self.batch_size)
            self._loaded = (identity, batch)
        return self._loaded[1]
