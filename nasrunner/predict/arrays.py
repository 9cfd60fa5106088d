"""New examples as arrays: in memory, or in a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasrunner.core.errors import DataError
from nasrunner.data.inputs import InputArrays, count_examples
from nasrunner.data.own.array_file import FORMS, INPUTS, TARGETS, read_arrays
from nasrunner.data.own.arrays import channels_first
from nasrunner.data.own.reading import Reading
from nasrunner.predict.pieces import NewExamples, Piece, array_of

# N = number of examples


@dataclass(frozen=True)
class NewArrays(NewExamples):
    """Arrays of examples of the shape that a network was trained on, before any resizing.

    Attributes:
        in_shape: of an example, or of each input by name, once the channels are first.
        in_dtype: as of ``data.in_dtype``.
        inputs: what the arrays are called in the file of training; of data without a file there
            is one, without a name.
        targets: what the array of targets is called there; None: as usual.
        channels: of each input, as of ``ArrayFile``; empty: they are first already.
        vocabulary: tokens are below it; None: it is not known.
    """

    in_shape: Any
    in_dtype: Any
    inputs: tuple[str, ...] = ()
    targets: str | None = None
    channels: Mapping[str, Any] | None = None
    vocabulary: int | None = None

    @classmethod
    def of_reading(
        cls, reading: Reading, config: Mapping[str, Any], targets: str | None
    ) -> "NewArrays":
        """Returns what reads arrays as those of training were.

        Args:
            reading: of the data set of training.
            config: the ``data`` part of the configuration.
            targets: what the array of targets is called; None: as usual.
        """
        settings = reading.settings
        return cls(
            config["in_shape"],
            config.get("in_dtype"),
            tuple(settings["inputs"]),
            targets,
            settings["channels"],
            settings.get("vocabulary"),
        )

    def of_path(self, path: Path) -> Iterator[Piece]:
        if path.is_dir() or path.suffix.lower() not in FORMS:
            raise DataError(
                f"{path}: the network was trained on arrays; legal is a file that ends in one of "
                f"{', '.join(FORMS)}"
            )
        try:
            arrays = read_arrays(path)
        except DataError as error:
            raise DataError(str(error).removeprefix("data.path=")) from error
        names = [*self.in_shape] if isinstance(self.in_shape, Mapping) else None
        if names is None:
            x: Any = arrays[self._input(path, arrays)]
        elif lacking := [name for name in names if name not in arrays]:
            raise DataError(
                f"{path} lacks the array {lacking[0]}; legal are all inputs: {', '.join(names)}"
            )
        else:
            x = {name: arrays[name] for name in names}
        target = self._target(arrays, x)
        yield from self.pieces(x, None if target is None else arrays[target], str(path))

    def of_values(self, x: Any, y: np.ndarray | None) -> Iterator[Piece]:
        if isinstance(x, Mapping) != isinstance(self.in_shape, Mapping):
            told = f"inputs by name, {', '.join(self.in_shape)}" if _is_named(self) else "one array"
            raise DataError(f"x: the network takes {told}; got {type(x).__name__}")
        if isinstance(x, Mapping) and set(x) != set(self.in_shape):
            raise DataError(
                f"x has the inputs {', '.join(map(str, x))}; legal: {', '.join(self.in_shape)}"
            )
        if isinstance(x, Mapping):
            x = {name: array_of(values, f"x: {name}") for name, values in x.items()}
        else:
            x = array_of(x, "x")
        yield from self.pieces(x, y, "x")

    def pieces(self, x: InputArrays, y: np.ndarray | None, where: str) -> Iterator[Piece]:
        """Yields examples of arrays, their channels as they stand in the data.

        Args:
            x: (N, ...), or such arrays by name.
            y: their targets; None: there are none.
            where: what is read, for error messages.

        Raises:
            DataError: they are not such as those of training.
        """
        if isinstance(x, Mapping):
            x = {name: self._checked(x[name], name, where) for name in self.in_shape}
        else:
            x = self._checked(x, None, where)
        num_examples = count_examples(x, where)
        if y is not None and (y.ndim == 0 or len(y) != num_examples):
            raise DataError(
                f"{where} has {num_examples:,} examples but targets of {y.shape}; there must be "
                "one for each example"
            )
        yield Piece(x, y, where)

    def _checked(self, values: np.ndarray, name: str | None, where: str) -> np.ndarray:
        """One input, its channels first."""
        where = where if name is None else f"{where}: {name}"
        if values.dtype == object:
            try:
                values = values.astype(np.float64)
            except (TypeError, ValueError):
                raise DataError(f"{where} holds {values.dtype}; legal are numbers") from None
        if values.dtype.kind not in "iufb":
            raise DataError(f"{where} holds {values.dtype}; legal are numbers")
        shape = tuple(self.in_shape if name is None else self.in_shape[name])
        own = (self.channels or {}).get(name or (self.inputs[0] if self.inputs else ""), "first")
        is_vector = values.ndim == 1 and own != "none"
        if values.ndim == 0 or is_vector or channels_first(values, own, where).shape[1:] != shape:
            raise DataError(
                f"{where} is {values.shape}; legal is (N, "
                f"{', '.join(map(str, _as_given(shape, own)))}), N examples as in training"
            )
        values = channels_first(values, own, where)
        dtype = self.in_dtype if name is None else (self.in_dtype or {}).get(name)
        if dtype == "int64":
            self._check_tokens(values, where)
        elif not np.isfinite(values).all():
            raise DataError(f"{where} has numbers that are not finite; legal are finite ones")
        return values

    def _check_tokens(self, values: np.ndarray, where: str) -> None:
        highest = "" if self.vocabulary is None else f" to {self.vocabulary - 1}"
        if values.dtype.kind not in "iu":
            raise DataError(f"{where} holds {values.dtype}; legal are tokens, from 0{highest}")
        if not values.size:
            return
        least, most = values.min(), values.max()
        if least < 0 or (self.vocabulary is not None and most >= self.vocabulary):
            raise DataError(
                f"{where} has the token {least if least < 0 else most}; legal are those of "
                f"training, from 0{highest}"
            )

    def _target(self, arrays: Mapping[str, np.ndarray], x: InputArrays) -> str | None:
        """The name of the targets: as in training, or a usual one; None: there are none."""
        if self.targets is not None:
            return self.targets if self.targets in arrays else None
        inputs = [*x.values()] if isinstance(x, Mapping) else [x]
        found = [
            name
            for name in arrays
            if _is_usual(name, TARGETS) and not any(arrays[name] is each for each in inputs)
        ]
        num_examples = len(inputs[0]) if inputs[0].ndim else 0
        # Names of classes are often kept beside examples.
        names = [name for name in found if not _is_usual(name, ("classes",))]
        fitting = [name for name in found if arrays[name].shape[:1] == (num_examples,)]
        return next(iter(fitting or names), None)

    def _input(self, path: Path, arrays: Mapping[str, np.ndarray]) -> str:
        """The name of the one input."""
        if self.inputs and self.inputs[0] in arrays:
            return self.inputs[0]
        others = [n for n in arrays if n != self.targets and not _is_usual(n, TARGETS)]
        usual = [name for name in others if _is_usual(name, INPUTS)]
        found = usual if len(usual) == 1 else others
        if len(found) != 1:
            wanted = self.inputs[0] if self.inputs else "x"
            raise DataError(
                f"{path} holds {', '.join(arrays)}; legal is one array of inputs, called {wanted}"
            )
        return found[0]


def _is_named(given: NewArrays) -> bool:
    return isinstance(given.in_shape, Mapping)


def _as_given(shape: tuple[int, ...], channels: str) -> tuple[int, ...]:
    """The shape of an example as it stands in the data."""
    if channels == "none":
        return shape[1:]
    return (*shape[1:], shape[0]) if channels == "last" else shape


def _is_usual(name: str, usual: tuple[str, ...]) -> bool:
    forms = {form for each in usual for form in (each, f"{each}_train", f"train_{each}")}
    return name.lower() in forms
