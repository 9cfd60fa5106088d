"""Estimates children with the weights of a supernet, where executors have them trained."""

import functools
import itertools
from typing import Any

import numpy as np
import torch

from nasrunner.children.files import ChildFiles, RankFiles
from nasrunner.children.fit.assembling import Assembled, Plan, assembled
from nasrunner.children.fit.batch_norm import batch_norms
from nasrunner.children.fit.deployed import costs_of
from nasrunner.children.progress.attempts import Attempt, Result, attempted
from nasrunner.children.progress.borrowing import trained_weights
from nasrunner.children.progress.ending import Reporting
from nasrunner.children.progress.lineage import Origin, lineage
from nasrunner.children.ranks import are_started_by_srun, rank_here
from nasrunner.children.recipe import Recipe
from nasrunner.children.rehearsal.shortened import on_one_device
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.shared_weights import MissingWeightError, SharedWeights
from nasrunner.children.supernets.stored import Facts, stored_weights, why_foreign
from nasrunner.children.supernets.supernet import OneShot
from nasrunner.core import LostFileError, Outcome, Proposal, SpaceError
from nasrunner.core.machine.child_folder import ChildFolder
from nasrunner.core.order import rollout

_NUM_LOOKED_AT = 20
"""So many architectures of a space are looked at before its supernet is taken for another's."""

_WRITES_NOTHING = {"checkpoint": "none", "checkpoint_every_s": None}


class SharedScoring:
    """Validates networks with the weights of a supernet, which each call reads once.

    The statistics of batch normalization are those of the network itself: taken anew from batches
    of training examples before it is validated, ``trainer.shared_batch_norm`` of them, as in Guo et
    al. 2019, arXiv:1904.00420.

    One device makes an estimate, also where children have several: of all validation examples.

    Args:
        recipe: how the study's children are made.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._read: tuple[int, SharedWeights] | None = None

    def __call__(self, proposal: Proposal) -> Outcome:
        """Makes an estimate; returns its outcome, which stands in its folder, too."""
        path = ChildFolder.of(self.recipe.folder, proposal.index).path
        rank = rank_here() if are_started_by_srun() else 0
        files = RankFiles(path, rank) if rank else ChildFiles(path)
        files.forget_outcome()
        return attempted(proposal, files, functools.partial(self._estimate, proposal, files))

    def _estimate(self, proposal: Proposal, files: ChildFiles, attempt: Attempt) -> Result:
        files.write_proposal(proposal)
        stage = lineage(self.recipe, proposal)[-1]
        settings = {**stage.config["trainer"], **_WRITES_NOTHING}
        config = {**stage.config, "trainer": _alone(settings)}
        # All with one seed: the batches that statistics are taken from are the same.
        plan = Plan(self.recipe, proposal, stage.frozen, config, self.recipe.seed)
        with files.log():
            weights = self._weights(proposal.sources[0].child, config)
            values = weights.values(proposal.genotype)
            reporting = Reporting(proposal.index, None)
            found = assembled(plan, files, attempt, Origin(), reporting)
            try:
                result = self._validated(found, values, config["trainer"]["shared_batch_norm"])
                return result.beside(costs_of(plan, found))
            finally:
                found.data.data.trainer = None  # it outlives this estimate

    def _validated(
        self, found: Assembled, values: dict[str, torch.Tensor], num_batches: int
    ) -> Result:
        given = found.module.network.load_state_dict(values, strict=False)
        assert not given.unexpected_keys, "it has the weights of its own network"
        normalize_anew(found, num_batches)
        found.trainer.validate(found.module, datamodule=found.data, verbose=False)
        measured = found.trainer.callback_metrics.items()
        metrics = {name: float(value) for name, value in measured if name.startswith("val_")}
        return Result(found.task.reward([{"epoch": 0.0, **metrics}]), metrics)

    def _weights(self, child: int, config: dict[str, Any]) -> SharedWeights:
        if self._read is None or self._read[0] != child:
            self._read = child, self._read_weights(child, config)
        return self._read[1]

    def _read_weights(self, child: int, config: dict[str, Any]) -> SharedWeights:
        folder = ChildFolder.of(self.recipe.folder, child)
        stored = trained_weights(folder, config)
        name = folder.last.name if config["trainer"]["checkpoint"] == "last" else folder.best.name
        if stored is None:
            raise LostFileError(
                f"{folder.path} lacks the weights of the supernet, or they cannot be read: nothing "
                f"can be estimated until its {name} is back"
            )
        weights = stored_weights(stored, self.recipe, config)
        foreign = why_foreign(stored, weights, self._whose(folder))
        if foreign is None and _all_lack(weights, self.recipe.seed):
            foreign = "a supernet of another space"
        if foreign is not None:
            raise LostFileError(
                f"{folder.path} holds the weights of {foreign}: nothing can be estimated until its "
                f"own {name} is back"
            )
        return weights

    def _whose(self, folder: ChildFolder) -> Facts:
        """What the weights in a supernet's folder must be of; empty where that is not known."""
        try:
            network = lineage(self.recipe, folder.proposal())[-1].frozen.network
        except (OSError, ValueError):
            return ()
        return network.whose if isinstance(network, OneShot) else ()


def _all_lack(weights: SharedWeights, seed: int) -> bool:
    """Whether all of some random architectures need weights that are not there.

    Of its own space a supernet has all, but for what very few architectures need; one of an earlier
    version does not say which that is.
    """
    rng = np.random.default_rng(seed)
    num_missing = 0
    for _ in range(_NUM_LOOKED_AT):
        try:
            weights.network(rollout(weights.space, rng))
            return False
        except MissingWeightError:
            num_missing += 1
        except SpaceError:  # an impossible one
            continue
    return num_missing > 0


def normalize_anew(found: Assembled, num_batches: int) -> None:
    """Takes a network's statistics of batch normalization from batches of training examples.

    Each counts alike: they are the mean over the batches. What a user's modules keep in buffers of
    their own is taken from these batches, too, as they do it in training.

    Args:
        found: the network, and its data.
        num_batches: of the first training epoch.
    """
    if next(found.module.network.buffers(), None) is None:
        return
    norms = list(batch_norms(found.module.network))
    device = found.trainer.strategy.root_device
    network = found.module.to(device).network.train()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # of torch: the cumulative average
    batches = found.data.training_batches(found.trainer)
    with torch.no_grad(), found.trainer.precision_plugin.forward_context():
        for batch in itertools.islice(batches, num_batches):
            found.module(batch[0])
    batches.close()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def _alone(settings: Config) -> Config:
    """The trainer for one of its devices: the first of those that were chosen."""
    chosen = settings.get("devices")
    if isinstance(chosen, str) and "," in chosen:
        chosen = [int(chosen.split(",")[0])]
    devices = chosen[:1] if isinstance(chosen, list) and chosen else 1
    return {**on_one_device(settings), "devices": devices}
