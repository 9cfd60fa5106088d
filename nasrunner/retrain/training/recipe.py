"""How a network is trained anew: data alone, and where it keeps its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nasrunner.children.recipe import Recipe
from nasrunner.core import Proposal
from nasrunner.core.randomness.seeds import derived_seed

On = Literal["train", "train_and_validation"]
"""What a network is trained on; the test part is never among it."""

REPETITION = "repetition"
"""The note of a proposal that says which repetition it is: 0, 1, …"""


def network_folder(folder: Path, name: str, repetition: int) -> Path:
    """Where a network keeps its files: ``0007-seed1``."""
    return folder / f"{name}-seed{repetition}"


def repetition_of(proposal: Proposal) -> int:
    """Which repetition a proposal asks for."""
    return int(proposal.notes[REPETITION])


def repetition_seed(seed: int, repetition: int) -> int:
    """32 bits that depend on the study's seed and the repetition, and that no child had."""
    return derived_seed(seed, repetition, kind=1)


@dataclass(frozen=True)
class RetrainRecipe:
    """How networks of a study are trained anew; picklable.

    Attributes:
        child: as in the search, but for the folder and settings that may change.
        on: what they are trained on.
    """

    child: Recipe
    on: On
