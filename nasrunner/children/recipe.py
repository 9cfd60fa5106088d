"""What all children of a study are made by: data alone, below whatever trains them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nasrunner.children.evaluating import ONE_TRAINING, Evaluation
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.core import InShape, Policy, SearchSpace
from nasrunner.core.relaxation import ForwardGrowth, Relaxation


@dataclass(frozen=True)
class Recipe:
    """How a study's children are made; picklable.

    Attributes:
        space: what the genotype answers.
        config: the child's configuration, before the hyperparameters that the space searches.
        in_shape: shape of one example, or of each of its inputs by name.
        construct: builds an object from its configuration.
        folder: the study's folder.
        seed: the study's seed.
        evaluation: how often a child is trained.
        objectives: the names of what the study compares its children by.
        policy: draws the architectures of a supernet, or says how its options are weighed or how
            a child grows; None: none is trained.
        max_memory_gb: what the training of a supernet may take, in 10^9 bytes; None: what the
            machine has.
    """

    space: SearchSpace
    config: Config
    in_shape: InShape
    construct: Construct
    folder: Path
    seed: int
    evaluation: Evaluation = ONE_TRAINING
    objectives: Sequence[str] = ()
    policy: Policy | Relaxation | ForwardGrowth | None = None
    max_memory_gb: float | None = None
