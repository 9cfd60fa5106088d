"""What a network predicts of some examples, in the words of its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from nasrunner.children.tasks.multi_label import MultiLabel
from nasrunner.children.tasks.tasks import Task
from nasrunner.core.errors import ConfigError, DataError
from nasrunner.data.own.reading import Label, Reading
from nasrunner.predict.labels import KnownLabels

# N = number of examples, K = number of outputs

AnswerKind = Literal["class", "labels", "numbers"]
"""What a network answers: one of K classes, any of K labels, or K numbers."""


@dataclass(frozen=True)
class Meaning:
    """What the K outputs of a network stand for.

    Attributes:
        kind: what is made of them.
        names: of the classes or labels, or of the numbers, in the order of the outputs.
        task: makes probabilities of outputs, and knows the metrics.
    """

    kind: AnswerKind
    names: tuple[Label, ...]
    task: Task

    @classmethod
    def of(cls, task: Task, reading: Reading | None) -> "Meaning":
        """Returns that of a task's outputs.

        Args:
            task: that the network was trained for.
            reading: of its data; None: its data set has no names for the outputs, which are
                numbered from 0.

        Raises:
            ConfigError: there is an output for each step of a text.
        """
        if task.is_of_steps:
            raise ConfigError(
                f"task: {type(task).__name__} has an output for each step of a text, not for each "
                "example; legal: another task, or nasrunner-export, whose files go on step by step"
            )
        numbered = tuple(range(task.num_outputs))
        if task.chooses_class:
            return cls("class", (reading and reading.classes) or numbered, task)
        targets = tuple(reading.settings.get("targets", ())) if reading else ()
        names = targets if len(targets) == task.num_outputs else numbered
        return cls("labels" if isinstance(task, MultiLabel) else "numbers", names, task)

    def answers(self, outputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns what outputs say, and their probabilities (N, K, ...); None of numbers.

        Args:
            outputs: (N, K, ...).

        Returns:
            (N, ...) classes by name, (N, K) labels of 0 and 1, or (N, K) numbers.
        """
        if self.kind == "numbers":
            return self.task.in_units(outputs).numpy(), None
        shares = self.task.probabilities(outputs).numpy()
        if self.kind == "labels":
            return (outputs > 0).long().numpy(), shares
        return _array(self.names)[outputs.argmax(dim=1).numpy()], shares

    def targets(self, y: np.ndarray, where: str) -> tuple[torch.Tensor, np.ndarray]:
        """Makes targets, as they stand in the data, what metrics take.

        Args:
            y: (N,) or (N, K), without missing ones.
            where: where they stand, for error messages.

        Returns:
            Those that the network knows, and which of the N they are: other classes than those of
            training, or no numbers, are none.

        Raises:
            DataError: they are not as many for each example as the network has outputs.
        """
        if self.kind != "class":
            found, is_known_N = _numbers(y)
        elif y.ndim == 1 or y.shape[1:] == (1,):
            found, is_known_N = self._indices(y.reshape(-1))
        else:  # of pixels, which a data set of a class of its own numbers
            found, is_known_N = _numbers(y)
            is_known_N &= (found == found.trunc()).reshape(len(y), -1).all(dim=1).numpy()
            found = found.long()
        if not self.task.takes(torch.zeros_like(found)):  # whatever they are
            raise DataError(
                f"{where}: targets must be {self.task.needs()}, got {tuple(found.shape)}"
            )
        found = found[torch.from_numpy(is_known_N)]
        if not self.task.takes(found):
            is_legal = [self.task.takes(found[row : row + 1]) for row in range(len(found))]
            is_known_N[is_known_N] = is_legal
            found = found[torch.tensor(is_legal)]
        return found, is_known_N

    def _indices(self, y: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        labels, is_doubtful_N = KnownLabels(self.names, is_complete=True).translate(pd.Series(y))
        places = {name: place for place, name in enumerate(self.names)}
        found_N = np.array([places.get(each, -1) for each in labels], dtype=np.int64)
        return torch.from_numpy(found_N), (found_N >= 0) & ~is_doubtful_N


@dataclass(frozen=True)
class Prediction:
    """What a network predicts of some examples, in their order.

    Attributes:
        meaning: what its outputs stand for.
        values: (N,) classes as they stand in the data, (N, K) labels of 0 and 1, or (N, K) numbers
            in the units of the data; (N, ...) classes of what has one for each pixel.
        probabilities: (N, K, ...) of the classes or labels in the order of ``names``; None: it
            predicts numbers.
        files: of the images; None: they are no files.
        metrics: of the examples with targets, by name; empty where there are none.
        index: of the rows of a DataFrame that were predicted; None: they were of none.
        notes: sentences on targets that the network does not know, and on metrics that could not be
            computed: they are left out.
    """

    meaning: Meaning
    values: np.ndarray
    probabilities: np.ndarray | None
    files: tuple[str, ...] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    index: pd.Index | None = None
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[Label, ...]:
        """What the outputs are called: classes, labels or numbers."""
        return self.meaning.names

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_of_pixels(self) -> bool:
        """Whether there is a class for each pixel."""
        return self.values.ndim > 2 or (self.meaning.kind == "class" and self.values.ndim > 1)

    def frame(self) -> pd.DataFrame:
        """Makes a table of it: ``prediction``, and ``p_<class>`` for each class.

        Several labels or numbers are ``prediction_<name>`` each. Images have their ``file`` first.
        The rows of a DataFrame keep their index.

        Raises:
            DataError: there is a class for each pixel, which no table holds.
        """
        if self.is_of_pixels:
            raise DataError(
                f"an example has {self.values.shape[1:]} predictions, which no table holds; legal: "
                "output=FILE.npz, or .values in Python"
            )
        columns: dict[str, Any] = {} if self.files is None else {"file": self.files}
        if self.values.ndim == 1:
            columns["prediction"] = self.values
        elif len(self.names) == 1:
            columns["prediction"] = self.values[:, 0]
        else:
            several = zip(self.names, self.values.T, strict=True)
            columns |= {f"prediction_{name}": each for name, each in several}
        if self.probabilities is not None:
            shares = zip(self.names, self.probabilities.T, strict=True)
            columns |= {f"p_{name}": each for name, each in shares}
        return pd.DataFrame(columns, index=self.index)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns it as arrays of a file: ``prediction``, ``names``, and where it has them
        ``probabilities`` and ``files``.
        """
        found = {"prediction": self.values, "names": _array(self.names)}
        if self.probabilities is not None:
            found["probabilities"] = self.probabilities
        if self.files is not None:
            found["files"] = np.array(self.files)
        return {name: _plain(each) for name, each in found.items()}


def joined(
    parts: Sequence[Prediction], metrics: Mapping[str, float], notes: Sequence[str] = ()
) -> Prediction:
    """Returns the predictions of several parts as one."""
    first, *others = parts
    shares = [each.probabilities for each in parts if each.probabilities is not None]
    files = None if first.files is None else tuple(f for each in parts for f in each.files or ())
    return Prediction(
        first.meaning,
        np.concatenate([each.values for each in parts]),
        np.concatenate(shares) if shares else None,
        files,
        metrics,
        first.index if first.index is None else first.index.append([p.index for p in others]),
        tuple(notes),
    )


def listed(names: Sequence[object], most: int = 10) -> str:
    """Returns names in a sentence; where there are many, the first."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    shown = (repr(each) if isinstance(each, str) else str(each) for each in names[:most])
    return f"{', '.join(shown)}{more}"


def _array(names: Sequence[Label]) -> np.ndarray:
    """Names as an array that keeps the type of each."""
    if len({type(each) for each in names}) == 1:
        return np.array(names)
    found = np.empty(len(names), dtype=object)
    found[:] = names
    return found


def _numbers(y: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Numbers (N, K, ...), and which of the N are all finite."""
    if y.dtype.kind not in "iufb":
        flat = pd.to_numeric(pd.Series(y.reshape(-1)).astype(object), errors="coerce")
        y = flat.to_numpy(dtype=np.float64, na_value=np.nan).reshape(y.shape)
    found = torch.from_numpy(y.astype(np.float32))
    found = found[:, None] if found.ndim == 1 else found
    return found, found.isfinite().reshape(len(found), -1).all(dim=1).numpy()


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(str) if values.dtype == object else values
