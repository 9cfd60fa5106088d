"""The loss that a task minimizes: its own or any that the user names, weighted by class."""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import nn

from nasrunner.core import ConfigError
from nasrunner.core.annotations import AtLeast

# B = batch, K = number of outputs

IGNORED = -100
"""The class of pixels that do not count: what torch's losses leave out unless told otherwise."""

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes what a network predicts of a batch and its targets: one number, or one for each target."""

ClassWeights = Literal["balanced"] | Sequence[Annotated[float, AtLeast(0)]] | None
"""What ``task.class_weights`` may be."""


def training_targets(data: Any, setting: str, what: str, legal: str) -> torch.Tensor:
    """Returns the targets that a data module trains on.

    Args:
        data: the data module.
        setting: what needs them, with its key, for the error message.
        what: its ``training_targets()`` returns, in words, likewise.
        legal: what the setting may be without them, likewise.

    Raises:
        ConfigError: the data module does not give them.
    """
    targets = getattr(data, "training_targets", None)
    if targets is None:
        raise ConfigError(
            f"{setting}: {type(getattr(data, 'data', data)).__name__} has no training_targets(), "
            f"which returns {what}; legal without it: {legal}"
        )
    return torch.as_tensor(targets())


class GivenLoss:
    """A loss by ``task.loss``, on whatever device the outputs are.

    Args:
        function: a module of ``torch.nn`` or a user's own, or a function.

    Raises:
        ConfigError: it sums over a batch, has parameters, which nobody would train, or leaves out
            another class than -100.
    """

    def __init__(self, function: LossFunction) -> None:
        self.name = _name_of(function)
        if not callable(function):
            raise ConfigError(
                "task.loss must be a mapping with _target_, the dotted path of a loss, or of a "
                f"function with _partial_: true; got {self.name}"
            )
        settings = getattr(function, "keywords", None) or vars(function)
        if (reduction := settings.get("reduction", "mean")) not in ("mean", "none"):
            raise ConfigError(
                f"task.loss.reduction={reduction}: a loss is the mean of a batch, whatever its "
                "size; legal: mean"
            )
        if isinstance(function, nn.Module) and next(function.parameters(), None) is not None:
            raise ConfigError(
                f"task.loss: {self.name} has parameters of its own, which nothing trains; legal "
                "are losses without, with their weights as buffers"
            )
        if (left_out := _ignore_index_of(function)) not in (None, IGNORED):
            raise ConfigError(
                f"task.loss.ignore_index={left_out}: targets that do not count are of the class "
                f"{IGNORED}; legal: {IGNORED}, and task.class_weights with a 0 for a class that is "
                "not to be learnt"
            )
        self._function: Any = function
        self._of_each = _unreduced(function)

    def __call__(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch."""
        value = self._called(self._function, predicted, target)
        return value.mean() if value.ndim else value

    def of_counted(
        self, predicted: torch.Tensor, target: torch.Tensor, ignored: int
    ) -> torch.Tensor:
        """Returns the mean loss of the targets that are not ``ignored``; 0 where there are none.

        A loss that leaves such targets out itself, as torch's with ``ignore_index``, or gives
        one number for a batch alone, keeps its own mean.
        """
        counts = target != ignored
        is_any = counts.any()
        # A mean of none is NaN, and so is its gradient, whatever it is multiplied by.
        target = torch.where(is_any, target, torch.zeros_like(target))
        leaves_out = _ignore_index_of(self._function) == ignored
        value = self._called(self._function if leaves_out else self._of_each, predicted, target)
        if value.shape == target.shape:
            return _mean_of(value, counts)
        return torch.where(is_any, value.mean(), torch.zeros_like(value.mean()))

    def of_each(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Returns the loss of each target, or of each example.

        Raises:
            ConfigError: the loss gives one number for a batch alone.
        """
        losses = self._called(self._of_each, predicted, target)
        if losses.ndim == 0:
            raise ConfigError(
                f"task.loss: {self.name} gives one number for a batch, where class_weights and "
                "weights of examples need one for each; legal are losses that take reduction=none "
                "or give so many themselves"
            )
        return losses

    def _called(self, function: Any, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if isinstance(function, nn.Module):
            held = next(function.buffers(), None)
            if held is not None and held.device != predicted.device:
                function.to(predicted.device)
        value = function(predicted, target)
        if not isinstance(value, torch.Tensor):
            raise ConfigError(f"task.loss: {self.name} must give a tensor, got {value!r}")
        return value


class WeightedLoss:
    """A loss whose targets count by their class.

    The mean is over targets, not over their weights as of torch's losses with ``weight``: so the
    mean of a pass is that of its batches, however they are cut, and of all ranks. Balanced weights
    are 1 on average over the training targets.

    Args:
        function: the loss of a batch.
        given: ``balanced``: N / (number of classes · targets of the class), as scikit-learn's
            ``class_weight``, of the training targets; or a weight for each class; None: all count
            alike.
        num_classes: how many there are.
        is_of_labels: whether a target is K labels, 0 or 1, instead of a class: then a weight is
            of a label's ones beside 1 of its zeros, ``pos_weight`` of torch, and balanced is how
            many zeros there are for each one.
        ignored: the class of targets that do not count; None: all do.

    Raises:
        ConfigError: there is not one weight for each class, or all are 0.
    """

    def __init__(
        self,
        function: GivenLoss,
        given: ClassWeights,
        num_classes: int,
        *,
        is_of_labels: bool = False,
        ignored: int | None = None,
    ) -> None:
        self._function = function
        self._is_of_labels = is_of_labels
        self._ignored = ignored
        self._num_classes = num_classes
        self._weights_K: torch.Tensor | None = None
        self._is_balanced = given == "balanced"
        if given is None:
            return
        weights = [1.0] * num_classes if isinstance(given, str) else list(given)
        if len(weights) != num_classes or not any(weights):
            raise ConfigError(
                f"task.class_weights must be balanced, null or {num_classes} numbers >= 0, one for "
                f"each of data.num_outputs, that are not all 0; got {given!r}"
            )
        self._weights_K = torch.tensor(weights)

    @property
    def is_weighted(self) -> bool:
        """Whether classes count differently."""
        return self._weights_K is not None

    def learn_from(self, data: Any) -> None:
        """Takes balanced weights from the training targets of a data module.

        Raises:
            ConfigError: it does not give them.
        """
        if not self._is_balanced:
            return
        found = training_targets(
            data,
            "task.class_weights=balanced",
            "all training targets",
            f"a list of {self._num_classes} weights",
        )
        balanced = _balanced_labels if self._is_of_labels else self._balanced_classes
        self._weights_K = balanced(found).float().cpu()

    def __call__(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch."""
        if self._weights_K is None:
            if self._ignored is None:
                return self._function(predicted, target)
            return self._function.of_counted(predicted, target, self._ignored)
        losses = self._weighted(self._function.of_each(predicted, target), target)
        return self._mean(losses, target, range(losses.ndim))

    def of_each_example(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Returns the mean loss of each example, (B,)."""
        losses = self._weighted(self._function.of_each(predicted, target), target)
        return losses if losses.ndim == 1 else self._mean(losses, target, range(1, losses.ndim))

    def _mean(self, losses: torch.Tensor, target: torch.Tensor, over: Any) -> torch.Tensor:
        if self._ignored is None or losses.shape != target.shape:
            return losses.mean(dim=tuple(over))
        return _mean_of(losses, target != self._ignored, tuple(over))

    def _weighted(self, losses: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self._weights_K is None:
            return losses
        if losses.shape != target.shape:
            raise ConfigError(
                f"task.class_weights: task.loss gives losses {tuple(losses.shape)} for targets "
                f"{tuple(target.shape)}; legal are losses with one for each target"
            )
        weights_K = self._weights_K = self._weights_K.to(losses.device)
        if self._is_of_labels:
            return losses * (1 + (weights_K - 1) * target)
        return losses * weights_K[target.clamp(min=0)]

    def _balanced_classes(self, targets: torch.Tensor) -> torch.Tensor:
        classes = targets.flatten().long().cpu()
        counts_K = torch.bincount(classes[classes >= 0], minlength=self._num_classes)
        num_present = int((counts_K > 0).sum())
        shares_K = counts_K.sum() / (num_present * counts_K.clamp(min=1))
        return torch.where(counts_K > 0, shares_K, torch.ones_like(shares_K))


def _balanced_labels(targets_NK: torch.Tensor) -> torch.Tensor:
    ones_K = (targets_NK > 0).double().sum(dim=0)
    zeros_K = len(targets_NK) - ones_K
    is_balanceable_K = (ones_K > 0) & (zeros_K > 0)  # else no weight would do it
    return torch.where(is_balanceable_K, zeros_K / ones_K.clamp(min=1), torch.ones_like(ones_K))


def _mean_of(
    losses: torch.Tensor, counts: torch.Tensor, over: tuple[int, ...] | None = None
) -> torch.Tensor:
    """The mean of the losses that count; 0 where none does."""
    total = losses.masked_fill(~counts, 0).sum(dim=over)
    return total / counts.sum(dim=over).clamp(min=1)


def _ignore_index_of(function: Any) -> Any:
    """The class of the targets that a loss leaves out itself; None: it does not say."""
    if isinstance(function, nn.Module):
        return getattr(function, "ignore_index", None)
    try:
        parameter = inspect.signature(function).parameters.get("ignore_index")
    except (TypeError, ValueError):
        return None
    return None if parameter is None else parameter.default


def _unreduced(function: Any) -> Any:
    """The same loss for each target, where it can say so; else the loss as it is."""
    if isinstance(function, nn.Module):
        if not hasattr(function, "reduction"):
            return function
        unreduced = copy.deepcopy(function)
        unreduced.reduction = "none"  # type: ignore[assignment]  # torch declares no type
        return unreduced
    try:
        takes_reduction = "reduction" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return function
    if not takes_reduction:
        return function
    return lambda predicted, target: function(predicted, target, reduction="none")


def _name_of(function: Any) -> str:
    inner = getattr(function, "func", function)  # of a partial function
    return getattr(inner, "__name__", type(inner).__name__)
