"""Own data as a folder that Hugging Face's library ``datasets`` has written."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from nasrunner.core.annotations import Count
from nasrunner.core.errors import ConfigError, DataError, suggest
from nasrunner.data.inputs import InputArrays, Preparation
from nasrunner.data.own.array_file import TARGETS
from nasrunner.data.own.arrays import (
    Channels,
    channels_first,
    check_vocabulary,
    likely_channels,
    token_settings,
)
from nasrunner.data.own.columns import check_columns
from nasrunner.data.own.dataset_columns import (
    Form,
    array_of_column,
    described,
    files_of,
    form_of,
    frame_of,
    images_in_column,
    is_of_classes,
    only_split,
    splits_of,
)
from nasrunner.data.own.decoding import Colours, Size
from nasrunner.data.own.digests import digest_of_contents
from nasrunner.data.own.images import decoded_alike, settings_of, size_of
from nasrunner.data.own.own_data import EncodedInputs, RawExamples
from nasrunner.data.own.reading import Kind
from nasrunner.data.own.tables import Name, TableFile, as_names, target_values, targets_of
from nasrunner.data.own.targets import lacking
from nasrunner.data.split import Examples, count_of, equal_inputs

# N = number of examples, ... = the shape of one example

_VALIDATION_SHARE = 0.2
"""Of the examples, for validation where neither folder nor user says how many are."""

_KINDS: Mapping[Form, Kind] = {"value": "table", "array": "arrays", "image": "images"}
"""What inputs are, by what their columns hold."""

_LEGAL = "numbers, categories, images, or arrays of numbers"

_OF_KINDS: Mapping[Kind, tuple[str, ...]] = {
    "table": ("categorical", "max_categories"),
    "arrays": ("in_dtype", "channels", "vocabulary"),
    "images": ("size", "colours"),
}
"""Settings that are of one kind of inputs alone."""


@dataclass(kw_only=True, eq=False)
class DatasetFolder(TableFile):
    """Rows of a ``Dataset`` or ``DatasetDict`` that ``save_to_disk`` of ``datasets`` wrote.

    Inputs are the column of images, where there is one; else the column of arrays; else all
    columns of numbers and categories, as a table. Splits called ``train``, ``validation`` and
    ``test``, or alike, are the parts they are called by; one whose rows have no targets is left
    out.

    Args:
        validation_examples: as of ``TensorDataModule``; None: the validation split, or a fifth of
            what is not for the test where there is none.
        target: the column to predict, or several of numbers. None: the only one of classes
            (``ClassLabel``), or the only one with a usual name.
        test_path: another such folder, with the rows of the test; None: a split, or held out.
        inputs: a column, or several: of images, of arrays, or of numbers and categories. Several
            arrays are known to networks by their names. None: as said above.
        channels: of arrays, as of ``ArrayFile``.
        vocabulary: of tokens, likewise.
        size: of images, as of ``ImageFolder``.
        colours: likewise.

    Raises:
        ConfigError: as of ``TableFile``; there is a vocabulary of what are no tokens.
    """

    validation_examples: Examples | None = None  # type: ignore[assignment]
    target: Name | Sequence[Name] | None = None  # type: ignore[assignment]
    inputs: Name | Sequence[Name] | None = None
    channels: Channels | None = None
    vocabulary: Count | None = None
    size: Count | Sequence[Count] | None = None
    colours: Colours | None = None

    guessed_from: ClassVar[tuple[str, ...]] = (
        *(*TableFile.guessed_from, "inputs", "channels", "vocabulary", "size", "colours"),
        "validation_examples",
    )
    of_texts: ClassVar[str] = (
        "legal are numbers and categories: texts are learnt as a column of tokens of one length, "
        "as map(tokenizer) of datasets makes it, with data.inputs=input_ids data.in_dtype=int64 "
        "space=text_classifier"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.inputs = as_names(self.inputs)
        check_vocabulary(self.in_dtype, self.vocabulary)

    def check_dtype(self, why: str) -> None:
        """Leaves it to ``read``: whether there may be tokens, the columns say."""

    def files_digest(self) -> str:
        try:
            return digest_of_contents(self._files())
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.where} cannot be read: {error!r}") from error

    def validation_count(self, total: int) -> int:
        wanted = self.validation_examples or _VALIDATION_SHARE
        return count_of("validation_examples", wanted, total)

    def read(self) -> RawExamples:
        parts, told = self._parts_of_folders()
        features = parts[0].rows.features
        targets = self._names_of_targets(features)
        used = self.check_names([*features], targets)
        names, form = self._names_of_inputs(features, used)
        self._check_settings(names, form)
        beside = [each for each in (self.group, self.time) if each is not None]
        if strange := [each for each in beside if form_of(features[each]) != "value"]:
            raise DataError(
                f"data.{used[strange[0]]}={strange[0]} is of {described(features[strange[0]])}; "
                "legal is a column of values"
            )
        for part in parts:
            part.check_columns([*names, *targets, *beside], features, self.where)
        parts, y, without = self._labelled(parts, targets)
        table = pd.concat(
            [frame_of(part.rows, beside, self.where) for part in parts], ignore_index=True
        )
        x, settings, facts = self._inputs(parts, names, form)
        left_out = [name for name in features if name not in names and name not in used]
        if left_out:
            facts = (*facts, f"columns left out: {', '.join(left_out)}")
        inputs = f"inputs {' '.join(names)}, " if form != "value" else ""
        is_of_part = {
            use: np.repeat([part.use == use for part in parts], [len(p.rows) for p in parts])
            for use in ("validation", "test")
        }
        groups_N = self.groups_in(table)
        self._check_splits(parts, groups_N)
        return RawExamples(
            x=x,
            y=y,
            where=f"data.target={', '.join(targets)} of {self.path}",
            kind=_KINDS[form],
            groups_N=groups_N,
            times_N=self.times_in(table),
            num_test=int(is_of_part["test"].sum()) or None,
            is_validation_N=is_of_part["validation"] if is_of_part["validation"].any() else None,
            settings={**settings, "targets": targets},
            facts=(f"{inputs}target {', '.join(targets)}", *told, *without, *facts),
        )

    def encode(self, raw: RawExamples, rows_N: np.ndarray) -> EncodedInputs:
        return super().encode(raw, rows_N) if raw.kind == "table" else EncodedInputs(raw.x)

    def equal_examples(self, x: Any) -> np.ndarray:
        return super().equal_examples(x) if isinstance(x, pd.DataFrame) else equal_inputs(x)

    def preparation_of(self, x: InputArrays) -> Preparation:
        if self.known().kind == "table":
            return super().preparation_of(x)
        return Preparation.of(x, self.in_dtype, type(self).__name__)

    def _parts_of_folders(self) -> tuple[list["_RowsOfSplit"], list[str]]:
        """The splits that there are, training first and the test last, and what is to be told."""
        splits = splits_of(Path(self.path), self.where)
        parts = [_RowsOfSplit(splits.train, "train", "train")]
        told = []
        if splits.validation is not None:
            parts.append(_RowsOfSplit(splits.validation, "validation", "validation"))
        if self.test_path is not None:
            where = f"data.test_path={self.test_path}"
            if splits.test is not None:
                raise ConfigError(
                    f"{where} has the rows of the test, of which {self.where} has a split, too; "
                    "legal: null"
                )
            if not Path(self.test_path).exists():
                raise DataError(f"{where} is missing")
            parts.append(_RowsOfSplit(only_split(Path(self.test_path), where), where, "test"))
        elif splits.test is not None:
            parts.append(_RowsOfSplit(splits.test, "test", "test"))
        if len(parts) > 1:
            counts = [f"{part.use} {len(part.rows):,}" for part in parts]
            told.append(f"split as the folder is: {', '.join(counts)}")
        if splits.others:
            told.append(f"splits left out: {', '.join(splits.others)}")
        if not all(len(part.rows) for part in parts):
            empty = next(part for part in parts if not len(part.rows))
            raise DataError(f"{self.where}: {empty.name} has no rows")
        return parts, told

    def _names_of_targets(self, features: Mapping[str, Any]) -> list[str]:
        if self.target is not None:
            return [self.target] if isinstance(self.target, str) else list(self.target)
        is_free = {name: name not in self.drop for name in features}
        of_classes = [n for n in features if is_free[n] and is_of_classes(features[n])]
        usual = [n for n in features if is_free[n] and n.lower() in TARGETS]
        found = of_classes if len(of_classes) == 1 else usual
        if len(found) != 1:
            raise DataError(
                f"{self.where} has the columns {', '.join(features)}: data.target must say which "
                "is the target"
            )
        return found

    def _names_of_inputs(
        self, features: Mapping[str, Any], used: Mapping[str, str]
    ) -> tuple[list[str], Form]:
        """The columns of inputs, and what all of them hold."""
        if self.inputs is not None:
            return self._wanted_inputs(features, used)
        free = [name for name in features if name not in used]
        of_form: dict[Form | None, list[str]] = {}
        for name in free:
            of_form.setdefault(form_of(features[name]), []).append(name)
        for form in ("image", "array"):
            found = of_form.get(form, [])
            if len(found) > 1:
                raise DataError(
                    f"{self.where} has {form}s in {', '.join(found)}: data.inputs must say which "
                    "are the inputs"
                )
            if found:
                return found, form
        if strange := of_form.get(None):
            raise DataError(
                f"{self.where}: column {strange[0]} is of {described(features[strange[0]])}; legal "
                f"are {_LEGAL}, and data.drop=[{strange[0]}] leaves a column out"
            )
        if not free:
            raise DataError(f"{self.where} has no column beside {', '.join(used)}")
        return free, "value"

    def _wanted_inputs(
        self, features: Mapping[str, Any], used: Mapping[str, str]
    ) -> tuple[list[str], Form]:
        assert self.inputs is not None
        names = [self.inputs] if isinstance(self.inputs, str) else list(self.inputs)
        for name in names:
            if name not in features:
                raise DataError(
                    f"data.inputs={name} is no column of {self.path}, {suggest(name, features)}"
                )
            if name in used:
                raise ConfigError(
                    f"data.inputs has {name}, which is no input: data.{used[name]} has it, too; "
                    "legal are other columns"
                )
        forms = {name: form_of(features[name]) for name in names}
        if not names or None in forms.values():
            strange = next((name for name, form in forms.items() if form is None), None)
            of = "" if strange is None else f": {strange} is of {described(features[strange])}"
            raise DataError(f"data.inputs={names}{of}; legal are columns of {_LEGAL}")
        found = set(forms.values())
        if len(found) > 1 or (found == {"image"} and len(names) > 1):
            raise DataError(
                f"data.inputs={names} are {', '.join(f'{n} {f}' for n, f in forms.items())}; legal "
                "is one column of images, or several of arrays, or several of values"
            )
        form = found.pop()
        assert form is not None
        return names, form

    def _check_settings(self, names: Sequence[str], form: Form) -> None:
        """Refuses what is set and is not of such inputs."""
        kind = _KINDS[form]
        for other, settings in _OF_KINDS.items():
            for name in settings if other != kind else ():
                value = getattr(self, name)
                if value != getattr(DatasetFolder, name) and value not in ([], "float32"):
                    raise ConfigError(
                        f"data.{name}={value} is of {other}, but the inputs of {self.path}, "
                        f"{', '.join(names)}, are {kind}; legal: {_default(name)}"
                    )
        if lost := [each for each in self.categorical if each not in names]:
            raise ConfigError(
                f"data.categorical has {lost[0]}, which is no input: data.inputs does not have it; "
                "legal are columns of inputs"
            )

    def _labelled(
        self, parts: Sequence["_RowsOfSplit"], targets: Sequence[str]
    ) -> tuple[list["_RowsOfSplit"], np.ndarray, list[str]]:
        """The parts that have targets, these, and which parts have none, in words."""
        found = {part: self._targets_in(part, targets) for part in parts}
        kept = [p for p in parts if p.use == "train" or not lacking(found[p]).all()]
        told = [f"{p.name} has no targets and is left out" for p in parts if p not in kept]
        return kept, np.concatenate([found[part] for part in kept]), told

    def _targets_in(self, part: "_RowsOfSplit", targets: Sequence[str]) -> np.ndarray:
        forms = [form_of(part.rows.features[name]) for name in targets]
        if forms == ["array"]:
            return array_of_column(part.rows, targets[0], f"{self.where}: {part.name}")
        if strange := [n for n, form in zip(targets, forms, strict=True) if form != "value"]:
            raise DataError(
                f"data.target={strange[0]} is of {described(part.rows.features[strange[0]])}; "
                "legal is a column of classes or numbers, or several of numbers"
            )
        table = frame_of(part.rows, targets, self.where)
        is_one = not isinstance(self.target, Sequence) or isinstance(self.target, str)
        return target_values(table[targets[0]]) if is_one else targets_of(table)

    def _inputs(
        self, parts: Sequence["_RowsOfSplit"], names: Sequence[str], form: Form
    ) -> tuple[Any, dict[str, Any], tuple[str, ...]]:
        """Inputs of all parts, the settings by which more are read, and what is to be told."""
        if form == "image":
            stamps = tuple((path, path.stat().st_mtime_ns) for path in self._files())
            column = _ImageColumn(self.where, names[0], tuple(parts), stamps)
            x_NCHW, facts = _decoded(column, size_of(self.size), self.colours)
            return x_NCHW, {**settings_of(x_NCHW), "inputs": list(names)}, facts
        if form == "value":
            table = pd.concat(
                [frame_of(part.rows, names, self.where) for part in parts], ignore_index=True
            )
            check_columns(table, self.categorical, self.where)
            return table, {}, ()
        is_one = self.inputs is None or isinstance(self.inputs, str)
        settings: dict[str, Any] = {"inputs": list(names), "is_one": is_one, "channels": {}}
        x = {}
        for name in names:
            of_parts = [
                array_of_column(part.rows, name, f"{self.where}: {part.name}") for part in parts
            ]
            check_alike(of_parts, [part.name for part in parts], f"{self.where}: column {name}")
            values = np.concatenate(of_parts)
            channels = settings["channels"][name] = self.channels or likely_channels(values)
            settings |= token_settings(values, name, self.in_dtype, self.vocabulary, self.where)
            x[name] = channels_first(values, channels, f"{self.where}: {name}")
        return x[names[0]] if is_one else x, settings, ()

    def _files(self) -> list[Path]:
        places = [Path(each) for each in (self.path, self.test_path) if each is not None]
        return [file for each in places for file in files_of(each)]

    def _check_splits(self, parts: Sequence["_RowsOfSplit"], groups_N: np.ndarray | None) -> None:
        """Refuses to draw what the folder has drawn, and splits that cut a group."""
        if any(part.use == "validation" for part in parts):
            given = {"validation_examples": self.validation_examples, "time": self.time}
            for name, value in given.items():
                if value is not None:
                    raise ConfigError(
                        f"data.{name}={value} says which examples are for validation, of which "
                        f"{self.where} has a split; legal: null"
                    )
        if groups_N is None or len(parts) == 1:
            return
        part_N = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
        for number, part in enumerate(parts):
            cut = np.isin(groups_N[part_N == number], groups_N[part_N != number])
            if cut.any():
                value = frame_of(part.rows, [str(self.group)], self.where).iloc[cut.argmax(), 0]
                raise DataError(
                    f"data.group={self.group}: rows of {value} stand in {part.name} and in another "
                    "split; legal are splits that cut no group, or null"
                )


@dataclass(frozen=True, eq=False)
class _RowsOfSplit:
    """The rows of a split, what it is called, and what it is for."""

    rows: Any
    name: str
    use: Literal["train", "validation", "test"]

    def check_columns(self, names: Sequence[str], features: Mapping[str, Any], where: str) -> None:
        """Refuses a split that lacks a column, or has another one by its name."""
        for name in names:
            own = self.rows.features.get(name)
            if own is None:
                raise DataError(
                    f"{where}: {self.name} lacks the column {name!r}; legal are the same columns"
                )
            if form_of(own) != form_of(features[name]):
                raise DataError(
                    f"{where}: column {name} of {self.name} is of {described(own)}, and of train "
                    f"{described(features[name])}; legal are the same columns"
                )


@dataclass(frozen=True)
class _ImageColumn:
    """Images of several splits, equal to those of the same files."""

    where: str
    name: str
    parts: tuple[_RowsOfSplit, ...] = field(compare=False)
    stamps: tuple[tuple[Path, int], ...]


@functools.lru_cache(maxsize=1)
def _decoded(
    column: _ImageColumn, size: Size | None, colours: Colours | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    images = [
        image
        for part in column.parts
        for image in images_in_column(part.rows, column.name, part.name, column.where)
    ]
    return decoded_alike(column.where, images, size, colours)


def check_alike(arrays: Sequence[np.ndarray], names: Sequence[str], where: str) -> None:
    """Refuses arrays (N, ...) of several splits whose examples are of several shapes.

    Args:
        arrays: one of each split.
        names: of the splits.
        where: what is read, for error messages.

    Raises:
        DataError: names two of them.
    """
    for values, name in zip(arrays, names, strict=True):
        if values.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{where}: examples of {name} are {values.shape[1:]}, those of {names[0]} "
                f"{arrays[0].shape[1:]}; legal are the same"
            )


def _default(name: str) -> object:
    value = getattr(DatasetFolder, name)
    return {(): "[]", None: "null"}.get(value, value)
