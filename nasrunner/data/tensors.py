"""The base of every data set: examples kept in memory as tensors and batched by slicing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytorch_lightning as pl
import torch

from nasrunner.core.annotations import AtLeast, Count, Within
from nasrunner.core.errors import ConfigError, DataError
from nasrunner.core.shapes import IN_DTYPES, each_input
from nasrunner.data.files import DataFile, check_files
from nasrunner.data.inputs import (
    InputArrays,
    Preparation,
    as_array,
    at_resolution,
    check_resolution,
    check_shapes,
    count_examples,
    rows_of,
)
from nasrunner.data.loader import Augment, Batch, RankPart, TensorLoader
from nasrunner.data.normalize import Normalization
from nasrunner.data.split import (
    Examples,
    count_of,
    equal_inputs,
    hold_out,
    hold_out_fold,
    joined,
    kept_share,
)
from nasrunner.data.tensor_cache import Identity, cached, device_of, identity_of

# N = number of examples, ... = the shape of one example

Arrays = tuple[InputArrays, np.ndarray]
"""Inputs (N, ...), or several by name, and targets: see ``TensorDataModule``. Tensors will do."""

Grouped = tuple[InputArrays, np.ndarray, np.ndarray]
"""Such arrays, and a number or name (N,) for each example: those of the same stay together."""

_IGNORED = -100
"""The class of pixels that do not count."""

_BATCHING = ("batch_size", "eval_batch_size", "drop_last")
"""Arguments that the tensors of a data set do not depend on."""


@dataclass(frozen=True)
class _FitTensors:
    train: Batch
    validation: Batch
    preparation: Preparation


@dataclass(kw_only=True, eq=False)
class TensorDataModule(pl.LightningDataModule, ABC):
    """Keeps a data set in memory, splits and normalizes it, and serves batches of it.

    A data set of your own is one class and one YAML with its dotted path as ``_target_``::

        @dataclass(kw_only=True, eq=False)
        class Spirals(TensorDataModule):
            \"\"\"Two spirals in the plane: in_shape [2], num_outputs 2.\"\"\"

            noise: float  # an argument of its own; data.noise on the command line

            def read_fit(self) -> Arrays:
                return make_spirals(self.noise, seed=0)  # (N, 2) floats, (N,) whole numbers

            def read_test(self) -> Arrays:
                return make_spirals(self.noise, seed=1)

    Integer targets (N,) are classes, 0 to num_outputs - 1, and (N, height, width) those of pixels,
    -100 where one does not count; targets (N, num_outputs) are numbers for regression, or 0 and 1
    of several labels, and stay as they are. A third array (N,) from ``read_fit`` names the group of
    each example, such as the patient whose measurement it is: no group stands in both the training
    and the validation part. ``files`` lets ``prepare_data`` check what it reads; ``augmentation``
    changes training batches; ``hold_out`` and ``count_of`` of ``nasrunner.data.split`` make a test
    part where the data set has none, and ``groups_of`` says what must not be cut in doing so. A
    class that is no dataclass works too, if it keeps each constructor argument as an attribute of
    the same name.

    An example may have several inputs: ``in_shape: {image: [3, 32, 32], text: [16]}``, for which
    ``read_fit`` and ``read_test`` return a dict of as many arrays in the place of one, and batches
    have a dict of tensors. Each is normalized for itself, but for those that ``in_dtype`` says are
    tokens: ``{text: int64}``, or ``int64`` where there is one input alone.

    Inputs are normalized with the mean and standard deviation of the training part: of each
    channel for images and signals, of each feature for vectors. The validation part is drawn from
    what ``read_fit`` returns, so that classes keep their shares, as near as the groups that must
    not be cut allow (``hold_out`` says how near). ``setup("fit")`` never reads the test part.
    Tensors are made once a process, shared by data modules that differ in batching only, and moved
    once to the device of the trainer.

    Args:
        in_shape: shape of one example: (features,), (channels, time) or (channels, height, width);
            of several inputs such a shape by name.
        in_dtype: which of several inputs are ``int64``, by name; the others are ``float32``, as is
            one alone, unless it says ``int64``.
        num_outputs: number of classes, or of numbers to predict.
        batch_size: examples a training batch: of a child on several devices, those of all its
            devices together, each of which takes its part, unless ``divide_batches`` was told
            otherwise.
        eval_batch_size: examples a validation or test batch, likewise.
        drop_last: whether a last training batch of fewer than ``batch_size`` examples is left out.
            Batch normalization cannot train on a batch of one.
        validation_examples: how many of the examples that are not for the test are kept for
            validation, or their share in (0, 1).
        split_seed: fixes the split, independently of the study's seed.
        equal_inputs: ``together``: examples whose inputs are equal, bit for bit, stand in one part,
            since a network that has seen one of them in training knows the others; ``apart``: each
            is drawn for itself, as in published splits.
        train_share: the share of the training part that is kept, of each class alike and with no
            group cut; those of a smaller share are among those of a larger one. The validation
            part is the same for all, and where it is joined to the training part all are kept.
        resolution: rows and columns that images are resized to, each pixel the mean of the area it
            covers; ``in_shape`` is what they are read with. None: they stay as they are.
        folds: into how many parts the examples that are not for the test are split, one of which
            is for validation, in the place of ``validation_examples``; None: they are not.
            ``evaluation.folds`` sets it and trains on each.
        fold: which of these parts, from 0.

    Raises:
        ConfigError: an argument is out of its range.
    """

    in_shape: Sequence[int] | Mapping[str, Sequence[int]]
    num_outputs: Count
    batch_size: Count
    eval_batch_size: Count
    drop_last: bool
    validation_examples: Examples
    split_seed: int
    equal_inputs: Literal["together", "apart"] = "together"  # your own YAML need not say it
    train_share: Annotated[float, Within("(0, 1]")] = 1.0
    resolution: Count | None = None
    folds: Annotated[int, AtLeast(2)] | None = None
    fold: Annotated[int, AtLeast(0)] = 0
    in_dtype: str | Mapping[str, str] | None = None

    resizes_images: ClassVar[bool] = True
    """Whether ``resolution`` changes the shape of what is served."""

    def __post_init__(self) -> None:
        super().__init__()
        self._fit: _FitTensors | None = None
        self._test: Batch | None = None
        self._is_joined = False
        self._is_per_device = False
        if isinstance(self.in_dtype, str) and self.in_dtype not in IN_DTYPES:
            raise ConfigError(
                f"data.in_dtype must be {' or '.join(IN_DTYPES)} or null, got {self.in_dtype!r}"
            )
        if self.fold and self.folds is None:
            raise ConfigError(f"data.fold={self.fold} needs data.folds, of which it is one")
        if self.folds is not None and self.fold >= self.folds:
            raise ConfigError(f"data.fold must be below data.folds={self.folds}, got {self.fold}")
        if self.resolution is not None and self.in_shape is not None:
            check_resolution(self.resolution, self.in_shape)

    @abstractmethod
    def read_fit(self) -> Arrays | Grouped:
        """Returns examples for training and validation, as they are: not normalized.

        Raises:
            DataError: a file is missing or damaged.
        """

    @abstractmethod
    def read_test(self) -> Arrays:
        """Returns examples for the test. Only ``setup("test")`` calls it."""

    def groups_of(self, x: InputArrays, own_N: np.ndarray | None = None) -> np.ndarray | None:
        """Numbers examples so that those of the same number must not be cut by a split.

        Args:
            x: their inputs, (N, ...), or several by name.
            own_N: groups that the data set has of its own; None: it has none.

        Returns:
            (N,) for ``hold_out``; None: each is drawn for itself.
        """
        if self.equal_inputs == "apart":
            return own_N
        return equal_inputs(x) if own_N is None else joined(equal_inputs(x), own_N)

    def split_fit(
        self, y: np.ndarray, groups_N: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws which examples of ``read_fit`` are trained on, and which are for validation.

        Args:
            y: their targets.
            groups_N: as of ``groups_of``.

        Returns:
            The rows of each.

        Raises:
            ConfigError: the split is impossible.
        """
        if self.folds is None:
            count = self.validation_count(len(y))
            return hold_out(strata_of(y), count, self.split_seed, groups_N)
        return hold_out_fold(strata_of(y), self.folds, self.fold, self.split_seed, groups_N)

    def validation_count(self, total: int) -> int:
        """Returns how many of the examples that are not for the test are for validation.

        Args:
            total: how many these are.

        Raises:
            ConfigError: there cannot be so many.
        """
        return count_of("validation_examples", self.validation_examples, total)

    def files(self) -> Sequence[DataFile]:
        """Returns the files that the data set is read from."""
        return ()

    def preparation_of(self, x: InputArrays) -> Preparation:
        """Returns what makes tensors of inputs, from those that are trained on."""
        return Preparation.of(x, self.in_dtype, type(self).__name__)

    def augmentation(self) -> Augment | None:
        """Returns what changes the inputs of every training batch."""
        return None

    def prepare_data(self) -> None:
        """Checks every file: reads each once a process, and then only asks whether it changed.

        Raises:
            DataError: a file is missing, damaged, or another one than expected.
        """
        check_files(self.files())

    def join_validation(self) -> None:
        """Makes the validation examples part of the training part; called before ``setup``.

        Then the statistics for normalization come from both, and the validation part is empty:
        for training a network that was chosen before, once more, on all there is but the test.
        """
        self._is_joined = True

    def setup(self, stage: str) -> None:
        """Loads training and validation examples, and for ``test`` those of the test as well.

        Raises:
            DataError: a file is missing or damaged, or does not hold examples of ``in_shape`` and
                targets for ``num_outputs``.
            ConfigError: the split is impossible, or a batch is larger than the training part.
        """
        identity = (*self._identity(), device := device_of(self))
        self._fit = cached(identity, "fit", lambda: self._load_fit(device))
        num_training = len(self._fit.train[1])
        if self._of_all(self.batch_size) > num_training:
            raise ConfigError(
                f"data.batch_size must be at most {num_training:,}, the examples of the training "
                f"part{' over all devices' if self._is_per_device else ''}"
                f"{self._of_share()}, got {self.batch_size}"
            )
        if stage == "test":
            self._test = cached(identity, "test", lambda: self._load_test(device))

    def divide_batches(self, *, per_device: bool) -> None:
        """Prepares for a trainer with several devices; called before loaders are asked for.

        Args:
            per_device: whether the batch sizes are of each device; else of all together.
        """
        self._is_per_device = per_device

    def train_dataloader(self) -> TensorLoader:
        assert self._fit is not None
        return TensorLoader(
            *self._fit.train,
            self._of_all(self.batch_size),
            is_shuffled=True,
            drop_last=self.drop_last,
            augment=self.augmentation(),
            part=self._part(),
        )

    def val_dataloader(self) -> TensorLoader:
        assert self._fit is not None
        return self._eval_loader(self._fit.validation)

    def shuffled_validation(self, *, augmented: bool) -> TensorLoader:
        """Batches of validation examples in a new order each time, as many as training's have.

        A last batch with fewer is left out if it is not the only one.

        Args:
            augmented: whether their inputs are changed as those of training are.
        """
        assert self._fit is not None
        batch_size = self._of_all(self.batch_size)
        is_more = len(self._fit.validation[1]) > batch_size
        return TensorLoader(
            *self._fit.validation,
            batch_size,
            is_shuffled=True,
            drop_last=is_more,
            augment=self.augmentation() if augmented else None,
            part=self._part(),
        )

    def test_dataloader(self) -> TensorLoader:
        assert self._test is not None
        return self._eval_loader(self._test)

    @property
    def normalization(self) -> Normalization | Mapping[str, Normalization] | None:
        """What inputs are normalized with, once ``setup`` was called; of several inputs by name.

        None: they are tokens.
        """
        assert self._fit is not None
        return self._fit.preparation.normalization

    @property
    def preparation(self) -> Preparation:
        """What makes tensors of inputs, once ``setup`` was called."""
        assert self._fit is not None
        return self._fit.preparation

    def training_targets(self) -> torch.Tensor:
        """Returns the targets of the training part, in order: what balanced weights of classes are
        from.
        """
        return self.training_tensors()[1]

    def training_tensors(self) -> Batch:
        """Returns the normalized training part, (N, ...) and its targets: in order, not
        augmented.
        """
        assert self._fit is not None
        return self._fit.train

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Leaves the batch where it is: the tensors it was cut from are on the device."""
        return batch

    def _eval_loader(self, examples: Batch) -> TensorLoader:
        return TensorLoader(*examples, self._of_all(self.eval_batch_size), part=self._part())

    def _of_all(self, batch_size: int) -> int:
        """The size of a batch of all devices together."""
        return batch_size * (self._num_ranks if self._is_per_device else 1)

    @property
    def _num_ranks(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    def _part(self) -> RankPart | None:
        """What of a batch this rank takes; None: all, for it is the only one."""
        if self.trainer is None or self._num_ranks == 1:
            return None
        return RankPart(self.trainer.global_rank, self._num_ranks, self.trainer.strategy.broadcast)

    def _identity(self) -> Identity:
        return (*identity_of(self, _BATCHING), self._is_joined)

    def _load_fit(self, device: torch.device) -> _FitTensors:
        x, y, own_N = self._arrays(self.read_fit())
        num_outputs = self._num_outputs(x, y)
        if num_outputs != self.num_outputs:
            what = "targets of an example" if y.ndim == 2 else "classes"
            raise DataError(
                f"data.num_outputs must be {num_outputs}, the number of {what} of "
                f"{type(self).__name__}, got {self.num_outputs}"
            )
        groups_N = self.groups_of(x, own_N)
        rows, validation_rows = self.split_fit(y, groups_N)
        if self._is_joined:
            rows, validation_rows = np.arange(len(y)), validation_rows[:0]
        elif self.train_share < 1:
            groups_of_rows = None if groups_N is None else groups_N[rows]
            rows = rows[
                kept_share(strata_of(y)[rows], self.train_share, self.split_seed, groups_of_rows)
            ]
        trained = at_resolution(rows_of(x, rows), self.resolution)
        preparation = self.preparation_of(trained)
        train = _tensors(preparation, trained, y[rows], device)
        held_out = at_resolution(rows_of(x, validation_rows), self.resolution)
        validation = _tensors(preparation, held_out, y[validation_rows], device)
        return _FitTensors(train, validation, preparation)

    def _load_test(self, device: torch.device) -> Batch:
        assert self._fit is not None
        x, y, _ = self._arrays(self.read_test())
        if self._num_outputs(x, y) > self.num_outputs:
            raise DataError(
                f"the test part of {type(self).__name__} has classes that training lacks"
            )
        return _tensors(self._fit.preparation, at_resolution(x, self.resolution), y, device)

    def _of_share(self) -> str:
        is_shared = self.train_share < 1 and not self._is_joined
        return f" that data.train_share={self.train_share:g} leaves" if is_shared else ""

    def _arrays(self, examples: Any) -> tuple[InputArrays, np.ndarray, np.ndarray | None]:
        """Inputs, targets and groups as arrays, of which tensors and lists are as good."""
        if not isinstance(examples, tuple | list) or len(examples) not in (2, 3):
            got = f"{len(examples)} parts" if isinstance(examples, tuple | list) else repr(examples)
            raise DataError(
                f"{type(self).__name__} must read (inputs, targets) or (inputs, targets, groups), "
                f"got {got}"
            )
        x: InputArrays = each_input(examples[0], as_array)
        y, *groups = map(as_array, examples[1:])
        num_examples = count_examples(x, type(self).__name__)
        if groups and groups[0].shape != (num_examples,):
            raise DataError(
                f"the {num_examples} examples of {type(self).__name__} need groups (N,), got "
                f"{groups[0].shape}"
            )
        return x, y, groups[0] if groups else None

    def _num_outputs(self, x: InputArrays, y: np.ndarray) -> int:
        """How many outputs the data has; refuses arrays that are no examples of ``in_shape``."""
        name = type(self).__name__
        check_shapes(x, self.in_shape, name)
        num_examples = count_examples(x, name)
        counted = y[y != _IGNORED] if y.ndim == 3 else y
        is_whole = y.ndim in (1, 3) and y.dtype.kind in "iu"
        is_classes = is_whole and counted.size > 0 and counted.min() >= 0
        is_numbers = y.ndim == 2 and y.dtype.kind in "fiub"
        if len(y) != num_examples or not (is_classes or is_numbers):
            raise DataError(
                f"the {num_examples} examples of {name} need targets (N,) of whole numbers >= 0, "
                f"(N, num_outputs) of numbers, or (N, height, width) of whole numbers >= 0 or "
                f"{_IGNORED}, got {y.shape} {y.dtype}"
            )
        if y.ndim == 3 and self.resolution is not None:
            raise DataError(
                f"data.resolution={self.resolution} resizes images, but not the classes of their "
                f"pixels, which {name} has; legal: null"
            )
        return int(counted.max()) + 1 if is_classes else y.shape[1]


def strata_of(y: np.ndarray) -> np.ndarray:
    """Returns what splits keep the shares of: classes, of which numbers are a single one."""
    return y if y.ndim == 1 else np.zeros(len(y))


def _tensors(
    preparation: Preparation, x: InputArrays, y: np.ndarray, device: torch.device
) -> Batch:
    targets = y.astype(np.float32 if y.ndim == 2 else np.int64)
    return preparation.apply(x, device), torch.from_numpy(targets).to(device)
