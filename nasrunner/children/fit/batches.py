"""What a batch must be for a child to be trained on it, and what it is."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from torch.utils.data import BatchSampler, DataLoader

from nasrunner.children.inputs import InDtype
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.settings.searched import Config
from nasrunner.children.tasks.tasks import Task
from nasrunner.core import DataError, InShape, Shape
from nasrunner.core.shapes import as_in_shape, dtypes_of, in_dtype_of

_SHAPE = "(inputs, targets) or (inputs, targets, weights of examples)"


@dataclass(frozen=True)
class BatchCheck:
    """Refuses batches that no child of a study can be trained on.

    Attributes:
        task: whose targets they must have.
        in_shape: shape of one example, or of each of its inputs by name.
        in_dtype: torch's name of its type, or names by input.
        precision: that children are trained with.
        name: of the data module, for error messages.
    """

    task: Task
    in_shape: InShape
    in_dtype: InDtype
    precision: str
    name: str

    @classmethod
    def of(cls, config: Config, task: Task, data: Any) -> "BatchCheck":
        """Makes it of a child's configuration, its task and its data module."""
        settings = config["data"]
        return cls(
            task,
            at_resolution(as_in_shape(settings["in_shape"]), settings),
            in_dtype_of(settings),
            str(config["trainer"].get("precision")),
            type(data).__name__,
        )

    def __call__(self, batch: Any) -> None:
        """Looks at a batch as a child is given it.

        Raises:
            DataError: it says what comes out of the data module, and what is needed.
        """
        if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
            self._refuse(described(batch), _SHAPE)
        x, target, *third = batch
        parts = [*self._inputs(batch), target]
        if not all(isinstance(each, torch.Tensor) for each in parts):
            self._refuse(described(batch), f"{_SHAPE} as tensors")
        if third and isinstance(third[0], int):
            return  # our own: a rank's part
        if not self._are_inputs(x, len(target)) or not self.task.takes(target):
            needed = self.task.needs() or "a target for each example"
            self._refuse(described(batch), f"inputs {self._needed_inputs} and {needed}")
        if third and not _are_weights(third[0], len(target)):
            self._refuse(
                described(batch), "weights of examples float32 (batch,), finite, >= 0 and not all 0"
            )

    def check_targets(self, batch: Any) -> None:
        """Looks at the targets of a batch alone, before anything is done to it."""
        if isinstance(batch, list | tuple) and len(batch) in (2, 3):
            target = batch[1]
            if isinstance(target, torch.Tensor) and not self.task.takes(target):
                self._refuse(described(batch), f"targets that are {self.task.needs()}")

    def _inputs(self, batch: Any) -> list[Any]:
        """The tensors that go into the network, as many as there are inputs."""
        x = batch[0]
        if not isinstance(self.in_shape, Mapping):
            return [x]
        if not isinstance(x, Mapping) or set(x) != set(self.in_shape):
            self._refuse(described(batch), f"inputs {self._needed_inputs}")
        return list(x.values())

    def _are_inputs(self, x: Any, num_examples: int) -> bool:
        if isinstance(self.in_shape, Mapping):
            dtypes = dtypes_of(self.in_shape, self.in_dtype)
            return all(
                self._is_input(x[name], shape, dtypes[name], num_examples)
                for name, shape in self.in_shape.items()
            )
        # Streams end with fewer steps.
        shape = None if self.task.is_of_steps else self.in_shape
        return self._is_input(x, shape, str(self.in_dtype), num_examples)

    def _is_input(
        self, x: torch.Tensor, shape: Shape | None, dtype: str, num_examples: int
    ) -> bool:
        is_input = x.dtype in self._legal_dtypes(dtype) and len(x) == num_examples
        return is_input and (shape is None or tuple(x.shape[1:]) == shape)

    @property
    def _needed_inputs(self) -> str:
        def shown(shape: Shape, dtype: str) -> str:
            return f"{dtype} (batch, {', '.join(map(str, shape))})"

        if isinstance(self.in_shape, Mapping):
            dtypes = dtypes_of(self.in_shape, self.in_dtype)
            parts = [f"{name}: {shown(s, dtypes[name])}" for name, s in self.in_shape.items()]
            return f"{{{', '.join(parts)}}}"
        return shown(self.in_shape, str(self.in_dtype))

    def _legal_dtypes(self, dtype: str) -> tuple[torch.dtype, ...]:
        if dtype == "int64":
            return (torch.int64,)
        others = {"64": (torch.float64,), "16": (torch.float16,), "bf": (torch.bfloat16,)}
        return (torch.float32, *others.get(self.precision[:2], ()))

    def _refuse(self, given: str, needed: str) -> None:
        raise DataError(f"data: {self.name} gives {given}, but a child needs {needed}")


def described(batch: Any) -> str:
    """Returns what a batch holds, in words: types, shapes, and the range of whole numbers."""
    if isinstance(batch, Mapping):
        return f"a dict with {', '.join(map(repr, batch))}"
    if not isinstance(batch, list | tuple):
        return _part(batch)
    if len(batch) not in (2, 3):
        count = f"{len(batch)} part{'' if len(batch) == 1 else 's'}"
        return f"{count}: {', '.join(map(_part, batch))}"
    names = ("inputs", "targets", "weights")
    return ", ".join(f"{name} {_part(each)}" for name, each in zip(names, batch, strict=False))


def _part(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_part(each)}' for name, each in value.items())}}}"
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    shape = f"({', '.join(map(str, value.shape))}{',' if value.ndim == 1 else ''})"
    found = f"{str(value.dtype).removeprefix('torch.')} {shape}"
    if value.numel() and not value.dtype.is_floating_point and value.dtype != torch.bool:
        found += f" from {int(value.min())} to {int(value.max())}"
    return found


def _are_weights(weights: Any, num_examples: int) -> bool:
    return (
        isinstance(weights, torch.Tensor)
        and weights.dtype.is_floating_point
        and tuple(weights.shape) == (num_examples,)
        and bool(torch.isfinite(weights).all())
        and bool((weights >= 0).all() and (weights > 0).any())
    )


@contextmanager
def batches_of(loader: Any) -> Iterator[Iterator[Any]]:
    """The batches of whatever Lightning takes for a loader; no worker of it is left."""
    combined = CombinedLoader(loader, "max_size_cycle")
    try:
        iter(combined)
        yield (batch for batch, _, _ in combined)
    finally:
        combined.reset()


def last_batch_size(loader: Any) -> int | None:
    """Returns the examples of an epoch's last batch; None where the loader does not say so."""
    if isinstance(loader, DataLoader):
        batches = loader.batch_sampler
        if type(batches) is not BatchSampler or batches.drop_last:
            return None
        try:
            num_used: Any = len(batches.sampler)  # type: ignore[arg-type]  # not all have a length
        except TypeError:
            return None
        batch_size: Any = batches.batch_size
    else:
        num_used = getattr(loader, "num_used", None)
        batch_size = getattr(loader, "batch_size", None)
    if not isinstance(num_used, int) or not isinstance(batch_size, int) or num_used == 0:
        return None
    return num_used % batch_size or batch_size
