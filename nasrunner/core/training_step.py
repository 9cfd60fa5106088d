"""What the layers of a network know of the training step that they are in, and add to its loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingStep:
    """A step of a network's training, from the forward pass to the loss.

    Attributes:
        progress: the share of the epochs that are over, in [0, 1); None: nobody knows how long
            training will be.
        outputs: what layers add beside the network's own output, each with the weight of its loss.
            Whoever trains takes them out after each forward pass.
    """

    progress: float | None
    outputs: list[tuple[Any, float]] = field(default_factory=list)


_step: ContextVar[TrainingStep | None] = ContextVar("_step", default=None)


@contextmanager
def stepping(progress: float | None) -> Iterator[TrainingStep]:
    """Has the layers of all networks know of a training step, or of several, in the block.

    Args:
        progress: as of ``TrainingStep``.
    """
    step = TrainingStep(progress)
    token = _step.set(step)
    try:
        yield step
    finally:
        _step.reset(token)


def training_step() -> TrainingStep | None:
    """Returns the step that is being made; None: what is computed trains nothing."""
    return _step.get()
