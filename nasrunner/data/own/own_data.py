"""The base of data sets that are read from a user's own files, and say what they are."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nasrunner.core.annotations import Count
from nasrunner.core.errors import ConfigError, DataError
from nasrunner.core.shapes import each_input
from nasrunner.data.inputs import InputArrays
from nasrunner.data.own.digests import digest_of_contents
from nasrunner.data.own.reading import Guess, Kind, Label, Reading
from nasrunner.data.own.targets import (
    TargetKind,
    Targets,
    check_known,
    check_trained,
    counted,
    kind_of,
    read_targets,
)
from nasrunner.data.split import Examples, count_of, equal_inputs, hold_out, joined
from nasrunner.data.tensor_cache import cached, device_of
from nasrunner.data.tensors import Arrays, Grouped, TensorDataModule

# N = number of examples, ... = the shape of one example

_TEST_SHARE = 0.2
"""Of the examples, held out for the test where neither file nor user says how many are."""


@dataclass(frozen=True)
class RawExamples:
    """All examples of a data set, as they stand in its files.

    Attributes:
        x: their inputs: arrays, or what ``OwnData.encode`` makes arrays of.
        y: (N,) labels or (N, K) numbers.
        where: what the targets are called, for error messages.
        kind: what they are.
        groups_N: examples of the same stay together; None: there are none.
        times_N: the last are for the test, those before them for validation; None: drawn.
        num_test: so many at the end are the files' own test part; None: they have none.
        is_validation_N: which are the files' own validation part; None: they have none.
        settings: by which more of the same are read.
        facts: what is worth knowing of them, in words.
    """

    x: Any
    y: np.ndarray
    where: str
    kind: Kind
    groups_N: np.ndarray | None = None
    times_N: np.ndarray | None = None
    num_test: int | None = None
    is_validation_N: np.ndarray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncodedInputs:
    """Inputs as arrays.

    Attributes:
        x: they.
        columns: as of ``Reading``.
        facts: what is worth knowing of them, in words.
    """

    x: InputArrays
    columns: tuple[Mapping[str, Any], ...] = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownData:
    """What is known of a data set beside its tensors.

    Attributes:
        kind, classes, settings, columns: as of ``Reading``.
        times_N, is_validation_N: of the examples that are not for the test, as of ``RawExamples``.
    """

    kind: Kind
    classes: tuple[Label, ...] | None
    settings: Mapping[str, Any]
    columns: tuple[Mapping[str, Any], ...]
    times_N: np.ndarray | None
    is_validation_N: np.ndarray | None


@dataclass(frozen=True)
class _Parts:
    """The examples that are not for the test, and those that are."""

    kind: Kind
    x: InputArrays
    targets: Targets
    groups_N: np.ndarray | None
    times_N: np.ndarray | None
    is_validation_N: np.ndarray | None
    x_test: InputArrays
    y_test: np.ndarray
    facts: tuple[str, ...]
    settings: Mapping[str, Any]
    columns: tuple[Mapping[str, Any], ...]


@dataclass(kw_only=True, eq=False)
class OwnData(TensorDataModule):
    """Reads a user's own files, and says what their examples are before networks are built.

    ``guess`` says what ``in_shape``, ``num_outputs``, ``target_kind`` and ``digest`` are; a study's
    saved configuration has them, and files that changed meanwhile are refused.

    Args:
        in_shape: as of ``TensorDataModule``; None: as ``guess`` says.
        num_outputs: likewise.
        test_examples: how many are held out for the test, or their share; None: the files' own
            test part, or a fifth where they have none.
        target_kind: whether targets are classes or numbers; None: what the task asks for, and
            where it does not say, classes if they look like some.
        digest: of the files, which must have it; None: it is not known. Of images it is of their
            paths and sizes.
    """

    in_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None  # type: ignore[assignment]
    num_outputs: Count | None = None  # type: ignore[assignment]
    test_examples: Examples | None = None
    target_kind: TargetKind | None = None
    digest: str | None = None

    place_key: ClassVar[str] = "path"
    """The setting that says where they are."""

    guessed_from: ClassVar[tuple[str, ...]] = (
        *("test_examples", "target_kind", "digest", "split_seed", "equal_inputs"),
    )
    """The settings that the guess depends on, of which none can differ from child to child."""

    @property
    def where(self) -> str:
        """Where the files are, as it was set."""
        return f"data.{self.place_key}={getattr(self, self.place_key)}"

    def check_dtype(self, why: str) -> None:
        """Refuses ``in_dtype`` for inputs that are numbers, whatever it says.

        Args:
            why: they are, in words.

        Raises:
            ConfigError: it says something else.
        """
        if self.in_dtype not in (None, "float32"):
            raise ConfigError(
                f"data.in_dtype={self.in_dtype} is of tokens, but {why}, which networks take as "
                "float32; legal: null"
            )

    @abstractmethod
    def read(self) -> RawExamples:
        """Reads all examples.

        Raises:
            DataError: a file is missing, damaged, or not of its form.
        """

    def files_digest(self) -> str:
        """Returns a text that changes if the files do.

        Raises:
            OSError: a file is missing or cannot be read.
        """
        return digest_of_contents([Path(getattr(self, self.place_key))])

    def encode(self, raw: RawExamples, rows_N: np.ndarray) -> EncodedInputs:
        """Makes arrays of inputs.

        Args:
            raw: what was read.
            rows_N: the examples that are not for the test, which alone may be learnt from.
        """
        return EncodedInputs(raw.x)

    def equal_examples(self, x: Any) -> np.ndarray:
        """Numbers the examples so that those of equal inputs have one number."""
        return equal_inputs(x)

    def guess(self, kind: TargetKind | None) -> Guess:
        """Says what the data are, from all there is of them.

        Args:
            kind: of the targets, as the task wants them; None: any.

        Raises:
            DataError: nothing can be learnt from them as they are, or not what the task wants.
        """
        asked = self.target_kind or kind
        if kind is not None and asked != kind:
            legal = "classification" if asked == "classes" else "regression"
            raise ConfigError(
                f"data.target_kind={asked} does not go with the task, which wants {kind}; legal: "
                f"data.target_kind=null, or task={legal}"
            )
        parts = self._parts(asked)
        x, targets = parts.x, parts.targets
        settings = {
            "in_shape": each_input(x, lambda each: list(each.shape[1:])),
            "num_outputs": targets.num_outputs,
            "target_kind": targets.kind,
            "digest": self.files_digest(),
        }
        if "vocabulary" in parts.settings:
            settings["vocabulary"] = parts.settings["vocabulary"]
        num_test = len(parts.y_test)
        facts = (
            f"{len(targets.values) + num_test:,} examples, {num_test:,} of them for the test",
            *parts.facts,
            counted(targets),
        )
        return Guess(settings, self.where, facts)

    def prepare_data(self) -> None:
        """Checks that there is something to read, and that it has not changed.

        Files are read whole for that once a process; then only their sizes and times are looked at.

        Raises:
            DataError: there is nothing, or its digest is another one.
        """
        if not Path(getattr(self, self.place_key)).exists():
            raise DataError(f"{self.where} is missing, seen from {Path.cwd()}")
        if self.digest is None:
            return
        try:
            found = self.files_digest()
        except OSError as error:
            raise DataError(f"{self.where} cannot be read: {error}") from error
        if found != self.digest:
            raise DataError(
                f"{self.where} has changed: its digest is {found[:12]}…, that of the files before "
                f"is data.digest={self.digest[:12]}…; legal are the files as they were, or a new "
                "study of those there are now"
            )

    def read_fit(self) -> Arrays | Grouped:
        parts = self._parts(self.target_kind)
        self.known(parts)
        if parts.groups_N is None:
            return parts.x, parts.targets.values
        return parts.x, parts.targets.values, parts.groups_N

    def read_test(self) -> Arrays:
        parts = self._parts(self.target_kind)
        return parts.x_test, parts.y_test

    @property
    def reading(self) -> Reading:
        """How more of the same data are read; known once ``setup`` was called."""
        mean = std = None
        if (normalization := self.normalization) is not None:
            mean = each_input(normalization, lambda each: _plain(each.mean))
            std = each_input(normalization, lambda each: _plain(each.std))
        known = self.known()
        return Reading(known.kind, known.settings, known.classes, mean, std, known.columns)

    def state_dict(self) -> dict[str, Any]:
        """Puts the reading into Lightning's checkpoints, beside the network it is for."""
        return {} if self._fit is None else {"reading": self.reading.to_json()}

    def known(self, parts: _Parts | None = None) -> KnownData:
        """Returns what was read beside tensors, kept with them; with ``parts`` it is not read
        again.
        """

        def known() -> KnownData:
            read = parts or self._parts(self.target_kind)
            return KnownData(
                read.kind,
                read.targets.classes,
                read.settings,
                read.columns,
                read.times_N,
                read.is_validation_N,
            )

        found: KnownData = cached((*self._identity(), device_of(self)), "known", known)
        return found

    def _parts(self, kind: TargetKind | None) -> _Parts:
        self.prepare_data()
        raw = self.read()
        if len(raw.y) == 0:
            raise DataError(f"{self.where} has no examples")
        kind = kind or kind_of(raw.y)
        targets = read_targets(raw.y, kind, raw.where, is_sure=self.target_kind == "classes")
        is_fit_N = self._is_fit(raw, targets)
        rows, test_rows = np.flatnonzero(is_fit_N), np.flatnonzero(~is_fit_N)
        if kind == "classes":
            check_known(raw.y, is_fit_N, raw.where)
        is_validation_N = None if raw.is_validation_N is None else raw.is_validation_N[rows]
        if kind == "classes" and is_validation_N is not None:
            check_known(raw.y[rows], ~is_validation_N, raw.where, "validation")
        encoded = self.encode(raw, rows)
        x = encoded.x
        return _Parts(
            kind=raw.kind,
            x=each_input(x, lambda each: each[rows]),
            targets=Targets(targets.values[rows], targets.classes),
            groups_N=None if raw.groups_N is None else raw.groups_N[rows],
            times_N=None if raw.times_N is None else raw.times_N[rows],
            is_validation_N=is_validation_N,
            x_test=each_input(x, lambda each: each[test_rows]),
            y_test=targets.values[test_rows],
            facts=(*raw.facts, *encoded.facts),
            settings=raw.settings,
            columns=encoded.columns,
        )

    def _is_fit(self, raw: RawExamples, targets: Targets) -> np.ndarray:
        """Which examples are not for the test."""
        total = len(raw.y)
        is_fit_N = np.ones(total, dtype=bool)
        if raw.num_test is not None:
            if self.test_examples is not None:
                raise ConfigError(
                    f"data.test_examples={self.test_examples} holds out examples for the test, of "
                    f"which {self.where} has {raw.num_test:,} of its own; legal: null"
                )
            is_fit_N[total - raw.num_test :] = False
            return is_fit_N
        num_test = count_of("test_examples", self.test_examples or _TEST_SHARE, total)
        if raw.times_N is not None:
            is_fit_N[last_in_time(raw.times_N, num_test)[1]] = False
            return is_fit_N
        strata_N = targets.values if targets.classes is not None else np.zeros(total)
        groups_N = raw.groups_N
        if self.equal_inputs == "together":
            equal_N = self.equal_examples(raw.x)
            groups_N = equal_N if groups_N is None else joined(equal_N, groups_N)
        _, test_rows = hold_out(strata_N, num_test, self.split_seed, groups_N)
        is_fit_N[test_rows] = False
        return is_fit_N

    def split_fit(
        self, y: np.ndarray, groups_N: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        known = self.known()
        if known.is_validation_N is not None and self.folds is None:
            return np.flatnonzero(~known.is_validation_N), np.flatnonzero(known.is_validation_N)
        if (times_N := known.times_N) is None:
            rows, validation_rows = super().split_fit(y, groups_N)
        elif self.folds is not None:
            raise ConfigError(
                "evaluation.folds draws examples for validation, of which those of data.time are "
                "the last; legal: evaluation.folds=null"
            )
        else:
            rows, validation_rows = last_in_time(times_N, self.validation_count(len(y)))
        if known.classes is not None:
            check_trained(y, rows, known.classes)
        return rows, validation_rows


def last_in_time(times_N: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows before a time, and those from it on: ``count``, and what is of its first's
    time.

    Raises:
        ConfigError: there is none before it.
    """
    begins = np.sort(times_N)[len(times_N) - count]
    is_last_N = times_N >= begins
    if is_last_N.all():
        raise ConfigError(
            f"data.time: the last {count:,} of {len(times_N):,} examples begin with the first time "
            "there is, so that none is before them; legal are fewer data.test_examples and "
            "data.validation_examples, or finer times"
        )
    return np.flatnonzero(~is_last_N), np.flatnonzero(is_last_N)


def _plain(statistics: np.ndarray) -> list[float]:
    values: list[float] = statistics.reshape(-1).tolist()
    return values
