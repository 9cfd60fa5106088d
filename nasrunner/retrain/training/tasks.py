"""Trains networks of a finished search anew, and tests each of them once."""

from collections.abc import Sequence
from dataclasses import dataclass

from nasrunner.core import Genotype, OneOf, Outcome, Proposal
from nasrunner.core.machine.imports import quick_imports
from nasrunner.retrain.training.recipe import RetrainRecipe


@dataclass(frozen=True)
class RetrainTask(RetrainRecipe):
    """Trains a child's architecture and tests it; picklable, see ``TrainNetwork``."""

    def __call__(self, proposal: Proposal) -> Outcome:
        from nasrunner.retrain.training.network import TrainNetwork

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
            from nasrunner.retrain.training.network import check_grid, check_network

        said: list[str] = []
        for genotype in self.genotypes:
            if self.grid:
                said += check_grid(self.task, genotype, self.grid)
            else:
                said += check_network(self.task, genotype)
        return list(dict.fromkeys(said))


@dataclass(frozen=True)
class MlpClassifierTask(RetrainRecipe):
    """Trains scikit-learn's MLPClassifier on the same examples, and tests it once."""

    def __call__(self, proposal: Proposal) -> Outcome:
        from nasrunner.retrain.training.mlp_classifier import train_mlp_classifier

        return train_mlp_classifier(self, proposal)
