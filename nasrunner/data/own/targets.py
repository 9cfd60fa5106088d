"""Targets of own data: labels become classes, and what cannot be learnt is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nasrunner.core.errors import DataError
from nasrunner.data.own.reading import Label, as_label

# N = number of examples, K = numbers to predict

TargetKind = Literal["classes", "numbers"]
"""What targets are: one of several classes, or numbers."""

_MANY = 50
"""More different numbers than these, each of them rare, are no classes."""

_REPEATS = 10
"""As many examples a class has on the average where there are many."""

_LEGAL_NUMBERS = "task=regression, or data.target_kind=classes if they are some all the same"

_SHOWN = 10
"""So many classes are named with their counts."""


@dataclass(frozen=True)
class Targets:
    """The targets of a data set's examples.

    Attributes:
        values: (N,) class indices, or (N, K) numbers.
        classes: what the indices stand for; None: they are numbers.
    """

    values: np.ndarray
    classes: tuple[Label, ...] | None

    @property
    def num_outputs(self) -> int:
        """How many outputs a network needs."""
        return self.values.shape[1] if self.classes is None else len(self.classes)

    @property
    def kind(self) -> TargetKind:
        """What they are."""
        return "numbers" if self.classes is None else "classes"


def kind_of(y: np.ndarray) -> TargetKind:
    """Guesses what targets are where the task does not say: classes if they look like some."""
    if y.ndim > 1 and y.shape[1] > 1:
        return "numbers"
    if y.dtype.kind != "f":
        return "classes"
    is_whole = bool((np.isfinite(y) & (np.floor(y) == y)).all())
    return "classes" if is_whole and not _are_many(y) else "numbers"


def read_targets(y: np.ndarray, kind: TargetKind, where: str, *, is_sure: bool = False) -> Targets:
    """Makes classes or numbers of what stands in the data.

    Args:
        y: (N,) or (N, K), as it stands there; None or NaN where nothing does.
        kind: what the task asks for.
        where: what they are called, for error messages.
        is_sure: whether numbers that do not look like classes are some all the same.

    Raises:
        DataError: a target is missing, all are the same, or they are not what is asked for.
    """
    if len(y) < 2:
        raise DataError(f"{where} has {len(y)} example; at least 2 are needed, and hundreds help")
    if y.ndim > 2:
        raise DataError(
            f"{where} has {y.shape[1:]} values for each example: own files have no masks; legal "
            "are (N,) or (N, K), and for task=segmentation a data set of a class of your own"
        )
    if (is_missing_N := lacking(y)).any():
        raise DataError(
            f"{where} has no value in {is_missing_N.sum():,} of {len(y):,} examples; legal are "
            "examples that all have one: leave the others out"
        )
    if (y == y[:1]).all():
        raise DataError(
            f"{where} is {_shown(y[0])} in all {len(y):,} examples: there is nothing to learn"
        )
    return _classes(y, where, is_sure) if kind == "classes" else _numbers(y, where)


def lacking(y: np.ndarray) -> np.ndarray:
    """Returns which examples (N,) lack a target, or one of several (N, ...): None, NaN or NA."""
    if y.dtype.kind in "iubSU":
        return np.zeros(len(y), dtype=bool)
    if y.dtype.kind == "f":
        is_missing = np.isnan(y)
    else:
        import pandas as pd  # takes long, and most data sets do without

        is_missing = np.asarray(pd.isna(y))
    return np.asarray(is_missing.reshape(len(y), -1).any(axis=1))


def _classes(y: np.ndarray, where: str, is_sure: bool) -> Targets:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(
            f"{where} has {y.shape[1:]} numbers for each example: one class of several is (N,); "
            "several numbers are for task=regression"
        )
    is_whole = y.dtype.kind != "f" or bool((np.floor(y) == y).all())
    if not is_sure and not is_whole and len(np.unique(y)) > 2:
        raise DataError(
            f"{where} has {len(np.unique(y)):,} different numbers, {_shown(y.min())} to "
            f"{_shown(y.max())}, not all of them whole: these are no classes; legal: "
            f"{_LEGAL_NUMBERS}"
        )
    if y.dtype.kind == "O":
        y = _of_one_type(y)
    values, indices = np.unique(y, return_inverse=True)
    if len(values) == len(y):
        other = "" if y.dtype.kind in "US" else ", or task=regression"
        raise DataError(
            f"{where} is another one in each of the {len(y):,} examples: classes repeat; legal: "
            f"another target{other}"
        )
    if not is_sure and y.dtype.kind in "iuf" and _are_many(y):
        raise DataError(
            f"{where} has {len(values):,} different numbers in {len(y):,} examples: these are no "
            f"classes; legal: {_LEGAL_NUMBERS}"
        )
    if y.dtype.kind == "f":
        values = values.astype(np.int64) if is_whole else values
    return Targets(indices.reshape(-1).astype(np.int64), tuple(values.tolist()))


def _numbers(y: np.ndarray, where: str) -> Targets:
    if y.dtype.kind not in "iufb":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError):
            text = next(each for each in y.reshape(-1).tolist() if not _is_number(each))
            raise DataError(
                f"{where} has {text!r}, which is no number; legal: task=classification, or a "
                "target of numbers"
            ) from None
    if y.ndim == 1:
        y = y[:, None]
    if not np.isfinite(y).all():
        raise DataError(f"{where} has numbers that are not finite; legal are finite ones")
    constant = np.flatnonzero((y == y[:1]).all(axis=0))
    if len(constant):
        raise DataError(
            f"{where}: number {constant[0]} is {y[0, constant[0]]:g} in all {len(y):,} examples: "
            "there is nothing to learn"
        )
    if y.shape[1] == 1 and y.dtype.kind in "iu" and len(y) > 2 and (np.diff(y[:, 0]) == 1).all():
        raise DataError(
            f"{where} numbers the examples, {y[0, 0]} to {y[-1, 0]}, each one more than the one "
            "before: legal is a target that is measured"
        )
    return Targets(y.astype(np.float32), None)


def counted(targets: Targets) -> str:
    """Says how many examples each class has, or what the numbers range over."""
    if targets.classes is None:
        low, high = targets.values.min(axis=0), targets.values.max(axis=0)
        ranges = [f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True)]
        return f"targets {', '.join(ranges[:3])}{', …' if len(ranges) > 3 else ''}"
    counts = np.bincount(targets.values, minlength=len(targets.classes))
    order = np.argsort(-counts, kind="stable")[:_SHOWN]
    named = [f"{targets.classes[each]} {counts[each] / counts.sum():.0%}" for each in order]
    return f"classes {', '.join(named)}{', …' if len(counts) > _SHOWN else ''}"


def check_known(y: np.ndarray, is_fit_N: np.ndarray, where: str, part: str = "test") -> None:
    """Refuses classes that stand in the test, or another part that is not trained on, alone.

    Args:
        y: labels of all examples, as they stand in the data.
        is_fit_N: which of them are not of that part.
        where: what they are called.
        part: what it is called.

    Raises:
        DataError: names them.
    """
    known = set(y[is_fit_N].reshape(-1).tolist())
    unknown: dict[Any, int] = {}
    for each in y[~is_fit_N].reshape(-1).tolist():
        if each not in known:
            unknown[each] = unknown.get(each, 0) + 1
    if unknown:
        named = ", ".join(f"{label!r} ({count})" for label, count in list(unknown.items())[:3])
        raise DataError(
            f"{where}: the {part} has classes that training never saw: {named}; legal "
            "are classes with examples in both: leave these out, or have more of them"
        )


def check_trained(indices: np.ndarray, rows: np.ndarray, classes: Sequence[Label]) -> None:
    """Refuses a split that leaves a class without an example to train on.

    Args:
        indices: classes of the examples.
        rows: those of the training part.
        classes: what they stand for.

    Raises:
        DataError: names one.
    """
    counts = np.bincount(indices[rows], minlength=len(classes))
    if lacking := np.flatnonzero(counts == 0).tolist():
        total = int((indices == lacking[0]).sum())
        raise DataError(
            f"data: of class {classes[lacking[0]]!r}, which has {total:,} of {len(indices):,} "
            "examples, none is in the training part; legal are fewer data.validation_examples, "
            "another data.split_seed, or more examples of it"
        )


def _are_many(y: np.ndarray) -> bool:
    num_values = len(np.unique(y))
    return num_values > _MANY and len(y) < _REPEATS * num_values


def _of_one_type(y: np.ndarray) -> np.ndarray:
    """Labels that can be sorted: as JSON has them, or as text if they are of several types."""
    labels = list(map(as_label, y.tolist()))
    is_one = len(set(map(type, labels))) == 1
    return np.array(labels if is_one else list(map(str, labels)))


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _shown(value: Any) -> str:
    return str(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
