"""What a supernet's architecture learns by, in turns with its weights."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from nasrunner.children.supernets.trials import Trials
from nasrunner.children.supernets.validation_batches import Batch
from nasrunner.core import Genotype


@runtime_checkable
class ArchitectureLearner(Protocol):
    """The part of a supernet that learns which of its architectures are good.

    A network that stands in a child's place and has such a ``learner`` is trained by turns: its
    weights learn from training batches, and the learner from validation batches. What the learner
    remembers between epochs stands in the network's own state.

    Of several ranks each has one, which must come to the same: what it finds by ``Trials.loss`` of
    its part of a batch it puts through ``Trials.averaged``.
    """

    def parameters(self) -> Iterable[nn.Parameter]:
        """Returns parameters of the network that the optimizer of the weights must not have."""

    def before_step(self, training: Batch, trials: Trials) -> None:
        """Learns before a step of the weights; leaves the weights' values and gradients alone.

        Args:
            training: the batch of the step; the first of them where several make one.
            trials: gives it validation batches.
        """

    def after_epoch(self, trials: Trials) -> Mapping[str, float]:
        """Learns after an epoch of the weights, which has been validated, and leaves them alone.

        Returns:
            What it has learnt in the epoch: metrics of the epoch by name.
        """

    def probabilities(self) -> Mapping[str, Mapping[str, float]]:
        """Returns how likely it takes each option to be now; changes nothing.

        Returns:
            Decision path -> name of an option -> its probability, which sum to 1; in the same order
            after each epoch. Empty: it learns no probabilities.
        """

    def is_done(self) -> bool:
        """Returns whether training ends after this epoch, before its architecture gets worse."""

    def likeliest(self) -> Genotype:
        """Returns the architecture that it takes for the best one now."""

    def found(self) -> Sequence[Genotype]:
        """Returns the architectures that it has found, once training has ended."""


def learner_of(network: nn.Module) -> ArchitectureLearner | None:
    """Returns what learns the architecture of a network; None: nothing does."""
    learner = getattr(network, "learner", None)  # of a user's module it may be anything
    return learner if isinstance(learner, ArchitectureLearner) else None
