"""How a network is trained anew: data alone, and where it keeps its files."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nasrunner.children.progress.borrowing import NOTHING, Borrowed
from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.searched import Config
from nasrunner.core import ConfigError, Proposal, Source
from nasrunner.core.machine.child_folder import BEST, LAST, ChildFolder
from nasrunner.core.randomness.seeds import derived_seed

Start = Literal["scratch", "child"]
"""What a network's training begins with: weights of its own, or those that its child has."""

On = Literal["train", "train_and_validation"]
"""What a network is trained on; the test part is never among it."""

REPETITION = "repetition"
"""The note of a proposal that says which repetition it is: 0, 1, …"""


def network_folder(folder: Path, name: str, repetition: int) -> Path:
    """Returns where a network keeps its files: ``0007-seed1``."""
    return folder / f"{name}-seed{repetition}"


def repetition_of(proposal: Proposal) -> int:
    """Returns which repetition a proposal asks for."""
    return int(proposal.notes[REPETITION])


def repetition_seed(seed: int, repetition: int) -> int:
    """Returns 32 bits that depend on the study's seed and the repetition, and that no child had."""
    return derived_seed(seed, repetition, kind=1)


def with_all_examples(config: Config, on: On) -> Config:
    """Returns what networks are trained with: where the validation part is joined, all of the
    data.
    """
    data = config["data"]
    if on == "train" or data.get("train_share") is None:
        return config
    return {**config, "data": {**data, "train_share": 1.0}}


@dataclass(frozen=True)
class RetrainRecipe:
    """How networks of a study are trained anew; picklable.

    Attributes:
        child: as in the search, but for the folder and settings that may change.
        on: what they are trained on.
        weights_in: the study's folder, whose children's weights they begin with; None: they begin
            with their own.
    """

    child: Recipe
    on: On
    weights_in: Path | None = None

    def borrowed(self, index: int, config: Config) -> Borrowed:
        """Returns the weights that the networks of a child begin with, instead of their own.

        Args:
            index: the child.
            config: what the network is trained with.

        Raises:
            ConfigError: they are gone, were not kept, or cannot be read.
        """
        if self.weights_in is None:
            return NOTHING
        proposal = Proposal(index, {}, sources=(Source(index, "weights"),))
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            borrowed = Borrowed.by(proposal, replace(self.child, folder=self.weights_in), config)
        if borrowed.lacks:
            folder = ChildFolder.of(self.weights_in, index)
            unread = (text for each in warned if "cannot be read" in (text := str(each.message)))
            gone = "they are gone, or keep_weights and trainer.checkpoint of the study kept none"
            raise ConfigError(
                f"start=child: {folder.path} holds no weights that can be read ({BEST} or {LAST}): "
                f"{next(unread, gone)}; legal is start=scratch"
            )
        for each in warned:  # of a file beside the one that was read
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        return borrowed
