"""Columns of datasets that the library ``datasets`` has written, as arrays, tables and images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from nasrunner.core.errors import DataError
from nasrunner.data.own.decoding import StoredImage

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

# N = number of rows, ... = the shape of one example

Form = Literal["value", "array", "image"]
"""What a column holds: a number or text of each row, an array of numbers, or an image."""

_INFO, _STATE, _SPLITS = "dataset_info.json", "state.json", "dataset_dict.json"
"""The files by which a folder of the library is known."""

_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""What splits are usually called, by what they are for."""


@dataclass(frozen=True)
class Splits:
    """The splits of a dataset, by what they are for.

    Attributes:
        train: what is learnt from.
        validation: what children are measured on; None: there is none.
        test: what is for the test; None: likewise.
        others: names of those that are left out.
    """

    train: "Dataset"
    validation: "Dataset | None" = None
    test: "Dataset | None" = None
    others: tuple[str, ...] = field(default=())


def is_dataset_folder(path: Path) -> bool:
    """Tells whether ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote a folder."""
    return (path / _SPLITS).is_file() or all((path / n).is_file() for n in (_INFO, _STATE))


def files_of(path: Path) -> list[Path]:
    """Returns the files that a dataset's rows and columns stand in.

    What ``datasets`` keeps beside them of its own, such as results of ``map``, is not among them.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is damaged.
    """
    if (path / _SPLITS).is_file():
        splits = json.loads((path / _SPLITS).read_text(encoding="utf-8"))["splits"]
        return [each for name in splits for each in files_of(path / name)]
    state = json.loads((path / _STATE).read_text(encoding="utf-8"))
    return [path / _INFO, *(path / each["filename"] for each in state["_data_files"])]


def load(path: Path, where: str) -> Any:
    """Returns the ``Dataset`` or ``DatasetDict`` of a folder.

    Raises:
        DataError: it is none, is damaged, or ``datasets`` is not installed.
    """
    if not is_dataset_folder(path):
        raise DataError(
            f"{where} is no folder that save_to_disk of datasets wrote; legal is one with "
            f"{_SPLITS}, or {_INFO} and {_STATE}"
        )
    try:
        import datasets  # an extra, whose import takes seconds
    except ImportError as error:
        raise DataError(f"{where} needs datasets: pip install 'nasrunner[huggingface]'") from error
    try:
        return datasets.load_from_disk(str(path.absolute()))
    except Exception as error:  # Arrow's, the library's and JSON's own
        raise _unreadable(where, error) from error


def splits_of(path: Path, where: str) -> Splits:
    """Returns the splits of a folder; a ``Dataset`` is all for training.

    Raises:
        DataError: as of ``load``, or none of several splits is for training.
    """
    found = load(path, where)
    if not isinstance(found, Mapping):
        return Splits(found)
    known = {
        use: next((name for name in names if name in found), None) for use, names in _NAMES.items()
    }
    if len(found) == 1:
        known = {"train": next(iter(found)), "validation": None, "test": None}
    train, validation, test = known["train"], known["validation"], known["test"]
    if train is None:
        one = next(iter(found), "train")
        raise DataError(
            f"{where} has the splits {', '.join(found) or 'none'}; legal are train, validation and "
            f"test, of which train is needed, or the folder of one, {path / one}"
        )
    others = tuple(name for name in found if name not in known.values())
    return Splits(
        found[train],
        None if validation is None else found[validation],
        None if test is None else found[test],
        others,
    )


def only_split(path: Path, where: str) -> "Dataset":
    """Returns the rows of a folder of one split.

    Raises:
        DataError: as of ``load``, or there are several splits.
    """
    found = load(path, where)
    if not isinstance(found, Mapping):
        return found
    if len(found) != 1:
        raise DataError(
            f"{where} has the splits {', '.join(found)}; legal is the folder of one, such as "
            f"{path / next(iter(found), 'test')}"
        )
    return next(iter(found.values()))


def is_of_classes(feature: Any) -> bool:
    """Tells whether a column is of classes by name."""
    return type(feature).__name__ == "ClassLabel"


def described(feature: Any) -> str:
    """Returns what a feature is in words: ``Audio``, ``List of string``."""
    kind = type(feature).__name__
    if kind in ("List", "LargeList", "Sequence"):
        return f"{kind} of {described(feature.feature)}"
    return str(getattr(feature, "dtype", kind)) if kind == "Value" else kind


def form_of(feature: Any) -> Form | None:
    """Returns what a column of a feature holds; None: it is nothing that networks take here."""
    kind = type(feature).__name__
    if kind in ("Value", "ClassLabel"):
        return None if "binary" in str(getattr(feature, "dtype", "")) else "value"
    if kind == "Image":
        return "image"
    return "array" if _is_of_numbers(feature) else None


def _is_of_numbers(feature: Any) -> bool:
    """Whether an array's elements are numbers or truth values."""
    kind = type(feature).__name__
    if kind in ("List", "LargeList", "Sequence"):
        inner = feature.feature
        return _is_number(inner) or _is_of_numbers(inner)
    return kind in ("Array2D", "Array3D", "Array4D", "Array5D")


def _is_number(feature: Any) -> bool:
    if is_of_classes(feature):
        return True
    dtype = str(getattr(feature, "dtype", ""))
    return type(feature).__name__ == "Value" and dtype.startswith(("int", "uint", "float", "bool"))


def frame_of(rows: "Dataset", names: Sequence[str], where: str) -> pd.DataFrame:
    """Returns columns of values as a table; classes are their names, and -1 is a missing one.

    Raises:
        DataError: a file is damaged.
    """
    if not names:
        return pd.DataFrame(index=range(len(rows)))
    found = _table_of(rows, names, where).to_pandas()
    for name in names:
        labels = getattr(rows.features[name], "names", None)
        if labels is not None:
            found[name] = _named(found[name], labels, f"{where}: column {name}")
    return found


def _named(values: pd.Series, labels: Sequence[str], where: str) -> pd.Series:
    numbers = values.fillna(-1).astype(np.int64).to_numpy()
    if len(strange := numbers[(numbers < -1) | (numbers >= len(labels))]):
        raise DataError(f"{where} has the class {strange[0]}; legal are 0 to {len(labels) - 1}")
    texts = np.array([*labels, None], dtype=object)
    return pd.Series(texts[numbers], index=values.index, dtype=object)


def array_of_column(rows: "Dataset", name: str, where: str) -> np.ndarray:
    """Returns a column of arrays, (N, ...), of the numbers' own type.

    Raises:
        DataError: examples are of several lengths, something is missing, or a file is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    where = f"{where}: column {name}"
    column = _table_of(rows, [name], where).column(name).combine_chunks()
    found = column.storage if isinstance(column, pa.ExtensionArray) else column
    shape = [len(found)]
    while pa.types.is_nested(found.type):
        if found.null_count:
            raise DataError(f"{where} has no value in {found.null_count:,} places")
        lengths = np.unique(pc.list_value_length(found).to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise DataError(
                f"{where} has examples of {lengths[0]:,} to {lengths[-1]:,} numbers; legal are "
                "examples of one length, as tokens are that are padded and cut"
            )
        shape.append(int(lengths[0]) if len(lengths) else 0)
        found = found.flatten()
    if found.null_count:
        raise DataError(f"{where} has no value in {found.null_count:,} places")
    values: np.ndarray = found.to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(found.type):
        values = values.astype(bool)
    return values.reshape(shape)


def images_in_column(rows: "Dataset", name: str, part: str, where: str) -> list[StoredImage]:
    """Returns a column of images as the bytes of their files.

    Args:
        rows: of a split.
        name: of the column.
        part: what the split is called, for error messages.
        where: what is read, likewise.

    Raises:
        DataError: a row has no image, its file is not among the rows' and is gone, or a file is
            damaged.
    """
    found = []
    for number, each in enumerate(_table_of(rows, [name], where).column(name).to_pylist(), 1):
        called = f"{name} of row {number:,} of {part}"
        if each is None or (each["bytes"] is None and each["path"] is None):
            raise DataError(f"{where}: {called} is missing; legal is an image in each row")
        try:
            content = (
                each["bytes"] if each["bytes"] is not None else Path(each["path"]).read_bytes()
            )
        except OSError as error:
            raise DataError(f"{where}: {called} cannot be read: {error}") from error
        found.append(StoredImage(called, content))
    return found


def _table_of(rows: "Dataset", names: Sequence[str], where: str) -> "pa.Table":
    try:
        return rows.select_columns(list(names)).with_format("arrow")[:]
    except Exception as error:  # Arrow's own
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
    return DataError(f"{where} cannot be read: {reason}")
