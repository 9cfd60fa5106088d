"""The trainings that a proposal goes on with, one after the other, and where its own begins."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasrunner.children.files import ChildFiles
from nasrunner.children.progress.borrowing import NOTHING, Borrowed
from nasrunner.children.progress.continuing import (
    SavedProgress,
    identity_of,
    read_progress,
    read_source,
)
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.fidelity import reduced, thinned
from nasrunner.children.settings.searched import Config, applied
from nasrunner.children.supernets.stored import supernet_known_by
from nasrunner.children.supernets.supernet import supernet_of
from nasrunner.core import Outcome, Proposal, SearchSpace
from nasrunner.core.machine.child_folder import ChildFolder


@dataclass(frozen=True)
class Stage:
    """A part of a training: what one of the proposals of its lineage trains.

    Attributes:
        proposal: which.
        frozen: its architecture.
        config: its configuration, with the hyperparameters that the space searches.
        seed: of the whole lineage.
        until: after how many epochs it is paused; None: it is trained to its end.
    """

    proposal: Proposal
    frozen: SearchSpace
    config: Config
    seed: int
    until: int | None

    @property
    def identity(self) -> str:
        """Whose a checkpoint of it is."""
        return stage_identity(self.proposal, self.config, self.seed)


def stage_identity(
    proposal: Proposal, config: Config, seed: int, *, joins_validation: bool = False
) -> str:
    """Returns what a checkpoint must be of for a training to go on from it."""
    named = (proposal.index, proposal.evaluation)
    return identity_of(named, config, seed, joins_validation)


def lineage(recipe: Recipe, proposal: Proposal) -> list[Stage]:
    """Returns the stages of a proposal's training, from the first weights on; its own is the last.

    What of them cannot be read any more is left out: those after it had the same settings.

    Args:
        recipe: how the study's children are made.
        proposal: the child.

    Raises:
        ValueError: there is no going on with one of its sources.
    """
    proposals, untils = [proposal], [proposal.until]
    while (source := proposals[0].continues) is not None:
        folder = ChildFolder.of(recipe.folder, source)
        try:
            earlier = folder.proposal()
        except (OSError, ValueError) as error:
            warnings.warn(f"child {source}, which is gone on with, is gone: {error}", stacklevel=2)
            break
        proposals.insert(0, earlier)
        untils.insert(0, _until(earlier, folder.outcome(earlier)))
    seed = _seed(recipe, proposal, proposals[0])
    stages = [_stage(recipe, *each, seed) for each in zip(proposals, untils, strict=True)]
    for stage in stages[:-1]:
        theirs, own = stage.frozen.network.text(), stages[-1].frozen.network.text()
        if theirs != own:
            raise ValueError(
                "only the same network can go on with a training, but child "
                f"{stage.proposal.index} is {theirs} and this one {own}"
            )
    return stages


def _until(earlier: Proposal, outcome: Outcome | None) -> int | None:
    """After how many epochs a source was gone on with."""
    if earlier.fidelity:
        raise ValueError(f"child {earlier.index} has a fidelity, and nothing goes on with it")
    if outcome is not None and outcome.status == "failed":
        raise ValueError(f"child {earlier.index} has failed, and nothing goes on with it")
    if outcome is not None and outcome.status == "stopped":
        return int(outcome.metrics["epochs"])
    return earlier.until


def _seed(recipe: Recipe, proposal: Proposal, root: Proposal) -> int:
    """The proposal's own; of an older study, 32 bits that depend on its seed and the root."""
    if proposal.seed is not None:
        return proposal.seed
    return int(np.random.SeedSequence([recipe.seed, root.index]).generate_state(1)[0])


def _stage(recipe: Recipe, proposal: Proposal, until: int | None, seed: int) -> Stage:
    config = reduced(recipe.config, proposal.fidelity)
    if proposal.kind == "supernet":
        frozen = supernet_of(recipe, config, seed, proposal.genotype)
    else:
        frozen = thinned(recipe.space.freeze(proposal.genotype), proposal.fidelity)
    config = applied(config, frozen.hyperparameters)
    config = _to_its_end(config) if proposal.kind == "supernet" else config
    return Stage(proposal, frozen, config, seed, until)


def _to_its_end(config: Config) -> Config:
    """Settings with which the weights that are kept are those of the last validation.

    Each validation of a supernet is of other networks, or of few: the best is a matter of chance.
    """
    task = config["task"]
    reward = task.get("reward")
    if not isinstance(reward, Mapping) or "reduce" not in reward:
        return config  # a user's task makes its own
    return {**config, "task": {**task, "reward": {**reward, "reduce": "last"}}}


@dataclass(frozen=True)
class Origin:
    """What a training begins with.

    Attributes:
        progress: what it goes on from; None: it begins with its first weights.
        borrowed: what these are replaced by.
        lacks: as of ``Outcome``.
        cost_s: the seconds that earlier attempts have spent on the child.
    """

    progress: SavedProgress | None = None
    borrowed: Borrowed = NOTHING
    lacks: Sequence[int] = ()
    cost_s: float = 0.0


def origin_of(
    recipe: Recipe, stages: Sequence[Stage], files: ChildFiles
) -> tuple[list[Stage], Origin]:
    """Finds where the training of a child begins: as late as there is a state to go on from.

    That is where an earlier attempt at it was, or else the state of its nearest source that has
    one. A state that is gone is trained again, which a warning and the child's ``lacks`` say.

    Args:
        recipe: how the study's children are made.
        stages: of its lineage.
        files: the child's folder; a checkpoint in it that cannot be used is removed.

    Returns:
        The stages that are to be trained, and what the first of them begins with.
    """
    config = stages[-1].config
    supernet = supernet_known_by(recipe, stages[-1].proposal)
    own = read_progress(files.last, [each.identity for each in stages], config, supernet)
    if own is not None:
        place = [each.identity for each in stages].index(own.identity)
        return _merged(stages[place:]), Origin(own, lacks=tuple(own.lacks), cost_s=own.cost_s)
    files.forget_progress()
    gone: list[int] = []
    for place in range(len(stages) - 1, 0, -1):
        source = stages[place - 1].proposal
        path = ChildFolder.of(recipe.folder, source.index).last
        if (progress := read_source(path, source, config)) is not None:
            return _merged(stages[place:]), Origin(progress, lacks=tuple(gone))
        gone.append(source.index)
        warnings.warn(
            f"the training state of child {source.index}, which this one goes on with, is gone: "
            "it is trained again",
            stacklevel=2,
        )
    if (unreadable := stages[0].proposal.continues) is not None:  # see ``lineage``
        gone.append(unreadable)
    borrowed = Borrowed.by(stages[0].proposal, recipe, config)
    return _merged(stages), Origin(borrowed=borrowed, lacks=(*gone, *borrowed.lacks))


def _merged(stages: Sequence[Stage]) -> list[Stage]:
    """The same stages, fewer where two that follow one another are trained alike."""
    found = list(stages[:1])
    for stage in stages[1:]:
        if stage.config == found[-1].config:
            del found[-1]
        found.append(stage)
    return found
