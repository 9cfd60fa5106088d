"""Measures predictions as a validation does: the metrics of the task, and its loss."""

import contextlib
import math
import reprlib
from collections.abc import Iterator

import torch

from nasrunner.children.tasks.tasks import Task


class PredictionMetrics:
    """The metrics of predictions whose targets are known, over all pieces.

    The loss is among them, unless it depends on training examples, as with balanced weights of
    classes. What cannot be measured of so few, or such, examples is left out, as ``notes`` says.

    Args:
        task: whose they are.
        has_loss: whether the loss is known without training examples.

    Attributes:
        count: examples that were measured.
    """

    def __init__(self, task: Task, *, has_loss: bool) -> None:
        self.count = 0
        self._task = task
        self._has_loss = has_loss
        self._total = 0.0
        self._num_targets = 0
        self._num_strange = 0
        self._strange = ""
        self._failed: dict[str, str] = {}
        for metric in task.metrics.values():
            metric.reset()

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Adds a piece: outputs of the network and their targets."""
        task = self._task
        self.count += len(targets)
        if self._has_loss:
            with self._trying("loss"):
                num_targets = int(task.num_targets(targets))
                self._total += float(task.loss(outputs, targets)) * num_targets
                self._num_targets += num_targets
        measured = task.measured(outputs, targets)
        for name, metric in task.metrics.items():
            with self._trying(name):
                task.add_to([metric], *measured)

    def leave_out(self, count: int, strange: object) -> None:
        """Records examples whose targets are none of training, and are not measured.

        Args:
            count: how many, > 0.
            strange: the target of the first.
        """
        if not self._num_strange:
            self._strange = reprlib.repr(strange)
        self._num_strange += count

    def values(self) -> dict[str, float]:
        """Returns the metrics by name; nothing where no example had a target."""
        if not self.count:
            return {}
        found = {}
        if self._num_targets and "loss" not in self._failed:
            found["loss"] = self._total / self._num_targets
        for name, metric in self._task.metrics.items():
            if name in self._failed:
                continue
            with self._trying(name):
                value = float(self._task.value_of(metric))
                if math.isnan(value):
                    raise ValueError("it is not a number")
                found[name] = value
        return found

    def notes(self) -> list[str]:
        """Says in sentences which examples, and after ``values`` which metrics, were left out."""
        told = []
        if count := self._num_strange:
            examples = (
                "1 example has a target" if count == 1 else f"{count:,} examples have targets"
            )
            told.append(
                f"{examples} that the network does not know, {self._strange} for one: not measured"
            )
        of = f"of {self.count:,} example{'' if self.count == 1 else 's'} with targets"
        return told + [
            f"{name} {of} cannot be computed and is left out: {reason}"
            for name, reason in self._failed.items()
        ]

    @contextlib.contextmanager
    def _trying(self, name: str) -> Iterator[None]:
        """Records why a metric fails in its block."""
        try:
            yield
        except Exception as error:  # a metric raises what it likes
            reason = " ".join(str(error).split()) or type(error).__name__
            self._failed.setdefault(name, reason.rstrip("."))
