"""A child as a LightningModule, with a training loop for small networks beside Lightning's own."""

import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn
from torch.optim import Optimizer

from nasrunner.children.evaluating import ONE_CLASS
from nasrunner.children.fit.memory_format import laid_out
from nasrunner.children.inputs import Inputs
from nasrunner.children.progress.attempts import Line
from nasrunner.children.settings.length import Length
from nasrunner.children.settings.momentum import with_momentum
from nasrunner.children.settings.schedulers import Plateau
from nasrunner.children.settings.scheduling import Schedule
from nasrunner.children.supernets.learning import learner_of
from nasrunner.children.tasks.mean_loss import MeanLoss
from nasrunner.children.tasks.one_class import ChosenClasses
from nasrunner.children.tasks.reward import diverged_loss
from nasrunner.children.tasks.target_scale import TARGET_SCALE
from nasrunner.children.tasks.tasks import Task
from nasrunner.core.shapes import each_input
from nasrunner.core.training_step import TrainingStep, stepping

# B = batch, K = number of outputs

Batch = Any
"""Inputs (B, ...) and their targets, and third the weights of the examples (B,), if they have any.

Several inputs are a mapping of such tensors by name. A rank's part of a batch has the number of
examples of the whole batch third.
"""

_HALF = (torch.float16, torch.bfloat16)


class ChildModule(pl.LightningModule):
    """Trains a network for a task and records a line of metrics every epoch, and each validation.

    In the fast loop Lightning is given a whole epoch as if it were one batch, and the batches are
    looped over here: Lightning's own work for each batch costs as much as a small network's step.
    Everything around the batches stays Lightning's: devices, precision, validation, callbacks,
    checkpoints. Both loops take the same steps.

    Args:
        network: the child's network.
        task: its loss and metrics.
        make_optimizer: called with the parameters once they are on their device.
        schedule: makes the scheduler of the optimizer.
        length: how long training is; called once Lightning trains.
        measured: called with the metrics of a validation while its weights are in the network.
        record: called with each line of the curves, once it is complete.
        is_channels_last: whether the network and its images are in that memory format.
        is_fast: whether ``training_step`` is given an epoch's batches instead of one batch.

    Attributes:
        tested: the metrics of the test part, once the network was tested.
        num_tested: the targets they were measured on.
        num_validated: the targets of a validation; 0 before the first.
        diverged: why training ended early, where a loss was no number any more; None: it was not.
        before_step: called in the fast loop with each step's batch before it; None: nothing is.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Schedule,
        length: Callable[[], Length],
        measured: Callable[[Line], None],
        record: Callable[[Line], None],
        *,
        is_channels_last: bool,
        is_fast: bool,
    ) -> None:
        super().__init__()
        if is_channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # is legal
        self.network = network
        self.is_channels_last = is_channels_last
        self._penalized: list[Any] = [m for m in network.modules() if hasattr(m, "take_penalty")]
        self.task = task
        # Of streams the next batch goes on where this one ends; of examples none knows another.
        self._forgetting: list[Any] = (
            [] if task.is_of_steps else [m for m in network.modules() if hasattr(m, "reset_state")]
        )
        self.metrics = nn.ModuleDict(task.metrics)
        self.automatic_optimization = not is_fast
        self._make_optimizer = make_optimizer
        self._schedule = schedule
        self._length = length
        self._note_measured = measured
        self._record = record
        self._train_loss = MeanLoss()
        self._eval_loss = MeanLoss()
        self._answers = ChosenClasses()
        self._validated: Line = {}
        self.tested: Line = {}
        self.num_tested: int | torch.Tensor = 0
        self.num_validated = 0
        self._num_measured: int | torch.Tensor = 0
        self.diverged: str | None = None
        self.before_step: Callable[[Batch], None] | None = None
        self._added: Line = {}
        self._learning_rate = math.nan
        self._timer: Timer | None = None
        self._num_epochs: int | None = None

    def configure_optimizers(self) -> Any:
        learner = learner_of(self.network)
        others = set() if learner is None else {id(each) for each in learner.parameters()}
        trained = (p for p in self.network.parameters() if p.requires_grad and id(p) not in others)
        optimizer = with_momentum(self._make_optimizer(trained))
        scheduler = self._schedule.make(optimizer, self._length)
        if not self.automatic_optimization:
            return [optimizer], [scheduler]
        settings: dict[str, Any] = {"scheduler": scheduler, "interval": self._schedule.interval}
        if isinstance(scheduler, Plateau):
            # Not strict: epochs before the first validation have no such metric yet.
            settings |= {"monitor": scheduler.monitor, "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def setup(self, stage: str) -> None:
        self.task.learn_from(self.trainer.datamodule)  # type: ignore[attr-defined]

    def scale(self) -> dict[str, Any]:
        """Returns what a checkpoint says of the units of the network's outputs."""
        found = self.task.target_scale
        return {} if found is None else {TARGET_SCALE: found.as_dict()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(self.scale())

    def forward(self, x: Inputs) -> torch.Tensor:
        for layer in self._forgetting:
            layer.reset_state()
        predicted_BK: torch.Tensor = self.network(laid_out(x) if self.is_channels_last else x)
        return _in_full(predicted_BK)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor | None:
        if not self.automatic_optimization:
            self._train_epoch(batch)
            return None
        x, target, *third = batch
        with stepping(self.progress) as step:
            if third and isinstance(third[0], int):
                return self._train_part(x, target, third[0], step)
            loss, weight = self._loss(self.forward(x), target, *third)
        self._train_loss.add(loss.detach(), weight)
        whole = _whole(loss, step, lambda predicted: self._loss(predicted, target, *third)[0])
        return self._with_penalties(whole)

    def _with_penalties(self, loss: torch.Tensor) -> torch.Tensor:
        """What is minimized: the loss, and what layers with ``take_penalty()`` add to it."""
        for layer in self._penalized:
            if (penalty := layer.take_penalty()) is not None:
                loss = loss + penalty
        return loss

    def _loss(
        self, predicted: torch.Tensor, target: torch.Tensor, *weights_B: torch.Tensor
    ) -> tuple[torch.Tensor, float | torch.Tensor]:
        """The mean loss of a batch, and what it counts in the mean of a pass."""
        if not weights_B:
            return self.task.loss(predicted, target), self.task.num_targets(target)
        return self.task.weighted_loss(predicted, target, weights_B[0]), weights_B[0].sum()

    def _train_part(
        self, x: Inputs, target: torch.Tensor, num_examples: int, step: TrainingStep
    ) -> torch.Tensor:
        """The loss whose mean over all ranks has the gradient of the mean over all examples.

        Args:
            x: this rank's part of the inputs; it may have none.
            target: their targets.
            num_examples: in the parts of all ranks together.
            step: takes what layers add to the network's output.
        """
        if len(target) == 0:  # the others wait for this rank's gradients
            two = each_input(x, lambda part: part.new_zeros(2, *part.shape[1:]))
            made_up = x if self._syncs_batch_norm else two
            return 0.0 * _whole(self.forward(made_up).sum(), step, torch.sum)
        loss = self.task.loss(self.forward(x), target)
        self._train_loss.add(loss.detach(), self.task.num_targets(target))
        whole = _whole(loss, step, lambda predicted: self.task.loss(predicted, target))
        share = len(target) * self.trainer.world_size / num_examples
        return self._with_penalties(whole) * share

    @property
    def _syncs_batch_norm(self) -> bool:
        """Whether made-up examples would be among those that batches are normalized with."""
        return any(isinstance(layer, nn.SyncBatchNorm) for layer in self.network.modules())

    def _train_epoch(self, batches: Iterable[Batch]) -> None:
        """One pass over the batches: what Lightning's automatic optimization does for each."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        forward, task, train_loss = self.forward, self.task, self._train_loss
        forward_context = self.trainer.precision_plugin.forward_context
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        scheduler: Any = self.lr_schedulers() if self._schedule.interval == "step" else None
        x: Inputs = torch.empty(0)
        target = torch.empty(0)

        def closure() -> torch.Tensor:
            with forward_context():
                loss = task.loss(forward(x), target)
                whole = loss
                if step.outputs:
                    whole = _whole(loss, step, lambda predicted: task.loss(predicted, target))
            for parameter in trained:  # zero_grad() without its wrappers, 3 % of a small step
                parameter.grad = None
            if self._penalized:
                whole = self._with_penalties(whole)
            whole.backward()  # type: ignore[no-untyped-call]
            train_loss.add(loss.detach(), task.num_targets(target))
            return whole

        num_steps = 0
        # Lightning keeps the backward pass and the step out of its mixed-precision context.
        with self._full_precision(), stepping(self.progress) as step:
            for x, target in batches:
                if self.before_step is not None:
                    self.before_step((x, target))
                optimizer.step(closure)  # type: ignore[arg-type]  # torch returns what it is given
                num_steps += 1
                if scheduler is not None:
                    scheduler.step()
                if self._has_to_stop():
                    break
        # Lightning counts the steps of its own optimizer wrapper; these went past it.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
        progress.ready += num_steps
        progress.completed += num_steps

    @property
    def progress(self) -> float | None:
        """The share of the epochs that are over; None: nobody knows how many there will be."""
        epochs = self._num_epochs
        return None if epochs is None else self.current_epoch / max(epochs, self.current_epoch + 1)

    def _full_precision(self) -> AbstractContextManager[None]:
        if not torch.is_autocast_enabled(self.device.type):
            return nullcontext()
        return torch.autocast(self.device.type, enabled=False)

    def _has_to_stop(self) -> bool:
        """Whether the time is up; checked after each step, as Lightning does after each batch."""
        if self.trainer.received_sigterm:
            raise SIGTERMException
        return self._timer is not None and (self._timer.time_remaining() or 0.0) <= 0

    def on_fit_start(self) -> None:
        timers = (c for c in self.trainer.callbacks if isinstance(c, Timer))  # type: ignore[attr-defined]
        self._timer = next(timers, None)

    def on_train_start(self) -> None:
        self._num_epochs = self._length().epochs

    def on_train_epoch_start(self) -> None:
        self.forget_logged()
        self._learning_rate = self._rate()
        self._reset_states()

    def on_validation_epoch_start(self) -> None:
        self._reset_states()
        self._num_measured = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def end_validation(self) -> None:
        """Takes the metrics of a validation pass, while what was validated is in the network.

        ``Measuring`` calls it before any other callback learns that the pass has ended.
        """
        self._reset_states()  # training may go on in the middle of its epoch
        values = self._measured("val")
        if not self.trainer.sanity_checking:
            self.num_validated = self.num_validated or self._of_all_ranks(self._num_measured)
            self._validated = self._publish(values)
            self._note_measured({"epoch": self.current_epoch, **self._validated})

    def _of_all_ranks(self, count: int | torch.Tensor) -> int:
        """The sum of what each of the child's processes has counted."""
        strategy = self.trainer.strategy
        counted = torch.as_tensor(count, device=strategy.root_device)
        return int(strategy.reduce(counted, reduce_op="sum"))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.record_validation()  # it was in the middle of the epoch

    def record_validation(self) -> None:
        """Records a validation that was not at the end of an epoch as a line of its own."""
        if self._validated:
            self._record_line({"learning_rate": self._rate(), **self._validated})

    def _rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_test_start(self) -> None:
        self.num_tested = 0

    def on_test_epoch_start(self) -> None:
        self._reset_states()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)
        self.num_tested += self.task.num_targets(batch[1])

    def on_test_epoch_end(self) -> None:
        self.tested = self._publish(self._measured("test"))
        self.num_tested = int(self.num_tested)

    def _measure(self, batch: Batch) -> None:
        """Adds a batch, or this rank's part of one, to the loss and to every metric."""
        x, target, *third = batch
        if len(target) == 0:
            return
        self._num_measured += self.task.num_targets(target)
        predicted_BK = self.forward(x)
        weights_B = [each for each in third if not isinstance(each, int)]
        self._eval_loss.add(*self._loss(predicted_BK, target, *weights_B))
        measured = self.task.measured(predicted_BK, target)
        if self.task.chooses_class:
            self._answers.add(*measured)
        self.task.add_to(self.metrics.values(), *measured)  # type: ignore[arg-type]  # a ModuleDict

    def _reset_states(self) -> None:
        """Makes recurrent layers forget the batches before: a pass starts at its streams' starts.

        Layers keep what they remember between batches themselves, and have ``reset_state()``.
        """
        for layer in self.network.modules():
            if (reset_state := getattr(layer, "reset_state", None)) is not None:
                reset_state()

    def _measured(self, part: str) -> dict[str, torch.Tensor]:
        """The loss and every metric of the batches measured since the last time."""
        loss = self._eval_loss.compute(self.trainer.strategy)
        values = {f"{part}_loss": loss}
        values |= {f"{part}_{name}": value for name, value in self.task.following(loss).items()}
        for name, metric in self.metrics.items():
            values[f"{part}_{name}"] = self.task.value_of(metric)  # type: ignore[arg-type]
            metric.reset()  # type: ignore[operator]
        self.trainer.callback_metrics.pop(ONE_CLASS, None)
        share = self._answers.share_of_one(self.trainer.strategy)
        if share is not None and part == "val":
            values[ONE_CLASS] = loss.new_tensor(share)
        return values

    def on_train_epoch_end(self) -> None:
        train_loss = self._train_loss.compute(self.trainer.strategy)
        by_step = self._schedule.interval == "step"
        self._record_line(
            {
                "learning_rate": self._rate() if by_step else self._learning_rate,
                **self._publish({"train_loss": train_loss}),
                **self._added,
                **self._validated,
            }
        )
        if not self.automatic_optimization and self._schedule.interval == "epoch":
            self._step_scheduler()

    def add_to_line(self, metrics: Mapping[str, float]) -> None:
        """Adds to the line of the epoch that has just ended what others have measured in it."""
        tensors = {name: torch.tensor(value) for name, value in metrics.items()}
        self._added = self._publish(tensors) if tensors else {}

    def _record_line(self, metrics: Line) -> None:
        """Records a line of the curves, and with it the validation that it holds.

        It has what callbacks have logged since the line before, too, but under no name of ours.
        """
        self._validated = {}
        if self.diverged is not None:
            return
        place = {"epoch": self.current_epoch, "step": self.global_step, "time": time.time()}
        if wrong := diverged_loss(metrics):
            self._diverge(f"{wrong} is {metrics[wrong]} in epoch {self.current_epoch}")
            return
        # Nothing of this module's own is among them; see _publish.
        others = {name: float(value) for name, value in self.trainer.logged_metrics.items()}
        self.forget_logged()
        self._record({**others, **place, **metrics})

    def _diverge(self, reason: str) -> None:
        """Ends the training of a network that is broken: what comes after is not recorded."""
        if self.task.reward.diverged == "failed":
            raise FloatingPointError(reason)
        warnings.warn(f"training ends, as {reason}", stacklevel=1)
        self.diverged = reason
        self.trainer.should_stop = True
        loop = self.trainer.fit_loop  # it goes on until it has had what it needs at least
        loop.min_epochs, loop.epoch_loop.min_steps = 0, None
        self.forget_logged()

    def forget_logged(self) -> None:
        """Drops what callbacks logged before: Lightning shows an epoch's values after its end."""
        self.trainer.logged_metrics.clear()

    def _publish(self, values: Mapping[str, torch.Tensor]) -> Line:
        """Shows metrics to Lightning's callbacks and loggers; returns them as numbers.

        ``self.log`` would do the same, for a tenth of a small child's time.
        """
        stacked = torch.stack([value.detach().float().reshape(()) for value in values.values()])
        self.trainer.callback_metrics.update(zip(values, stacked, strict=True))
        numbers = dict(zip(values, stacked.tolist(), strict=True))
        for logger in self.trainer.loggers:
            logger.log_metrics(numbers, step=self.global_step)
        return numbers

    def _step_scheduler(self) -> None:
        """What Lightning does at the end of an epoch where it optimizes itself."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, Plateau):
            if scheduler.monitor in self.trainer.callback_metrics:
                scheduler.step(self.trainer.callback_metrics[scheduler.monitor])
        else:
            scheduler.step()  # type: ignore[union-attr]


def _in_full(predicted: torch.Tensor) -> torch.Tensor:
    """Outputs as their losses and metrics are computed of: in full precision."""
    return predicted.float() if predicted.dtype in _HALF else predicted


def _whole(
    loss: torch.Tensor, step: TrainingStep, loss_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Adds the losses of what layers have added to the network's output, and forgets that.

    Args:
        loss: of the network's output, which alone is logged.
        step: of training.
        loss_of: computes the loss of an output.
    """
    for predicted, weight in step.outputs:
        loss = loss + weight * loss_of(_in_full(predicted))
    step.outputs.clear()
    return loss
