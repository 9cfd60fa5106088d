"""Tasks: what a child's outputs mean, its loss, its metrics, and how its reward comes from them."""

import functools
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from torch.nn import functional

from nasrunner.children.inputs import is_of_tokens
from nasrunner.children.settings.searched import Config, Construct
from nasrunner.children.tasks.losses import (
    ClassWeights,
    GivenLoss,
    LossFunction,
    WeightedLoss,
    training_targets,
)
from nasrunner.children.tasks.metrics import (
    MetricClasses,
    Metrics,
    make_metric,
    takes_probabilities,
)
from nasrunner.children.tasks.reward import Mode, Reward
from nasrunner.children.tasks.target_scale import TargetScale
from nasrunner.core import ConfigError, InShape, Shape
from nasrunner.core.annotations import Above, Within
from nasrunner.core.language.moved import with_present_targets
from nasrunner.core.shapes import in_dtype_of

if TYPE_CHECKING:  # it takes seconds to import, which asking for a task's shapes saves
    from torchmetrics import Metric

# B = batch, K = number of outputs


class Task(ABC):
    """What children are trained for.

    Args:
        num_outputs: outputs of the network: classes, or numbers to predict.
        metrics: what is measured on the validation examples, logged as ``val_<name>``: the name of
            a torchmetrics class in snake case (``f1_score``) with its arguments, or any
            torchmetrics ``Metric``. That of the reward is measured with its defaults where it is
            not named.
        reward: how the reward comes from the metrics.

    Raises:
        ConfigError: a metric does not exist or does not take its arguments, or the reward's
            metric is never logged or better in the other direction.
    """

    metric_classes: ClassVar["Mapping[str, type[Metric]]"] = {}
    """The torchmetrics classes that fit the task, by name."""

    target_kind: ClassVar[Literal["classes", "numbers"] | None] = None
    """What own data without a class make of their targets; None: what these look like."""

    is_of_steps: ClassVar[bool] = False
    """Whether each step of a stream of tokens has a target, instead of each example.

    Recurrent layers then go on where the batch before has ended.
    """

    outputs: ClassVar[str] = "numbers"
    """What comes out of a network, in words."""

    chooses_class: ClassVar[bool] = False
    """Whether the highest of the scores (B, K, ...) of K classes is a network's answer."""

    target_scale: TargetScale | None = None
    """What the network's outputs are standardized with; None: they are not, or not yet."""

    @classmethod
    def out_shape(cls, num_outputs: int, in_shape: InShape) -> Shape:
        """Returns the shape that the network's output for one example must have.

        Args:
            num_outputs: of the data.
            in_shape: of one example.

        Raises:
            ConfigError: the task has no outputs for such an example.
        """
        return (num_outputs,)

    def __init__(
        self,
        *,
        num_outputs: int,
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        self.num_outputs = num_outputs
        self.reward = reward
        self.metrics = {
            name: make_metric(name, given, self.metric_classes, num_outputs)
            for name, given in self._with_rewarded(metrics).items()
        }
        """The metrics by the name they are logged under, without ``val_``."""
        reward.check_logged(self.logged_names())
        self.check_mode("task.reward.mode", reward.metric, reward.mode)
        if reward.diverged == "chance" and self.by_chance(reward.metric) is None:
            raise ConfigError(
                f"task.reward.diverged=chance: what {reward.metric} a guess has is not known; "
                "legal: failed, keep"
            )

    def _with_rewarded(self, metrics: Metrics) -> Metrics:
        """The metrics and, where it is the name of a class that fits, that of the reward."""
        name = self.reward.metric.removeprefix("val_")
        is_logged = name in metrics or name in ("loss", *self.following(torch.zeros(())))
        if is_logged or not self.reward.is_of_validation or name not in self.metric_classes:
            return metrics
        return {**metrics, name: {}}

    def learn_from(self, data: Any) -> None:  # noqa: B027  # most losses depend on nothing
        """Takes from the training examples what the loss depends on; called once they are loaded.

        Args:
            data: the data module.

        Raises:
            ConfigError: it does not have what is asked for.
        """

    def by_chance(self, name: str) -> float | None:
        """Returns the value of a logged metric of a network that guesses; None: it is not known."""
        return None

    def logged_names(self) -> list[str]:
        """Returns the metrics that every child logs."""
        names = [*self.following(torch.zeros(())), *self.metrics]
        return ["train_loss", "val_loss", *[f"val_{name}" for name in names]]

    def mode_of(self, name: str) -> Mode | None:
        """Returns which values of a logged metric are better; None: it does not say."""
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
        """Returns the mean loss of a batch; minimised on training, logged on validation
        examples.
        """

    def losses(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Returns the loss of each example, (B,): what weights of examples need.

        Raises:
            ConfigError: the task has none.
        """
        raise ConfigError(f"task: {type(self).__name__} takes no weights of examples")

    def weighted_loss(
        self, predicted_BK: torch.Tensor, target: torch.Tensor, weights_B: torch.Tensor
    ) -> torch.Tensor:
        """Returns the mean loss of a batch weighted by example, as torch's cross entropy weighs
        classes.

        Args:
            predicted_BK: outputs of the network.
            target: their targets.
            weights_B: >= 0; the losses are divided by their sum, not by B.
        """
        losses_B = self.losses(predicted_BK, target)
        least = torch.finfo(losses_B.dtype).tiny  # of a batch without any weight
        return (losses_B * weights_B).sum() / weights_B.sum().clamp(min=least)

    def needs(self) -> str:
        """Returns the targets that a batch must have, in words; empty: it is not said."""
        return ""

    def takes(self, target: torch.Tensor) -> bool:
        """Tells whether these are such targets."""
        return True

    @abstractmethod
    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns made-up outputs and targets of a batch of ``size``, to try metrics with."""

    def measured(
        self, predicted_BK: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns what metrics are given of a batch."""
        return predicted_BK, target

    def in_units(self, predicted_BK: torch.Tensor) -> torch.Tensor:
        """Returns outputs of the network in the units of the targets."""
        return (
            predicted_BK if self.target_scale is None else self.target_scale.in_units(predicted_BK)
        )

    def num_targets(self, target: torch.Tensor) -> int | torch.Tensor:
        """Returns how many targets the loss of a batch is the mean of.

        What depends on the targets is a tensor on their device, so that no step waits for it.
        """
        return len(target)

    def following(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns metrics by name that follow from the mean loss of a whole pass."""
        return {}

    def probabilities(self, measured: torch.Tensor) -> torch.Tensor:
        """Returns what metrics are given that tell logits from probabilities by looking at a
        batch.
        """
        return measured

    def add_to(
        self, metrics: Iterable["Metric"], predicted: torch.Tensor, target: torch.Tensor
    ) -> None:
        """Adds a batch to metrics.

        Args:
            metrics: some of the task's.
            predicted: as ``measured`` returns it.
            target: likewise.
        """
        probabilities = None
        for metric in metrics:
            if not takes_probabilities(metric):
                metric.update(predicted, target)
                continue
            if probabilities is None:
                probabilities = self.probabilities(predicted)
            metric.update(probabilities, target)

    def value_of(self, metric: "Metric") -> torch.Tensor:
        """Returns what a metric has found of all batches that were added to it."""
        value: torch.Tensor = metric.compute()
        return value

    def rehearse(self) -> None:
        """Computes the loss and every metric on made-up outputs, to find what cannot work early.

        Raises:
            ConfigError: a metric fails, or gives something else than one number.
        """
        # As many examples as outputs could be taken for each other.
        predicted, target = self.example(size=5 if self.num_outputs == 4 else 4)
        try:
            loss = self.loss(predicted, target)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"task.loss: it fails for {self.outputs} {tuple(predicted.shape)} and targets "
                f"{tuple(target.shape)}: {' '.join(str(error).split())}"
            ) from error
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            raise ConfigError(f"task.loss must give one number, got {loss}")
        for name, metric in self.metrics.items():
            try:
                self.add_to([metric], *self.measured(predicted, target))
                value = self.value_of(metric)
            except Exception as error:
                raise ConfigError(
                    f"task.metrics.{name}: {type(metric).__name__} does not suit "
                    f"{type(self).__name__}: {' '.join(str(error).split())}"
                ) from error
            metric.reset()
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                raise ConfigError(f"task.metrics.{name} must give one number, got {value}")


def make_task(config: Config, construct: Construct) -> Task:
    """Returns the task of a child's configuration.

    Raises:
        ConfigError: it cannot be built, or is no ``Task``.
    """
    task = construct(config["task"], "task", num_outputs=config["data"]["num_outputs"])
    if not isinstance(task, Task):
        raise ConfigError(f"task._target_ must name a Task, got {type(task)}")
    return task


def out_shape_of(config: Config, construct: Construct, in_shape: InShape) -> Shape:
    """Returns the shape that the output of a child's network must have for one example.

    Args:
        config: the child's configuration.
        construct: builds the task where its ``_target_`` is no class.
        in_shape: of one example.

    Raises:
        ConfigError: the task cannot be built, or has no outputs for such data.
    """
    data = config["data"]
    task = class_of(config["task"]) or type(make_task(config, construct))
    in_dtype = in_dtype_of(data)
    if task.is_of_steps and not is_of_tokens(in_dtype):
        raise ConfigError(
            f"task: {task.__name__} has a target for each token, as of language models, which data "
            f"of data.in_dtype={in_dtype} has not; legal with it: data=ptb, data=ptb_char"
        )
    return task.out_shape(data["num_outputs"], in_shape)


def class_of(config: Any) -> type[Task] | None:
    """Returns the class that a task's configuration names; None where it names something else."""
    try:
        found = pkgutil.resolve_name(str(with_present_targets(config)["_target_"]))
    except Exception:  # told where it is built
        return None
    return found if isinstance(found, type) and issubclass(found, Task) else None


def are_within(target: torch.Tensor, num_classes: int) -> bool:
    """Tells whether all of some class indices are those of ``num_classes`` classes."""
    return target.numel() == 0 or bool(0 <= int(target.min()) <= int(target.max()) < num_classes)


class Classification(Task):
    """One of K classes: cross entropy of K logits. Binary is K = 2.

    Args:
        label_smoothing: share of the target spread over all classes, in [0, 1).
        loss: takes logits (B, K) and classes (B,) in the place of the cross entropy; None: that.
        class_weights: as of ``WeightedLoss``.
    """

    metric_classes = MetricClasses("torchmetrics.classification", "Multiclass")
    outputs = "logits of classes"
    chooses_class = True
    target_kind = "classes"

    def __init__(
        self,
        *,
        num_outputs: int,
        label_smoothing: Annotated[float, Within("[0, 1)")],
        loss: LossFunction | None = None,  # your own YAML need not say these two
        class_weights: ClassWeights = None,
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        if num_outputs < 2:
            raise ConfigError(
                f"task: classification needs data.num_outputs >= 2, got {num_outputs}; what "
                "predicts numbers is task=regression"
            )
        if loss is not None and label_smoothing:
            raise ConfigError(
                f"task.label_smoothing={label_smoothing} is of the cross entropy, which task.loss "
                "replaces; legal with it: 0"
            )
        given = functools.partial(functional.cross_entropy, label_smoothing=label_smoothing)
        self._loss = WeightedLoss(GivenLoss(loss or given), class_weights, num_outputs)
        self._is_plain = loss is None and class_weights is None
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    def learn_from(self, data: Any) -> None:
        self._loss.learn_from(data)

    def by_chance(self, name: str) -> float | None:
        from torchmetrics.classification import MulticlassAccuracy

        metric = self.metrics.get(name.removeprefix("val_"))
        if name == "val_loss":
            return math.log(self.num_outputs) if self._is_plain else None
        if isinstance(metric, MulticlassAccuracy) and metric.top_k == 1:
            return 1 / self.num_outputs
        return None

    def loss(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self._loss(predicted_BK, target)

    def losses(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self._loss.of_each_example(predicted_BK, target)

    def probabilities(self, measured: torch.Tensor) -> torch.Tensor:
        return measured.softmax(dim=1)

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

    Of several targets a metric is the mean of what it is of each, as scikit-learn's
    ``multioutput="uniform_average"``.

    With ``normalize_targets`` a network learns (target - mean) / std of the training targets. The
    losses, ``train_loss``, ``val_loss`` and ``test_loss`` alike, are of these; metrics and
    predictions are in the units of the targets.

    Args:
        loss: ``mse``; ``huber``: linear above an error of ``huber_delta``; or one that takes
            outputs and targets, both (B, K).
        huber_delta: > 0, in standard deviations of the target with ``normalize_targets``, else in
            its units.
        normalize_targets: whether targets are standardized; the data module must then have
            ``training_targets()``, as ``TensorDataModule`` has. Studies from before there was such
            a setting lack it, and train as they did.
    """

    metric_classes = MetricClasses("torchmetrics.regression", "")
    target_kind = "numbers"

    def __init__(
        self,
        *,
        num_outputs: int,
        loss: Literal["mse", "huber"] | LossFunction,
        huber_delta: Annotated[float, Above(0)],
        normalize_targets: bool = False,
        metrics: Metrics,
        reward: Reward,
    ) -> None:
        self.normalizes_targets = normalize_targets
        own: dict[str, LossFunction] = {
            "mse": functional.mse_loss,
            "huber": functools.partial(functional.huber_loss, delta=huber_delta),
        }
        self._loss = GivenLoss(own[loss] if isinstance(loss, str) else loss)
        super().__init__(num_outputs=num_outputs, metrics=metrics, reward=reward)

    def loss(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if predicted_BK.shape != target.shape:  # broadcasting would train on every pair
            raise ValueError(
                f"the network's outputs are {tuple(predicted_BK.shape)} but the targets are "
                f"{tuple(target.shape)}; both must be (batch, data.num_outputs)"
            )
        return self._loss(predicted_BK, self._learnt(target))

    def losses(self, predicted_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self._loss.of_each(predicted_BK, self._learnt(target)).flatten(1).mean(dim=1)

    def learn_from(self, data: Any) -> None:
        if not self.normalizes_targets:
            return
        found = training_targets(
            data,
            "task.normalize_targets=true",
            "all training targets, (N, data.num_outputs)",
            "false",
        )
        if self.takes(found):  # others are refused with the first batch, which says more
            self.target_scale = TargetScale.of(found)

    def _learnt(self, target_BK: torch.Tensor) -> torch.Tensor:
        """Targets as the network's outputs are compared with them."""
        scale = self.target_scale
        return target_BK if scale is None else scale.standardized(target_BK)

    def by_chance(self, name: str) -> float | None:
        from torchmetrics.regression import R2Score

        metric = self.metrics.get(name.removeprefix("val_"))
        return 0.0 if isinstance(metric, R2Score) else None  # the mean's

    def needs(self) -> str:
        return f"numbers float32 (batch, {self.num_outputs})"

    def takes(self, target: torch.Tensor) -> bool:
        return target.dtype.is_floating_point and target.shape[1:] == (self.num_outputs,)

    def measured(
        self, predicted_BK: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        predicted_BK = self.in_units(predicted_BK)
        if self.num_outputs > 1:
            return predicted_BK, target
        return predicted_BK[:, 0], target[:, 0]  # some metrics take (B,) only

    def value_of(self, metric: "Metric") -> torch.Tensor:
        value = super().value_of(metric)
        is_of_each = isinstance(value, torch.Tensor) and value.shape == (self.num_outputs,)
        return value.mean() if is_of_each else value

    def example(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        target_BK = torch.arange(size * self.num_outputs, dtype=torch.float32)
        target_BK = target_BK.reshape(size, self.num_outputs) + 1
        return target_BK * 1.5, target_BK
