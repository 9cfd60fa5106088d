"""Statistics of a frozen network: the paths through it, the numbers of its operations, its size."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nasrunner.core.network.known import EXACT
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


_Number = tuple[float, float, float, float, float]
"""Of numbers how many, their sum, the largest of -x, of x, and the last."""


class _Part(NamedTuple):
    """What is known of a part of a network that takes an input of one shape.

    Attributes:
        paths: how many live ones lead through it; 0: zeros come out, whatever comes in.
        counts_3K: of each kind of operation on a path the smallest, mean and largest number.
        numbers: of live operations' arguments, by their columns.
        parameters: of live operations.
        flops: likewise.
        out_shape: of what comes out.
        is_in_place: whether all that is in it keeps the shape of its input; on another shape that
            all of it keeps, nothing but parameters and FLOPs differs.
    """

    paths: float
    counts_3K: np.ndarray
    numbers: Mapping[int, _Number]
    parameters: int
    flops: int
    out_shape: InShape
    is_in_place: bool

    def repeated(self, times: int) -> "_Part":
        """Returns the part so many times in series."""
        return _Part(
            self.paths**times,
            self.counts_3K * times,
            {
                column: (times * count, times * total, least, most, last)
                for column, (count, total, least, most, last) in self.numbers.items()
            },
            self.parameters * times,
            self.flops * times,
            self.out_shape,
            self.is_in_place,
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


_Run = tuple[Traceable, int, _Part]
"""A part applied while another was traced, how often in series, and what is known of all of it."""


class _InPlace(NamedTuple):
    """What is known of a part in which all keeps the shape of its input.

    Attributes:
        known: it, but for parameters and FLOPs.
        runs: what was applied in it.
        live: bit i is set where that with number i is on a path to what comes out.
        part: whose id it is found by, which lasts as long as it is kept.
        uses: as of ``_Kept``.
    """

    known: _Part
    runs: Sequence[_Run]
    live: int
    part: Traceable
    uses: Mapping[str, Traceable]


class _Value(NamedTuple):
    """A value while a part is traced.

    Attributes:
        shape: of one example.
        paths: how many live ones lead here; 0: it is zero whatever comes in.
        counts_3K: as of ``_Part``.
        behind: bit i is set where what was applied as number i is on a path that leads here.
    """

    shape: InShape
    paths: float
    counts_3K: np.ndarray
    behind: int


class Statistics:
    """Describes networks by numbers, the same ones for every network of a space.

    They are of the live part of a network, which is on a path from its input to its output: log
    parameters, log FLOPs and the log number of paths; of each kind of operation, and of each
    operation with its arguments (``EXACT``), the smallest, mean and largest count on a path; of
    each numeric argument of a kind the mean, smallest, largest and last of its operations'
    logarithms.

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
            if len(self.kinds) <= self.capacity:
                return self._row(whole)
            self.capacity = 2 * len(self.kinds)
            self._begin()

    def _begin(self) -> None:
        self.no_counts_3K = np.zeros((3, self.capacity))
        self.operations: dict[Hashable, _Part] = {}
        self.parts: dict[Hashable, _Kept] = {}
        self.in_place: dict[int, _InPlace] = {}

    def known(self, part: Traceable, shape: InShape) -> _Part | None:
        """Returns what is known of a part whatever labels stand for; None: look at it."""
        if type(shape) is not tuple:
            return None
        kept = self.parts.get((id(part), shape))
        return None if kept is None or kept.uses else kept.known

    def part(self, part: Traceable, shape: InShape, of: "_Paths") -> _Part | None:
        """Returns what is known of a part of a network that is being traced; None: trace it there.

        That is what transparent parts are for which labels matter: nearly every network has other
        modules behind its labels, so that keeping those parts would save nothing.
        """
        given = hashable(shape)
        key = id(part), given
        labels, kept = of.labels, self.parts.get(key)
        if kept is None or not (part.is_transparent or _is_same(kept.uses, labels)):
            kept = self._look(part, shape, labels)
            self.keep(kept, shape)
        if kept.uses:
            if part.is_transparent:
                return None
            of.used.update(kept.uses)
        return kept.known

    def keep(self, kept: "_Kept", shape: InShape) -> None:
        """Keeps what was found out of a part on an input of this shape."""
        if len(self.parts) >= _MOST_KEPT:
            self.parts.clear()
        self.parts[id(kept.part), hashable(shape)] = kept

    def _look(self, part: Traceable, shape: InShape, labels: Mapping[str, Traceable]) -> "_Kept":
        if part.is_one_operation():
            return _Kept(self._operation(part, shape), part, {})
        before = self.in_place.get(id(part))
        if before is not None and _is_same(before.uses, labels):
            found = self._resized(before, shape, labels)
            if found is not None:
                return _Kept(found, part, before.uses)
        tracer = _Paths(self, labels, shape)
        out = part.trace(tracer, _Value(shape, 1.0, self.no_counts_3K, 0))
        known = tracer.summary(out)
        if known.is_in_place:
            if len(self.in_place) >= _MOST_KEPT:
                self.in_place.clear()
            self.in_place[id(part)] = _InPlace(known, tracer.runs, out.behind, part, tracer.used)
        return _Kept(known, part, tracer.used)

    def _resized(
        self, before: _InPlace, shape: InShape, labels: Mapping[str, Traceable]
    ) -> _Part | None:
        """What is known of a part on another shape; None: not all of it keeps that, too."""
        tracer = _Paths(self, labels, shape)
        parameters = flops = 0
        for number, (part, times, _) in enumerate(before.runs):
            known = self.known(part, shape) or self.part(part, shape, tracer)
            assert known is not None, "a part that is traced in place is no run"
            if not known.is_in_place:
                return None
            if before.live >> number & 1:
                parameters += times * known.parameters
                flops += times * known.flops
        paths, counts_3K, numbers, *_ = before.known
        return _Part(paths, counts_3K, numbers, parameters, flops, shape, is_in_place=True)

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
        counts_3K = self.no_counts_3K.copy()
        numbers: dict[int, _Number] = {}
        title = part.title()
        self._count(title, counts_3K)
        if (text := part.text()) != title:
            self._count(EXACT + text, counts_3K)
        for name, value in part.shown_arguments():
            self._count_inside(value, f"{title}.{name}", counts_3K, numbers)
        measured = self.measure(part, shape)
        return _Part(1.0, counts_3K, numbers, *measured, measured.out_shape == shape)

    def _count_inside(
        self,
        value: Any,
        name: str,
        counts_3K: np.ndarray,
        numbers: dict[int, _Number],
    ) -> None:
        """Counts what stands in an argument: numbers, names in lists, modules."""
        if isinstance(value, bool):
            return
        if isinstance(value, int | float):
            number = math.copysign(math.log1p(abs(value)), value)
            column = self.arguments.setdefault(name, len(self.arguments))
            one = (1.0, number, -number, number, number)
            numbers[column] = _followed(numbers[column], one) if column in numbers else one
        elif isinstance(value, Space):
            self._count(value.title(), counts_3K)
            for inner, each in value.shown_arguments():
                self._count_inside(each, f"{value.title()}.{inner}", counts_3K, numbers)
        elif isinstance(value, list | tuple):
            for each in value:
                if isinstance(each, str):
                    self._count(f"{name}={each}", counts_3K)
                else:
                    self._count_inside(each, name, counts_3K, numbers)

    def _count(self, kind: str, counts_3K: np.ndarray) -> None:
        column = self.kinds.setdefault(kind, len(self.kinds))
        if column < self.capacity:
            counts_3K[:, column] += 1.0

    def table(self, rows: Sequence["Row | None"]) -> tuple[list[str], np.ndarray]:
        """Returns names (F,) and values (N, F) of what ``of`` has found of N networks; None: all
        NaN.

        Counts are 0 where a network has no such operation, numbers NaN.
        """
        num_rows, num_kinds, num_arguments = len(rows), len(self.kinds), len(self.arguments)
        totals_N3 = np.full((num_rows, 3), np.nan)
        counts_N3K = np.zeros((num_rows, 3, num_kinds))
        sums_N5A = np.zeros((num_rows, 5, num_arguments))
        by_width: dict[tuple[int, int], list[int]] = {}
        for position, row in enumerate(rows):
            if row is None:
                counts_N3K[position] = np.nan
            else:
                width = row.counts_3K.shape[1], row.numbers_5A.shape[1]
                by_width.setdefault(width, []).append(position)
        for (width_K, width_A), places in by_width.items():
            alike = [row for place in places if (row := rows[place]) is not None]
            totals_N3[places] = [row.totals for row in alike]
            counts_N3K[places, :, :width_K] = [row.counts_3K for row in alike]
            sums_N5A[places, :, :width_A] = [row.numbers_5A for row in alike]
        count_NA, sum_NA, least_NA, most_NA, last_NA = sums_N5A.swapaxes(0, 1)
        means_NA = sum_NA / np.maximum(count_NA, 1)
        numbers_N4A = np.stack([means_NA, -least_NA, most_NA, last_NA], axis=1)
        np.copyto(numbers_N4A, np.nan, where=count_NA[:, None] == 0)
        names = [*_TOTALS]
        names += [_count_of(what, kind) for what in _COUNTS for kind in self.kinds]
        names += [f"{what} of {name}" for what in _NUMBERS for name in self.arguments]
        blocks = (np.log1p(totals_N3), counts_N3K, numbers_N4A)
        return names, np.concatenate([each.reshape(num_rows, -1) for each in blocks], axis=1)

    def _row(self, whole: _Part) -> "Row":
        numbers_5A = np.zeros((5, len(self.arguments)))
        if whole.numbers:
            numbers_5A[:, list(whole.numbers)] = np.array(list(whole.numbers.values())).T
        return Row(
            (whole.parameters, whole.flops, whole.paths),
            whole.counts_3K[:, : len(self.kinds)],
            numbers_5A,
        )


class Row(NamedTuple):
    """A network's statistics, as many as were known when it was looked at.

    Attributes:
        totals: parameters, FLOPs and paths.
        counts_3K: as of ``_Part``.
        numbers_5A: likewise; zeros where there is no such number.
    """

    totals: tuple[float, float, float]
    counts_3K: np.ndarray
    numbers_5A: np.ndarray


_TOTALS = ("parameters", "flops", "paths")
_COUNTS = ("smallest", "mean", "largest")
_NUMBERS = ("mean", "smallest", "largest", "last")


class _Paths(Tracer[_Value]):
    """Follows the paths through a part of a network that takes an input of this shape."""

    def __init__(
        self, statistics: Statistics, labels: Mapping[str, Traceable], shape: InShape
    ) -> None:
        super().__init__(labels)
        self.statistics = statistics
        self.kept = statistics.parts
        self.shape = shape
        self.runs: list[_Run] = []
        self.is_in_place = type(shape) is tuple

    def run(self, part: Traceable, x: _Value) -> _Value:
        return self.repeat(part, 1, x)

    def repeat(self, part: Traceable, times: int, x: _Value) -> _Value:
        shape = x.shape
        kept = self.kept.get((id(part), shape)) if type(shape) is tuple else None
        if kept is not None and not kept.uses:
            known = kept.known
        else:
            part, found = self._found(part, shape)
            if found is None:
                for _ in range(times):
                    x = part.trace(self, x)
                return x
            known = found
        out_shape = known.out_shape
        if times > 1:
            if out_shape != shape:
                return super().repeat(part, times, x)
            known = known.repeated(times)
        if not known.is_in_place or shape != self.shape:
            self.is_in_place = False
        runs = self.runs
        runs.append((part, times, known))
        if not x.paths or not known.paths:
            return _Value(out_shape, 0.0, self.statistics.no_counts_3K, 0)
        behind = x.behind | 1 << len(runs) - 1
        return _Value(out_shape, x.paths * known.paths, x.counts_3K + known.counts_3K, behind)

    def _found(self, part: Traceable, shape: InShape) -> tuple[Traceable, _Part | None]:
        """The part in the place of one, and what is known of it; None: trace it here."""
        outer, self.used = self.used, {}
        original = self.original(part)
        known = self.statistics.part(original, shape, self)
        if known is not None and original is not part and not self.used:
            self.statistics.keep(_Kept(known, part, {}), shape)
        self.used = {**outer, **self.used}
        return original, known

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
        self.is_in_place = False  # on another shape it may go on in another way
        return value.shape

    def summary(self, out: _Value) -> _Part:
        """Returns what is known of the part whose output this is."""
        live = [run[2] for number, run in enumerate(self.runs) if out.behind >> number & 1]
        is_in_place = self.is_in_place and out.shape == self.shape
        numbers: dict[int, _Number] = {}
        parameters = flops = 0
        for part in live:
            parameters += part.parameters
            flops += part.flops
            if not numbers:
                numbers.update(part.numbers)
                continue
            for column, new in part.numbers.items():
                old = numbers.get(column)
                numbers[column] = new if old is None else _followed(old, new)
        return _Part(out.paths, out.counts_3K, numbers, parameters, flops, out.shape, is_in_place)

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


def _followed(old: _Number, new: _Number) -> _Number:
    """What is known of numbers when new ones come after the old."""
    return (
        old[0] + new[0],
        old[1] + new[1],
        old[2] if old[2] > new[2] else new[2],
        old[3] if old[3] > new[3] else new[3],
        new[4],
    )


def _is_same(uses: Mapping[str, Traceable], labels: Mapping[str, Traceable]) -> bool:
    """Whether the labels that were used stand for the same modules as then."""
    return not uses or all(labels[name] is each for name, each in uses.items())


def _count_of(what: str, kind: str) -> str:
    """The name of a feature; that of an operation with its arguments begins with ``EXACT``."""
    plain = kind.removeprefix(EXACT)
    return f"{EXACT if plain != kind else ''}{what} count of {plain}"
