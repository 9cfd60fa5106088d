"""Measures predictions as a validation does: the metrics of the task, and its loss."""

import torch

from nasrunner.children.tasks.tasks import Task
from nasrunner.core.errors import DataError


class PredictionMetrics:
    """The metrics of predictions whose targets are known, over all pieces.

    The loss is among them, unless it depends on training examples, as with balanced weights of
    classes.

    Args:
        task: whose they are.
        has_loss: whether the loss is known without training examples.
    """

    def __init__(self, task: Task, *, has_loss: bool) -> None:
        self.count = 0
        self._task = task
        self._has_loss = has_loss
        self._total = 0.0
        self._num_targets = 0
        for metric in task.metrics.values():
            metric.reset()

    def add(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Adds a piece: outputs of the network and their targets."""
        task = self._task
        self.count += len(targets)
        if self._has_loss:
            num_targets = int(task.num_targets(targets))
            self._total += float(task.loss(outputs, targets)) * num_targets
            self._num_targets += num_targets
        task.add_to(task.metrics.values(), *task.measured(outputs, targets))

    def values(self) -> dict[str, float]:
        """Returns the metrics by name; nothing where no example had a target.

        Raises:
            DataError: a metric cannot be computed of so few, or such, examples.
        """
        if not self.count:
            return {}
        found = {"loss": self._total / self._num_targets} if self._num_targets else {}
        for name, metric in self._task.metrics.items():
            try:
                found[name] = float(self._task.value_of(metric))
            except (RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise DataError(
                    f"task.metrics.{name} of {self.count:,} examples with targets: {reason}"
                ) from error
        return found
