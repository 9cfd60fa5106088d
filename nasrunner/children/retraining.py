"""Trains networks of a finished search anew, and tests each of them once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nasrunner.children.lightning import LightningTask
from nasrunner.core import Genotype, OneOf, Outcome, Proposal
from nasrunner.core.imports import quick_imports
from nasrunner.core.seeds import derived_seed

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
class RetrainTask:
    """Trains a child's architecture from scratch and tests it; picklable, see ``TrainNetwork``.

    Attributes:
        child: as in the search, but for the folder and settings that may change.
        on: what it is trained on.
    """

    child: LightningTask
    on: On

    def __call__(self, proposal: Proposal) -> Outcome:
        from nasrunner.children.network import TrainNetwork

        return TrainNetwork(self)(proposal)


@dataclass(frozen=True)
class RetrainRehearsal:
    """Tries what the networks will need; see ``check_network`` for what it raises.

    Attributes:
        task: what will train them.
        genotypes: their architectures.
        grid: (dotted key, values) pairs of training settings that are tried before.
    """

    task: RetrainTask
    genotypes: Sequence[Genotype]
    grid: Sequence[tuple[str, OneOf]] = ()

    def __call__(self) -> list[str]:
        with quick_imports():
            from nasrunner.children.network import check_grid, check_network

        said: list[str] = []
        for genotype in self.genotypes:
            if self.grid:
                said += check_grid(self.task, genotype, self.grid)
            else:
                said += check_network(self.task, genotype)
        return list(dict.fromkeys(said))


@dataclass(frozen=True)
class MlpClassifierTask:
    """Trains scikit-learn's MLPClassifier on the same examples, and tests it once.

    Attributes:
        child: whose data, task and seed are used.
        on: what it is trained on.
    """

    child: LightningTask
    on: On

    def __call__(self, proposal: Proposal) -> Outcome:
        from nasrunner.children.mlp_classifier import train_mlp_classifier

        return train_mlp_classifier(self, proposal)
