"""Own data as arrays in a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from nasrunner.core.annotations import Count
from nasrunner.core.errors import ConfigError, DataError
from nasrunner.data.inputs import check_tokens
from nasrunner.data.own.array_file import INPUTS, TARGETS, named_array, read_arrays, test_name
from nasrunner.data.own.own_data import OwnData, RawExamples

# N = number of examples, C = channels, H, W = height and width

Channels = Literal["first", "last", "none"]

_COLOURS = (1, 3, 4)
"""Channels of what is likely to be an image: grey, colour, colour with transparency."""


@dataclass(kw_only=True, eq=False)
class ArrayFile(OwnData):
    """Examples in a file of arrays: npz, pt or safetensors.

    ``x_train``, ``y_train``, ``x_test`` and ``y_test`` are known for what they are, as ``x`` and
    ``y`` are, and what is called alike.

    Args:
        path: the file.
        inputs: the array of inputs, (N, ...), or the arrays of several, by whose names networks
            know them. None: the one with a usual name, or the only one beside the targets.
        targets: the array of targets: (N,) labels, or (N,) or (N, K) numbers; None: likewise.
        groups: an array (N,): examples of the same group stay in one part; None: there is none.
        channels: which axis of an example they are: the ``first``, the ``last``, which is moved to
            the front, or ``none``, where one is put there. None: ``last`` of (H, W, 3) or the
            like, ``none`` of bytes (H, W), and ``first`` of all others.
        vocabulary: different tokens that networks know, where ``in_dtype`` has ``int64``: each is
            below. None: one more than the highest in the file, of one input alone.

    Raises:
        ConfigError: there is a vocabulary of what are no tokens.
        DataError: as of ``OwnData``; an array is not there, or has not as many examples.
    """

    path: str
    inputs: str | Sequence[str] | None = None
    targets: str | None = None
    groups: str | None = None
    channels: Channels | None = None
    vocabulary: Count | None = None

    guessed_from: ClassVar[tuple[str, ...]] = (
        *OwnData.guessed_from,
        *("path", "inputs", "targets", "groups", "channels", "vocabulary"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_vocabulary(self.in_dtype, self.vocabulary)

    def read(self) -> RawExamples:
        arrays = read_arrays(Path(self.path))
        target = self._name_of_targets(arrays)
        names = self._names_of_inputs(arrays, target)
        y, num_test = self._with_test(arrays, target)
        channels = {name: self.channels or likely_channels(arrays[name]) for name in names}
        is_one = not isinstance(self.inputs, Sequence) or isinstance(self.inputs, str)
        settings: dict[str, Any] = {"inputs": names, "is_one": is_one, "channels": channels}
        x = {}
        for name in names:
            values, own_test = self._with_test(arrays, name)
            if values.dtype.kind not in "iufb":
                raise DataError(f"{self.where}: {name} holds {_told(values)}; legal are numbers")
            if (len(values), own_test) != (len(y), num_test):
                raise DataError(
                    f"{self.where}: {name} has {_counted(len(values), own_test)} and {target} "
                    f"{_counted(len(y), num_test)}; they must have the same length"
                )
            settings |= token_settings(values, name, self.in_dtype, self.vocabulary, self.where)
            x[name] = channels_first(values, channels[name], f"{self.where}: {name}")
        return RawExamples(
            x=x[names[0]] if is_one else x,
            y=y,
            where=f"{target} of {self.path}",
            kind="arrays",
            groups_N=self._groups(arrays, len(y), num_test),
            num_test=num_test,
            settings=settings,
            facts=(f"inputs {' '.join(names)}, targets {target}",),
        )

    def _name_of_targets(self, arrays: dict[str, np.ndarray]) -> str:
        name = named_array(arrays, self.targets, TARGETS, "targets")
        if name is None:
            raise DataError(
                f"{self.where} holds {', '.join(arrays)}: data.targets must say which are "
                "the targets"
            )
        return name

    def _names_of_inputs(self, arrays: dict[str, np.ndarray], target: str) -> list[str]:
        if self.inputs is not None and not isinstance(self.inputs, str):
            for each in self.inputs:
                named_array(arrays, each, (), "inputs")
            return list(self.inputs)
        name = named_array(arrays, self.inputs, INPUTS, "inputs")
        if name is None:
            known = {target, test_name(target, arrays), self.groups}
            others = [each for each in arrays if each not in known]
            if len(others) != 1:
                raise DataError(
                    f"{self.where} holds {', '.join(arrays)}: data.inputs must say which "
                    "are the inputs"
                )
            name = others[0]
        return [name]

    def _with_test(self, arrays: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, int | None]:
        """An array with its part for the test at its end, and how many examples that has."""
        values, own = arrays[name], test_name(name, arrays)
        if values.ndim == 0:
            raise DataError(f"{self.where}: {name} is one number, not one an example")
        if own is None:
            return values, None
        if arrays[own].shape[1:] != values.shape[1:]:
            raise DataError(
                f"{self.where}: examples of {own} are {arrays[own].shape[1:]}, those of "
                f"{name} {values.shape[1:]}; legal are the same"
            )
        return np.concatenate([values, arrays[own]]), len(arrays[own])

    def _groups(
        self, arrays: dict[str, np.ndarray], total: int, num_test: int | None
    ) -> np.ndarray | None:
        if self.groups is None:
            return None
        named_array(arrays, self.groups, (), "groups")
        groups_N = arrays[self.groups]
        wanted = total - (num_test or 0)
        if groups_N.shape != (wanted,):
            raise DataError(
                f"data.groups={self.groups} must be one of each of the {wanted:,} examples, got "
                f"{groups_N.shape}"
            )
        return np.concatenate([groups_N, groups_N[:1].repeat(num_test or 0)])


def check_vocabulary(in_dtype: str | Mapping[str, str] | None, vocabulary: int | None) -> None:
    """Refuses a vocabulary of what are no tokens.

    Args:
        in_dtype: as of ``data.in_dtype``.
        vocabulary: as of ``data.vocabulary``.

    Raises:
        ConfigError: says what is legal.
    """
    types = in_dtype.values() if isinstance(in_dtype, Mapping) else [in_dtype]
    if vocabulary is not None and "int64" not in types:
        raise ConfigError(
            f"data.vocabulary={vocabulary} is of tokens, but the inputs are numbers; legal: null, "
            "or data.in_dtype=int64"
        )


def token_settings(
    values: np.ndarray,
    name: str,
    in_dtype: str | Mapping[str, str] | None,
    vocabulary: int | None,
    where: str,
) -> dict[str, int]:
    """Checks an input if it is of tokens.

    Args:
        values: (N, ...).
        name: of the input.
        in_dtype: as of ``data.in_dtype``.
        vocabulary: as of ``data.vocabulary``.
        where: what is read, for error messages.

    Returns:
        The vocabulary, as ``settings`` of ``RawExamples``, of a network's only input or where it
        is given.

    Raises:
        DataError: they are no tokens, or some are not in the vocabulary.
    """
    is_one = not isinstance(in_dtype, Mapping)
    if (in_dtype.get(name) if isinstance(in_dtype, Mapping) else in_dtype) != "int64":
        return {}
    check_tokens(values, "data.in_dtype" if is_one else f"data.in_dtype.{name}", f"{where}: {name}")
    needed = int(values.max()) + 1 if values.size else 1
    if vocabulary is not None and vocabulary < needed:
        raise DataError(
            f"data.vocabulary={vocabulary} needs tokens below it, but {where} has {needed - 1}; "
            f"legal are {needed} and more, or null"
        )
    return {"vocabulary": vocabulary or needed} if is_one or vocabulary else {}


def likely_channels(values: np.ndarray) -> Channels:
    """Returns which axis of an example (N, ...) is likely to be that of the channels."""
    shape = values.shape[1:]
    if len(shape) == 2 and values.dtype == np.uint8:
        return "none"
    is_last = len(shape) == 3 and shape[-1] in _COLOURS and shape[0] not in _COLOURS
    return "last" if is_last else "first"


def channels_first(values: np.ndarray, channels: Channels, where: str) -> np.ndarray:
    """Returns examples (N, C, ...).

    Args:
        values: (N, ...).
        channels: which axis they are.
        where: what is read, for error messages.

    Raises:
        DataError: an example is a single number.
    """
    if channels == "none":
        return values[:, None]
    if values.ndim < 2:
        raise DataError(
            f"{where} has one number an example, (N,); legal are (N, features), or "
            "data.channels=none"
        )
    return np.moveaxis(values, -1, 1) if channels == "last" else values


def _counted(total: int, num_test: int | None) -> str:
    if num_test is None:
        return f"{total:,} examples"
    return f"{total - num_test:,} examples, and {num_test:,} for the test"


def _told(values: np.ndarray) -> str:
    example = values.reshape(-1)[:1].tolist()
    return f"{values.dtype}" + (f" such as {example[0]!r}" if example else "")
