"""Tasks: what a child's outputs mean, its loss, its metrics, and how its reward comes from them."""

import inspect
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
import torchmetrics.classification
import torchmetrics.regression
from torch.nn import functional
from torchmetrics import Metric

from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.tasks.reward import Mode, Reward
from nasrunner.core import ConfigError
from nasrunner.core.annotations import Above, Within
from nasrunner.core.errors import suggest

# B = batch, K = number of outputs

Metrics = Mapping[str, Mapping[str, Any] | Metric | None]
"""Metrics by name: the arguments of a torchmetrics class, or a metric."""


def _classes_of(module: Any, prefix: str) -> dict[str, type[Metric]]:
    """The metric classes of a torchmetrics module by their names in snake case, less a prefix."""
    found = {name: getattr(module, name) for name in module.__all__ if name.startswith(prefix)}
    return {_snake_case(name.removeprefix(prefix)): value for name, value in found.items()}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Task(ABC):
    """What children are trained for.

    Args:
        num_outputs: outputs of the network: classes, or numbers to predict.
        metrics: what is measured on the validation examples, logged as ``val_<name>``: the name of
            a torchmetrics class in snake case (``f1_score``) with its arguments, or any
            torchmetrics ``Metric``.
        reward: how the reward comes from the metrics.

    Raises:
        ConfigError: a metric does not exist or does not take its arguments, or the reward's
            metric is never logged or better in the other direction.
    """

    metric_classes: ClassVar[Mapping[str, type[Metric]]]
    """The torchmetrics classes that fit the task, by name."""

    target_kind: ClassVar[Literal["classes", "numbers"] | None] = None
    """What own data without a class make of their targets; None: what these look like."""

    is_of_steps: ClassVar[bool] = False
    """Whether each step of a sequence of tokens has a target, instead of each example."""

    def __init__(
        self,
        *,
        num_outputs: int,
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        self.num_outputs = num_outputs
        self.reward = reward
        self.metrics = {name: self._metric(name, given) for name, given in metrics.items()}
        """The metrics by the name they are logged under, without ``val_``."""
        reward.check_logged(self.logged_names())
        self.check_mode("task.reward.mode", reward.metric, reward.mode)
        if reward.diverged == "chance" and self.by_chance(reward.metric) is None:
            raise ConfigError(
                f"task.reward.diverged=chance: what {reward.metric} a guess has is not known; "
                "legal: failed, keep"
            )

    def by_chance(self, name: str) -> float | None:
        """The value of a logged metric of a network that guesses; None: it is not known."""
        return None

    def logged_names(self) -> list[str]:
        """The metrics that every child logs."""
        names = [*self.following(torch.zeros(())), *self.metrics]
        return ["train_loss", "val_loss", *[f"val_{name}" for name in names]]

    def mode_of(self, name: str) -> Mode | None:
        """Which values of a logged metric are better; None: it does not say."""
        if name in ("train_loss", "val_loss"):
            return "min"
        is_higher_better = getattr(
            self.metrics.get(name.removeprefix("val_")), "higher_is_better", None
        )
        return None if is_higher_better is None else "max" if is_higher_better else "min"

    def check_mode(self, key: str, metric: str, mode: str) -> None:
        """Refuses to look for the worst values of a metric in the place of its best.

        Args:
            key: where ``mode`` stands.
            metric: the name of a metric.
            mode: the values that are taken for the better ones, ``max`` or ``min``.

        Raises:
            ConfigError: the others are.
        """
        better = self.mode_of(metric)
        if better is not None and mode != better:
            how = "higher" if better == "max" else "lower"
            raise ConfigError(
                f"{key}={mode}, but {metric} is better when it is {how}; legal: {better}"
            )

    @abstractmethod
    def loss(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch; minimised on training, logged on validation examples."""

    def losses(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of each example, (B,): what weights of examples need.

        Raises:
            ConfigError: the task has none.
        """
        raise ConfigError(f"task: {type(self).__name__} takes no weights of examples")

    def weighted_loss(
        self, predicted_BK: torch.Tensor, target: torch.Tensor, weights_B: torch.Tensor
    ) -> torch.Tensor:
        """The mean loss of a batch weighted by example, as torch's cross entropy weighs classes.

        Args:
            predicted_BK: outputs of the network.
            target: their targets.
            weights_B: >= 0; the losses are divided by their sum, not by B.
        """
        losses_B = self.losses(predicted_BK, target)
        least = torch.finfo(losses_B.dtype).tiny  # of a batch without any weight
        return (losses_B * weights_B).sum() / weights_B.sum().clamp(min=least)

    def needs(self) -> str:
        """The targets that a batch must have, in words; empty: it is not said."""
        return ""

    def takes(self, target: torch.Tensor) -> bool:
        """Whether these are such targets."""
        return True

    @abstractmethod
    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Made-up outputs and targets of a batch of ``size``, to try metrics with."""

    def measured(
        self, predicted_BK: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What metrics are given of a batch."""
        return predicted_BK, target

    def num_targets(self, target: torch.Tensor) -> int:
        """How many targets the loss of a batch is the mean of."""
        return len(target)

    def following(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """Metrics by name that follow from the mean loss of a whole pass."""
        return {}

    def _metric(self, name: str, given: Mapping[str, Any] | Metric | None) -> Metric:
        if isinstance(given, Metric):
            return given
        key = f"task.metrics.{name}"
        if name not in self.metric_classes:
            raise ConfigError(
                f"{key}: there is no such metric, {suggest(name, self.metric_classes)}"
            )
        metric_class = self.metric_classes[name]
        takes_classes = "num_classes" in inspect.signature(metric_class).parameters
        fixed = {"num_classes": self.num_outputs} if takes_classes else {}
        try:
            return metric_class(**fixed, **(given or {}))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{key}: {error}") from error

    def rehearse(self) -> None:
        """Computes the loss and every metric on made-up outputs, to find what cannot work early.

        Raises:
            ConfigError: a metric fails, or gives something else than one number.
        """
        predicted_BK, target = self.example(size=4)
        self.loss(predicted_BK, target)
        for name, metric in self.metrics.items():
            try:
                metric.update(*self.measured(predicted_BK, target))
                value = metric.compute()
            except Exception as error:
                raise ConfigError(f"task.metrics.{name}: {error}") from error
            metric.reset()
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                raise ConfigError(f"task.metrics.{name} must give one number, got {value}")


def make_task(config: Config, construct: Construct) -> Task:
    """The task of a child's configuration.

    Raises:
        ConfigError: it cannot be built, or is no ``Task``.
    """
    task = construct(config["task"], "task", num_outputs=config["data"]["num_outputs"])
    if not isinstance(task, Task):
        raise ConfigError(f"task._target_ must name a Task, got {type(task)}")
    return task


def are_within(target: torch.Tensor, num_classes: int) -> bool:
    """Whether all of some class indices are those of ``num_classes`` classes."""
    return target.numel() == 0 or bool(0 <= int(target.min()) <= int(target.max()) < num_classes)


class Classification(Task):
    """One of K classes: cross entropy of K logits. Binary is K = 2.

    Args:
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """

    metric_classes = _classes_of(torchmetrics.classification, "Multiclass")
    target_kind = "classes"

    def __init__(
        self,
        *,
        num_outputs: int,
        label_smoothing: Annotated[float, Within("[0, 1)")],
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        if num_outputs < 2:
            raise ConfigError(
                f"task: classification needs data.num_outputs >= 2, got {num_outputs}; what "
                "predicts numbers is task=regression"
            )
        self.label_smoothing = label_smoothing
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    def by_chance(self, name: str) -> float | None:
        metric = self.metrics.get(name.removeprefix("val_"))
        if name == "val_loss":
            return math.log(self.num_outputs)
        if isinstance(metric, torchmetrics.classification.MulticlassAccuracy) and metric.top_k == 1:
            return 1 / self.num_outputs
        return None

    def loss(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(predicted_BK, target, label_smoothing=self.label_smoothing)

    def losses(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            predicted_BK, target, label_smoothing=self.label_smoothing, reduction="none"
        )

    def needs(self) -> str:
        return f"class indices int64 (batch,) from 0 to {self.num_outputs - 1}"

    def takes(self, target: torch.Tensor) -> bool:
        is_classes = target.dtype == torch.int64 and target.ndim == 1
        return is_classes and are_within(target, self.num_outputs)

    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        target_B = torch.arange(size) % self.num_outputs
        return functional.one_hot(target_B, self.num_outputs).float(), target_B


class Regression(Task):
    """K numbers: the mean squared error, or Huber's loss, of K outputs.

    Args:
        loss: ``mse``; ``huber``: linear above an error of ``huber_delta``.
        huber_delta: > 0, in units of the target.
    """

    metric_classes = _classes_of(torchmetrics.regression, "")
    target_kind = "numbers"

    def __init__(
        self,
        *,
        num_outputs: int,
        loss: Literal["mse", "huber"],
        huber_delta: Annotated[float, Above(0)],
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        self.is_huber = loss == "huber"
        self.huber_delta = huber_delta
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    def loss(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if predicted_BK.shape != target.shape:  # broadcasting would train on every pair
            raise ValueError(
                f"the network's outputs are {tuple(predicted_BK.shape)} but the targets are "
                f"{tuple(target.shape)}; both must be (batch, data.num_outputs)"
            )
        if self.is_huber:
            return functional.huber_loss(predicted_BK, target, delta=self.huber_delta)
        return functional.mse_loss(predicted_BK, target)

    def losses(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.is_huber:
            losses_BK = functional.huber_loss(
                predicted_BK, target, delta=self.huber_delta, reduction="none"
            )
        else:
            losses_BK = functional.mse_loss(predicted_BK, target, reduction="none")
        return losses_BK.mean(dim=1)

    def by_chance(self, name: str) -> float | None:
        metric = self.metrics.get(name.removeprefix("val_"))
        return 0.0 if isinstance(metric, torchmetrics.regression.R2Score) else None  # the mean's

    def needs(self) -> str:
        return f"numbers float32 (batch, {self.num_outputs})"

    def takes(self, target: torch.Tensor) -> bool:
        return target.dtype.is_floating_point and target.shape[1:] == (self.num_outputs,)

    def measured(
        self, predicted_BK: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.num_outputs > 1:
            return predicted_BK, target
        return predicted_BK[:, 0], target[:, 0]  # some metrics take (B,) only

    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        target_BK = torch.arange(size * self.num_outputs, dtype=torch.float32)
        target_BK = target_BK.reshape(size, self.num_outputs) + 1
        return target_BK * 1.5, target_BK
