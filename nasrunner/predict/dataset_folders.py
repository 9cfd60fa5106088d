"""New examples in a folder that Hugging Face's ``datasets`` has written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.core.errors import DataError, suggest
from nasrunner.data.own.dataset_columns import (
    Form,
    array_of_column,
    form_of,
    frame_of,
    images_in_column,
    is_dataset_folder,
    only_split,
)
from nasrunner.data.own.huggingface import DatasetFolder
from nasrunner.data.own.reading import Reading
from nasrunner.data.own.tables import targets_of
from nasrunner.predict.arrays import NewArrays
from nasrunner.predict.images import NUM_IMAGES, NewImages
from nasrunner.predict.pieces import NUM_ROWS, NewExamples, Piece
from nasrunner.predict.tables import NewRows, Unknown


@dataclass(frozen=True)
class NewDataset(NewExamples):
    """Rows of a ``Dataset`` with the columns of training; others are left out.

    What is no such folder is read as a file of arrays or as images, where training had those.

    Attributes:
        examples: reads what the columns hold.
        inputs: the columns of arrays or images; empty: they are those of a table.
        targets: where all of them are there, predictions are measured.
    """

    examples: NewRows | NewArrays | NewImages
    inputs: tuple[str, ...]
    targets: tuple[str, ...]

    @classmethod
    def of_reading(
        cls, data: DatasetFolder, reading: Reading, config: Mapping[str, Any], unknown: Unknown
    ) -> "NewDataset":
        """Returns what reads rows as those of training were.

        Args:
            data: the data set of training.
            reading: of it.
            config: the ``data`` part of the configuration.
            unknown: as of ``NewRows``.
        """
        targets = tuple(reading.settings["targets"])
        examples: NewRows | NewArrays | NewImages
        if reading.kind == "table":
            return cls(NewRows.of_reading(data, reading, unknown), (), targets)
        if reading.kind == "images":
            examples = NewImages.of_reading(data, reading)
        else:
            examples = NewArrays.of_reading(reading, config, targets[0])
        return cls(examples, tuple(reading.settings["inputs"]), targets)

    def of_path(self, path: Path) -> Iterator[Piece]:
        if not is_dataset_folder(path):
            if isinstance(self.examples, NewRows):
                raise DataError(
                    f"{path}: the network was trained on a folder of datasets; legal is one that "
                    "save_to_disk wrote, or a DataFrame in Python"
                )
            yield from self.examples.of_path(path)
            return
        where = str(path)
        rows = only_split(path, where)
        has_targets = all(name in rows.features for name in self.targets)
        if isinstance(self.examples, NewRows):
            names = [n for n, each in rows.features.items() if form_of(each) == "value"]
            for first in range(0, len(rows), NUM_ROWS):
                part = rows.select(range(first, min(first + NUM_ROWS, len(rows))))
                y = self._targets_of(part, where) if has_targets else None
                yield self.examples.piece(frame_of(part, names, where), y, where, first)
            return
        y = self._targets_of(rows, where) if has_targets else None
        if isinstance(self.examples, NewImages):
            (name,) = self.inputs
            _check(rows, [name], "image", where)
            images = images_in_column(rows, name, path.name, where)
            for first in range(0, len(images), NUM_IMAGES):
                x_NCHW = self.examples.decoded(images[first : first + NUM_IMAGES], where)
                yield Piece(x_NCHW, None if y is None else y[first : first + NUM_IMAGES], where)
            return
        _check(rows, self.inputs, "array", where)
        x = {name: array_of_column(rows, name, where) for name in self.inputs}
        is_one = not isinstance(self.examples.in_shape, Mapping)
        yield from self.examples.pieces(x[self.inputs[0]] if is_one else x, y, where)

    def of_values(self, x: Any, y: np.ndarray | None) -> Iterator[Piece]:
        yield from self.examples.of_values(x, y)

    def _targets_of(self, rows: Any, where: str) -> np.ndarray:
        if form_of(rows.features[self.targets[0]]) == "array":
            return array_of_column(rows, self.targets[0], where)
        return targets_of(frame_of(rows, self.targets, where))


def _check(rows: Any, names: Sequence[str], form: Form, where: str) -> None:
    """Refuses rows that lack a column of inputs, or have another one by its name."""
    for name in names:
        if name not in rows.features:
            told = suggest(name, rows.features)
            raise DataError(f"{where} lacks the column {name!r} of the {form}s, {told}")
        if form_of(rows.features[name]) != form:
            raise DataError(f"{where}: column {name} holds no {form}s; legal are {form}s")
