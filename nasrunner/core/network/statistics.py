"""Statistics of a frozen network: the paths through it, the numbers of its operations, its size."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nasrunner.core.shapes import InShape, Shape, hashable
from nasrunner.core.space import Space
from nasrunner.core.tracing import Traceable, Tracer, largest_shape, stacked_shape

# K = kinds of operations, A = numeric arguments of operations

_MOST_KEPT = 5_000


class Measured(NamedTuple):
    """What an operation needs on an input of one shape.

    Attributes:
        parameters: of all its weights.
        flops: of one example's forward pass.
        out_shape: of what comes out.
    """

    parameters: int
    flops: int
    out_shape: Shape


Measure = Callable[[Traceable, InShape], Measured]
"""Measures a module that is one operation; raises SpaceError where it is impossible."""


class _Part(NamedTuple):
    """What is known of a part of a network that takes an input of one shape.

    Attributes:
        paths: how many live ones lead through it; 0: zeros come out, whatever comes in.
        counts_3K: of each kind of operation on a path the smallest, mean and largest number.
        numbers_5A: of live operations' arguments the count, sum, largest of -x and x, and last.
        parameters: of live operations.
        flops: likewise.
        out_shape: of what comes out.
    """

    paths: float
    counts_3K: np.ndarray
    numbers_5A: np.ndarray
    parameters: int
    flops: int
    out_shape: InShape

    def repeated(self, times: int) -> "_Part":
        """The part so many times in series."""
        numbers_5A = self.numbers_5A.copy()
        numbers_5A[:2] *= times
        return _Part(
            self.paths**times,
            self.counts_3K * times,
            numbers_5A,
            self.parameters * times,
            self.flops * times,
            self.out_shape,
        )


class _Kept(NamedTuple):
    """What was found out of a part.

    Attributes:
        known: it.
        part: whose id it is found by, which lasts as long as it is kept.
        uses: the modules that labels stood for in it.
    """

    known: _Part
    part: Traceable
    uses: Mapping[str, Traceable]


class _Value(NamedTuple):
    """A value while a part is traced.

    Attributes:
        shape: of one example.
        paths: how many live ones lead here; 0: it is zero whatever comes in.
        counts_3K: as of ``_Part``.
        behind: bit i is set where part i of those traced stands on a path that leads here.
    """

    shape: InShape
    paths: float
    counts_3K: np.ndarray
    behind: int


class Statistics:
    """Describes networks by numbers, the same ones for every network of a space.

    They are of the live part of a network, which is on a path from its input to its output: log
    parameters, log FLOPs and the log number of paths; of each kind of operation the smallest, mean
    and largest count on a path; of each numeric argument of a kind the mean, smallest, largest and
    last of its operations' logarithms.

    Args:
        measure: measures an operation.
        in_shape: of one example.
    """

    def __init__(self, measure: Measure, in_shape: InShape) -> None:
        self.measure = measure
        self.in_shape = in_shape
        self.kinds: dict[str, int] = {}
        self.arguments: dict[str, int] = {}
        self.capacity = 32
        self._begin()

    def of(self, network: Traceable) -> "Row":
        """Looks at a frozen network.

        Raises:
            SpaceError: it is impossible.
        """
        while True:
            whole = self._look(network, self.in_shape, {}).known
            if max(len(self.kinds), len(self.arguments)) <= self.capacity:
                return self._row(whole)
            self.capacity = 2 * max(len(self.kinds), len(self.arguments))
            self._begin()

    def _begin(self) -> None:
        self.no_counts_3K = np.zeros((3, self.capacity))
        self.no_numbers_5A = np.zeros((5, self.capacity))
        self.no_numbers_5A[2:4] = -np.inf
        self.operations: dict[Hashable, _Part] = {}
        self.parts: dict[Hashable, _Kept] = {}

    def part(self, part: Traceable, shape: InShape, of: "_Paths") -> _Part:
        """What is known of a part of a network that is being traced."""
        given = hashable(shape)
        key = id(part), given
        labels, kept = of.labels, self.parts.get(key)
        if kept is None or any(labels[name] is not each for name, each in kept.uses.items()):
            kept = self._look(part, shape, labels)
            if len(self.parts) >= _MOST_KEPT:
                self.parts.clear()
            self.parts[key] = kept
        if kept.uses:
            of.used.update(kept.uses)
        return kept.known

    def _look(self, part: Traceable, shape: InShape, labels: Mapping[str, Traceable]) -> "_Kept":
        if part.is_one_operation():
            return _Kept(self._operation(part, shape), part, {})
        tracer = _Paths(self, labels)
        out = part.trace(tracer, _Value(shape, 1.0, self.no_counts_3K, 0))
        return _Kept(tracer.summary(out), part, tracer.used)

    def _operation(self, part: Traceable, shape: InShape) -> _Part:
        given = hashable(shape)
        try:
            found = self.operations.get((part, given))
        except TypeError:  # an argument cannot be hashed
            return self._counted(part, shape)
        if found is None:
            if len(self.operations) >= _MOST_KEPT:
                self.operations.clear()
            found = self.operations[part, given] = self._counted(part, shape)
        return found

    def _counted(self, part: Traceable, shape: InShape) -> _Part:
        counts_3K, numbers_5A = self.no_counts_3K.copy(), self.no_numbers_5A.copy()
        title = part.title()
        for kind in dict.fromkeys((title, part.text())):
            self._count(kind, counts_3K)
        for name, value in part.shown_arguments():
            self._count_inside(value, f"{title}.{name}", counts_3K, numbers_5A)
        measured = self.measure(part, shape)
        return _Part(1.0, counts_3K, numbers_5A, *measured)

    def _count_inside(
        self, value: Any, name: str, counts_3K: np.ndarray, numbers_5A: np.ndarray
    ) -> None:
        """Counts what stands in an argument: numbers, names in lists, modules."""
        if isinstance(value, bool):
            return
        if isinstance(value, int | float):
            number = math.copysign(math.log1p(abs(value)), value)
            column = self.arguments.setdefault(name, len(self.arguments))
            if column < self.capacity:
                count, total, least, most, _ = numbers_5A[:, column]
                numbers_5A[:, column] = (
                    *(count + 1, total + number),
                    *(max(least, -number), max(most, number), number),
                )
        elif isinstance(value, Space):
            self._count(value.title(), counts_3K)
            for inner, each in value.shown_arguments():
                self._count_inside(each, f"{value.title()}.{inner}", counts_3K, numbers_5A)
        elif isinstance(value, list | tuple):
            for each in value:
                if isinstance(each, str):
                    self._count(f"{name}={each}", counts_3K)
                else:
                    self._count_inside(each, name, counts_3K, numbers_5A)

    def _count(self, kind: str, counts_3K: np.ndarray) -> None:
        column = self.kinds.setdefault(kind, len(self.kinds))
        if column < self.capacity:
            counts_3K[:, column] += 1.0

    def table(self, rows: Sequence["Row | None"]) -> tuple[list[str], np.ndarray]:
        """Names (F,) and values (N, F) of what ``of`` has found of N networks; None: all NaN.

        Counts are 0 where a network has no such operation, numbers NaN.
        """
        num_rows, num_kinds, num_arguments = len(rows), len(self.kinds), len(self.arguments)
        totals_N3 = np.full((num_rows, 3), np.nan)
        counts_N3K = np.zeros((num_rows, 3, num_kinds))
        sums_N5A = np.zeros((num_rows, 5, num_arguments))
        for position, row in enumerate(rows):
            if row is None:
                counts_N3K[position] = np.nan
                continue
            totals_N3[position] = row.totals
            counts_N3K[position, :, : row.counts_3K.shape[1]] = row.counts_3K
            sums_N5A[position, :, : row.numbers_5A.shape[1]] = row.numbers_5A
        count_NA, sum_NA, least_NA, most_NA, last_NA = sums_N5A.swapaxes(0, 1)
        means_NA = sum_NA / np.maximum(count_NA, 1)
        numbers_N4A = np.stack([means_NA, -least_NA, most_NA, last_NA], axis=1)
        np.copyto(numbers_N4A, np.nan, where=count_NA[:, None] == 0)
        names = [*_TOTALS]
        names += [f"{what} count of {kind}" for what in _COUNTS for kind in self.kinds]
        names += [f"{what} of {name}" for what in _NUMBERS for name in self.arguments]
        blocks = (np.log1p(totals_N3), counts_N3K, numbers_N4A)
        return names, np.concatenate([each.reshape(num_rows, -1) for each in blocks], axis=1)

    def _row(self, whole: _Part) -> "Row":
        return Row(
            (whole.parameters, whole.flops, whole.paths),
            whole.counts_3K[:, : len(self.kinds)],
            whole.numbers_5A[:, : len(self.arguments)],
        )


class Row(NamedTuple):
    """A network's statistics, as many as were known when it was looked at.

    Attributes:
        totals: parameters, FLOPs and paths.
        counts_3K: as of ``_Part``.
        numbers_5A: likewise.
    """

    totals: tuple[float, float, float]
    counts_3K: np.ndarray
    numbers_5A: np.ndarray


_TOTALS = ("parameters", "flops", "paths")
_COUNTS = ("smallest", "mean", "largest")
_NUMBERS = ("mean", "smallest", "largest", "last")


class _Paths(Tracer[_Value]):
    """Follows the paths through a part of a network."""

    def __init__(self, statistics: Statistics, labels: Mapping[str, Traceable]) -> None:
        super().__init__(labels)
        self.statistics = statistics
        self.parts: list[_Part] = []

    def run(self, part: Traceable, x: _Value) -> _Value:
        return self.repeat(part, 1, x)

    def repeat(self, part: Traceable, times: int, x: _Value) -> _Value:
        part = self.original(part)
        known = self.statistics.part(part, x.shape, self)
        if times > 1 and known.out_shape != x.shape:
            return super().repeat(part, times, x)
        if not x.paths or not known.paths:
            return _Value(known.out_shape, 0.0, self.statistics.no_counts_3K, 0)
        if times > 1:
            known = known.repeated(times)
        behind = x.behind | 1 << len(self.parts)
        self.parts.append(known)
        counts_3K = x.counts_3K + known.counts_3K
        return _Value(known.out_shape, x.paths * known.paths, counts_3K, behind)

    def apply(self, part: Traceable, x: _Value) -> _Value:
        return self.repeat(part, 1, x)

    def zero(self, x: _Value) -> _Value:
        return _Value(x.shape, 0.0, self.statistics.no_counts_3K, 0)

    def pick(self, x: _Value, label: str) -> _Value:
        assert isinstance(x.shape, Mapping)
        return x._replace(shape=x.shape[label])

    def add(self, values: Sequence[_Value]) -> _Value:
        return self._joined(values, largest_shape([value.shape for value in values]))

    def multiply(self, values: Sequence[_Value]) -> _Value:
        if not all(value.paths for value in values):
            return self.zero(values[0])._replace(
                shape=largest_shape([value.shape for value in values])
            )
        return self._joined(values, largest_shape([value.shape for value in values]))

    def concatenate(self, values: Sequence[_Value]) -> _Value:
        if len(values) == 1:
            return values[0]
        return self._joined(values, stacked_shape([value.shape for value in values]))

    def shape_of(self, value: _Value) -> InShape:
        return value.shape

    def summary(self, out: _Value) -> _Part:
        """What is known of the part whose output this is."""
        live = [part for i, part in enumerate(self.parts) if out.behind >> i & 1]
        if not live:
            return _Part(out.paths, out.counts_3K, self.statistics.no_numbers_5A, 0, 0, out.shape)
        numbers_5A = live[0].numbers_5A
        if len(live) > 1:
            numbers_L5A = np.array([part.numbers_5A for part in live])
            last_A = (numbers_L5A[::-1, 0] > 0).argmax(axis=0)
            numbers_5A = np.empty_like(numbers_5A)
            numbers_L5A[:, :2].sum(axis=0, out=numbers_5A[:2])
            numbers_L5A[:, 2:4].max(axis=0, out=numbers_5A[2:4])
            numbers_5A[4] = numbers_L5A[len(live) - 1 - last_A, 4, np.arange(len(last_A))]
        parameters = sum(part.parameters for part in live)
        flops = sum(part.flops for part in live)
        return _Part(out.paths, out.counts_3K, numbers_5A, parameters, flops, out.shape)

    def _joined(self, values: Sequence[_Value], shape: InShape) -> _Value:
        live = [value for value in values if value.paths]
        if len(live) < 2:
            one = live[0] if live else self.zero(values[0])
            return one if one.shape == shape else one._replace(shape=shape)
        paths = sum(value.paths for value in live)
        counts_3K = live[0].counts_3K.copy()
        counts_3K[1] *= live[0].paths / paths
        behind = live[0].behind
        for value in live[1:]:
            np.minimum(counts_3K[0], value.counts_3K[0], out=counts_3K[0])
            counts_3K[1] += value.counts_3K[1] * (value.paths / paths)
            np.maximum(counts_3K[2], value.counts_3K[2], out=counts_3K[2])
            behind |= value.behind
        return _Value(shape, paths, counts_3K, behind)
