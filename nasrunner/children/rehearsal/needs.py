"""What a study needs of its children beside a training that works."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasrunner.core import Kind

Fidelity = tuple[Kind, Mapping[str, float]]
"""What is trained with a fidelity, and the fidelity, as of ``Proposal``."""


@dataclass(frozen=True)
class Needs:
    """What a rehearsal looks for in a child's training.

    Attributes:
        is_rewarded: whether the child needs its reward, as it does in a search.
        objectives: the names of those that the child is compared by.
        learns_by_validation: whether a supernet's architecture learns from validation batches.
        heard: the names of the metrics that a searcher compares running children by.
        pause: the fewest epochs after which a training is paused; None: none is.
    """

    is_rewarded: bool = True
    objectives: Sequence[str] = ()
    learns_by_validation: bool = False
    heard: Sequence[str] = ()
    pause: int | None = None
