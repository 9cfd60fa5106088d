"""A trained network that takes inputs as they stand in the data, and answers in its words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from nasrunner.children.fit.loading import make_data
from nasrunner.children.randomness import generators_kept
from nasrunner.children.tasks.tasks import make_task
from nasrunner.compose.construct import construct
from nasrunner.core.errors import ConfigError, DataError
from nasrunner.core.shapes import each_input
from nasrunner.data.inputs import InputArrays, Preparation, at_resolution, count_examples
from nasrunner.data.loader import Inputs
from nasrunner.data.normalize import Normalization
from nasrunner.data.own.arrays import ArrayFile
from nasrunner.data.own.columns import TablePreparation
from nasrunner.data.own.huggingface import DatasetFolder
from nasrunner.data.own.images import ImageFolder
from nasrunner.data.own.own_data import OwnData
from nasrunner.data.own.reading import Reading
from nasrunner.data.own.tables import TableFile
from nasrunner.data.own.targets import lacking
from nasrunner.data.tensors import TensorDataModule
from nasrunner.export.trained import Trained, TrainedWeights
from nasrunner.predict.arrays import NewArrays
from nasrunner.predict.dataset_folders import NewDataset
from nasrunner.predict.images import NewImages
from nasrunner.predict.measuring import PredictionMetrics
from nasrunner.predict.pieces import NewExamples, Piece
from nasrunner.predict.prediction import Meaning, Prediction, joined
from nasrunner.predict.tables import NewRows, Unknown

# N = number of examples, K = number of outputs

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Inference:
    """A network with what prepares its inputs and understands its outputs.

    It runs on the CPU.

    Attributes:
        network: in evaluation mode, on the CPU.
        examples: reads new examples.
        preparation: makes tensors of them.
        meaning: what the outputs are.
        resolution: rows and columns that images are resized to in training; None: they are not.
        has_loss: whether the loss is known without training examples.
        batch_size: examples that are computed at once, >= 1.

    Raises:
        ConfigError: ``batch_size`` is below 1.
    """

    network: nn.Module
    examples: NewExamples
    preparation: Preparation
    meaning: Meaning
    resolution: int | None
    has_loss: bool
    batch_size: int = 512

    def __post_init__(self) -> None:
        size: Any = self.batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ConfigError(f"batch_size must be a whole number >= 1, got {size!r}")

    @classmethod
    def of(
        cls,
        trained: Trained,
        weights: TrainedWeights,
        unknown: Unknown = "error",
        batch_size: int = 512,
    ) -> "Inference":
        """Returns a network that was trained, ready to predict.

        How its data are read stands beside its weights, where they are own files; the data set is
        loaded where it does not. The caller's global random generators stay as they are.

        Args:
            trained: the network.
            weights: of it.
            unknown: what becomes of categories and missing values that training never had, of
                tables: ``error`` or ``ignore``.
            batch_size: >= 1.

        Raises:
            ConfigError: a setting is not legal, or an example has no predictions of its own.
            DataError: the data set cannot be read, or does not say how inputs are prepared.
        """
        if unknown not in ("error", "ignore"):
            raise ConfigError(f"unknown must be error or ignore, got {unknown!r}")
        config = dict(trained.config)
        task = make_task(config, construct)
        task.target_scale = weights.target_scale
        Meaning.of(task, None)  # before data are loaded
        data: Any = make_data(config["data"], construct)
        reading, preparation = weights.reading, None
        is_table = isinstance(data, TableFile) if reading is None else reading.kind == "table"
        if unknown != "error" and not is_table:
            raise ConfigError(
                f"unknown={unknown} says what becomes of categories of a table, but the network "
                f"was trained on {type(data).__name__}; legal: error"
            )
        if reading is None or not isinstance(data, OwnData):
            data = _loaded(trained)
            reading, preparation = getattr(data, "reading", None), data.preparation
        else:
            preparation = _preparation(reading, config["data"])
        is_own_task = not type(task).__module__.startswith("nasrunner.")
        needs_training = config["task"].get("class_weights") == "balanced" or is_own_task
        with generators_kept():  # a network is built with new weights
            network = trained.network(weights)
        return cls(
            network,
            _examples(data, reading, config["data"], unknown),
            preparation,
            Meaning.of(task, reading),
            getattr(data, "resolution", None),
            not needs_training,
            batch_size,
        )

    def predict(self, x: Any, y: Any = None) -> Prediction:
        """Predicts examples, as of ``ChildResult.predict``.

        Raises:
            DataError: they are not such as it was trained on, or there are none.
        """
        metrics = self.measuring()
        parts = list(self.pieces(x, y, metrics))
        return joined(parts, metrics.values(), metrics.notes())

    def measuring(self) -> PredictionMetrics:
        """Returns what measures predictions, with nothing measured."""
        return PredictionMetrics(self.meaning.task, has_loss=self.has_loss)

    def pieces(self, x: Any, y: Any, metrics: PredictionMetrics) -> Iterator[Prediction]:
        """Yields the predictions piece by piece; those with targets are measured.

        Args:
            x: as of ``ChildResult.predict``.
            y: likewise.
            metrics: what they are added to.

        Raises:
            DataError: as of ``predict``.
        """
        for piece in self.examples.of(x, y):
            if count_examples(piece.x, piece.where) == 0:
                raise DataError(f"{piece.where} has no examples; at least one is needed")
            known = None if piece.y is None else self._known(piece, piece.y, metrics)
            outputs = self.outputs(piece.x)
            if known is not None:
                targets, rows = known
                metrics.add(outputs[torch.from_numpy(rows)], targets)
            answers = self.meaning.answers(outputs)
            yield Prediction(self.meaning, *answers, piece.files, index=piece.index)

    def outputs(self, x: InputArrays) -> torch.Tensor:
        """Returns what the network makes of inputs that are not normalized, (N, K, ...)."""
        inputs = self.preparation.apply(at_resolution(x, self.resolution), _CPU)
        of_one = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
        found = []
        with torch.inference_mode():
            for start in range(0, len(of_one), self.batch_size):
                rows = range(start, min(start + self.batch_size, len(of_one)))
                try:
                    found.append(self.network(_rows_of(inputs, rows)).float())
                except IndexError as error:  # of an embedding
                    raise DataError(
                        f"x has tokens that the network does not know: {error}; legal are those "
                        "of training"
                    ) from error
        return torch.cat(found).clone()

    def _known(
        self, piece: Piece, y: np.ndarray, metrics: PredictionMetrics
    ) -> tuple[torch.Tensor, np.ndarray] | None:
        """The targets that can be measured, and the rows they are of; None: there are none."""
        rows = np.flatnonzero(~lacking(y))
        if not len(rows):
            return None
        targets, is_known = self.meaning.targets(y[rows], piece.where)
        if not is_known.all():
            strange = y[rows[~is_known]]
            metrics.leave_out(len(strange), strange[:1].tolist()[0])
        return (targets, rows[is_known]) if is_known.any() else None


def _rows_of(inputs: Inputs, rows: range) -> Inputs:
    found: Inputs = each_input(inputs, lambda each: each[rows.start : rows.stop])
    return found


def _loaded(trained: Trained) -> Any:
    """The data set, loaded as it was in training.

    Raises:
        DataError: it does not say how inputs are prepared, or cannot be read.
    """
    data = trained.load_data()
    if not isinstance(data, TensorDataModule):
        raise DataError(
            f"data: {type(data).__name__} does not say how inputs become those of its batches; "
            "legal is a TensorDataModule, or .network() in Python, which takes batches as they are"
        )
    return data


def _preparation(reading: Reading, config: Mapping[str, Any]) -> Preparation:
    """What makes tensors of inputs, with the statistics that were kept beside the weights."""
    if reading.mean is None:
        return Preparation(None)
    if isinstance(reading.mean, Mapping):
        shapes = config["in_shape"]
        return Preparation(
            {
                name: _normalization(mean, reading.std[name], len(shapes[name]))
                for name, mean in reading.mean.items()
            }
        )
    known = _normalization(reading.mean, reading.std, len(config["in_shape"]))
    return TablePreparation(known) if reading.kind == "table" else Preparation(known)


def _normalization(mean: list[float], std: list[float], num_dimensions: int) -> Normalization:
    shape = (-1, *[1] * (num_dimensions - 1))
    return Normalization(np.array(mean).reshape(shape), np.array(std).reshape(shape))


def _examples(
    data: TensorDataModule,
    reading: Reading | None,
    config: Mapping[str, Any],
    unknown: Unknown,
) -> NewExamples:
    """What reads new examples of a data set."""
    if isinstance(data, DatasetFolder):
        assert reading is not None
        return NewDataset.of_reading(data, reading, config, unknown)
    if isinstance(data, TableFile):
        assert reading is not None
        return NewRows.of_reading(data, reading, unknown)
    if isinstance(data, ImageFolder):
        assert reading is not None
        return NewImages.of_reading(data, reading)
    in_dtype = config.get("in_dtype")
    if not isinstance(data, ArrayFile):
        return NewArrays(config["in_shape"], in_dtype)
    assert reading is not None
    return NewArrays.of_reading(reading, config, data.targets)
