"""Labels of training, found again where a file or a table types their values otherwise."""

import datetime
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nasrunner.data.own.reading import Label, as_label

# N = number of examples


@dataclass(frozen=True)
class KnownLabels:
    """The levels of a category, or the classes of a target, as they stood in training.

    A column with the texts ``12`` and ``12A`` is one of numbers where only ``12`` occurs, one of
    ``yes``, ``true`` and ``false`` may be one of truth values, and dates are texts in CSV and times
    in a table that has parsed them.

    Attributes:
        labels: those that are known.
        is_complete: whether training had no others.
    """

    labels: tuple[Label, ...]
    is_complete: bool

    def translate(self, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Returns the label of each value.

        Args:
            values: (N,), of any type.

        Returns:
            (N,) labels: those of training, or a value's own where training had none such, and NaN
            where it is missing; and (N,) whether it cannot be said which label it is.
        """
        found: dict[tuple[type, object], tuple[Label, bool]] = {}
        labels = np.empty(len(values), dtype=object)
        is_doubtful_N = np.zeros(len(values), dtype=bool)
        is_missing_N = values.isna().to_numpy()
        for row, given in enumerate(values.astype(object).to_numpy()):
            if is_missing_N[row]:
                labels[row] = np.nan
                continue
            value = given.item() if isinstance(given, np.generic) else given
            if not isinstance(value, str | bool | int | float | datetime.date):
                value = as_label(value)
            key = (type(value), value)
            if key not in found:
                found[key] = self._find(value)
            labels[row], is_doubtful_N[row] = found[key]
        return labels, is_doubtful_N

    def _find(self, value: Label | datetime.date) -> tuple[Label, bool]:
        """The label of a value, and whether it may be another one."""
        label = as_label(value)
        if label in self._known:
            return label, False
        same = [each for each in self.labels if _are_same(value, each)]
        if not same:
            is_time = isinstance(value, datetime.date)
            return label, is_time and not self._has_times_of(pd.Timestamp(value))
        is_written_so = not isinstance(same[0], str) or same[0] in _written(value)
        return same[0], len(same) > 1 or not (is_written_so or self.is_complete)

    @functools.cached_property
    def _known(self) -> frozenset[Label]:
        return frozenset(self.labels)

    def _has_times_of(self, time: pd.Timestamp) -> bool:
        """Whether all labels are times that can be compared with one."""
        times = [_time(each) if isinstance(each, str) else None for each in self.labels]
        return all(each is not None and (each.tz is None) == (time.tz is None) for each in times)


def row_of(is_such_N: np.ndarray) -> int | None:
    """Returns the first row that is such; None: none is."""
    return int(np.flatnonzero(is_such_N)[0]) if is_such_N.any() else None


def are_texts(labels: Sequence[Label]) -> bool:
    """Tells whether labels are texts, all of them."""
    return bool(labels) and all(isinstance(each, str) for each in labels)


def _are_same(value: Label | datetime.date, label: Label) -> bool:
    """Whether a value and a label of another type say the same."""
    if isinstance(value, str):
        value, label = label, value
        if isinstance(value, str):
            return False
    if not isinstance(label, str):
        return False
    if isinstance(value, bool):
        return label.lower() == str(value).lower()
    if isinstance(value, int | float):
        return _number(label) == value
    return bool(_time(label) == pd.Timestamp(value))


def _written(value: Label | datetime.date) -> set[str]:
    """How a number, a truth value or a time usually is written."""
    texts = {str(value)}
    if isinstance(value, float) and value.is_integer():
        texts.add(str(int(value)))
    if isinstance(value, datetime.date):
        texts.add(value.isoformat())
        if pd.Timestamp(value).time() == datetime.time():
            texts.add(f"{pd.Timestamp(value).date()}")
    return texts


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _time(text: str) -> pd.Timestamp | None:
    """The time that a text of ISO 8601 says."""
    try:
        return pd.Timestamp(datetime.datetime.fromisoformat(text))
    except ValueError:
        return None
