"""The graph of a frozen network's values, simplified as it is traced."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from nasrunner.core.network.statistics import Measure
from nasrunner.core.shapes import InShape, hashable
from nasrunner.core.space import Space, argument_names
from nasrunner.core.tracing import Traceable, Tracer, largest_shape, stacked_shape

SUM, PRODUCT, CONCATENATION, INPUT, ZERO = "+", "*", "|", "input", "0"

_MERGES = (SUM, PRODUCT, CONCATENATION)

_MOST_KEPT = 10_000
_MOST_PARTS_KEPT = 2_000


class Operation(NamedTuple):
    """What is known of a module that is one operation, on an input of one shape.

    Attributes:
        label: it, with all of its arguments.
        shape: of what comes out.
        is_function: as of ``Space``.
        part: it; its id lasts as long as it is kept.
    """

    label: str
    shape: InShape
    is_function: bool
    part: Traceable


class Value(NamedTuple):
    """A value in the graph of a part of a network, whose only input is value 0.

    Attributes:
        label: of the operation that it is the result of.
        merge: how that operation merges its inputs: sum, product, concatenation; else empty.
        inputs: numbers of the values that it takes.
        shape: of one example.
        is_one: whether all results of this operation on these inputs are the same.
        is_zero: whether it is zero, whatever comes in.
    """

    label: str
    merge: str
    inputs: tuple[int, ...]
    shape: InShape
    is_one: bool
    is_zero: bool


class Values(NamedTuple):
    """The graph of a part of a network, without what its output does not need.

    Attributes:
        rows: value 1, 2, …
        out: the number of what comes out.
        part: whose graph it is; its id lasts as long as it is kept.
        uses: the modules that labels stood for in it.
    """

    rows: Sequence[Value]
    out: int
    part: Traceable
    uses: Mapping[str, Traceable]


class KnownParts:
    """What was found out of the parts of a space's networks, by their ids.

    Args:
        measure: says which shape comes out of an operation.
    """

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self.operations: dict[Hashable, Operation] = {}
        self.parts: dict[Hashable, Values] = {}
        self.seen: set[Hashable] = set()

    def operation(self, part: Traceable, shape: InShape) -> Operation:
        """Returns what is known of an operation.

        Raises:
            SpaceError: it is impossible.
        """
        key = id(part), hashable(shape)
        found = self.operations.get(key)
        if found is None:
            if len(self.operations) >= _MOST_KEPT:
                self.operations.clear()
            measured = self.measure(part, shape)
            found = Operation(spelt(part), measured.out_shape, part.is_function, part)
            self.operations[key] = found
        return found

    def is_again(self, key: Hashable) -> bool:
        """Tells whether a part was asked for before."""
        if key in self.seen:
            return True
        if len(self.seen) >= _MOST_KEPT:
            self.seen.clear()
        self.seen.add(key)
        return False

    def values(self, part: Traceable, shape: InShape, of: "GraphTracer") -> Values | None:
        """Returns the graph of a part that is being traced; None: it is not worth keeping one
        yet.
        """
        key = id(part), hashable(shape)
        found = self.parts.get(key)
        labels = of.labels
        if found is None or any(labels.get(name) is not each for name, each in found.uses.items()):
            if not self.is_again(key):
                return None
            tracer = GraphTracer(self, labels)
            found = tracer.values(part, part.trace(tracer, tracer.input(shape)))
            if len(self.parts) >= _MOST_PARTS_KEPT:
                self.parts.clear()
            self.parts[key] = found
        of.used.update(found.uses)
        return found


class GraphTracer(Tracer[int]):
    """Traces the graph of a network's values, which are numbered in the order traced.

    Args:
        known: of the parts of networks.
        labels: what labels stand for around what is traced.

    Attributes:
        operations: the label of what each value is the result of.
        inputs: numbers of the values that it takes; of sums and products in no order.
        shapes: of one example.
        is_zero: whether it is zero, whatever comes in.
    """

    def __init__(self, known: KnownParts, labels: Mapping[str, Traceable] | None = None) -> None:
        super().__init__(labels)
        self.known = known
        self.operations: list[str] = []
        self.inputs: list[tuple[int, ...]] = []
        self.shapes: list[InShape] = []
        self.is_zero: list[bool] = []
        self._is_one: list[bool] = []
        self._found: dict[tuple[str, tuple[int, ...]], int] = {}

    def input(self, shape: InShape) -> int:
        """Returns what comes into the network."""
        return self._value(INPUT, (), shape)

    def run(self, part: Traceable, x: int) -> int:
        part = self.original(part)
        if part.is_one_operation():
            return self.apply(part, x)
        if not part.is_transparent and not self.is_zero[x]:
            known = self.known.values(part, self.shapes[x], self)
            if known is not None:
                return self._again(known, x)
        return part.trace(self, x)

    def repeat(self, part: Traceable, times: int, x: int) -> int:
        part = self.original(part)
        self.known.is_again((id(part), hashable(self.shapes[x])))
        return super().repeat(part, times, x)

    def apply(self, part: Traceable, x: int) -> int:
        operation = self.known.operation(part, self.shapes[x])
        if self.is_zero[x]:
            return self._zero(operation.shape)
        return self._value(operation.label, (x,), operation.shape, is_one=operation.is_function)

    def zero(self, x: int) -> int:
        return self._zero(self.shapes[x])

    def pick(self, x: int, label: str) -> int:
        shape = self.shapes[x]
        assert isinstance(shape, Mapping)
        return self._value(f"{INPUT} {label}", (), shape[label])

    def add(self, values: Sequence[int]) -> int:
        return self._sum(values, largest_shape([self.shapes[value] for value in values]))

    def multiply(self, values: Sequence[int]) -> int:
        shape = largest_shape([self.shapes[value] for value in values])
        if any(self.is_zero[value] and self.shapes[value] == shape for value in values):
            return self._zero(shape)
        if len(values) == 1:
            return values[0]
        return self._value(PRODUCT, tuple(sorted(self._flattened(values, PRODUCT))), shape)

    def concatenate(self, values: Sequence[int]) -> int:
        if len(values) == 1:
            return values[0]
        shape = stacked_shape([self.shapes[value] for value in values])
        if all(self.is_zero[value] for value in values):
            return self._zero(shape)
        return self._value(CONCATENATION, tuple(self._flattened(values, CONCATENATION)), shape)

    def shape_of(self, value: int) -> InShape:
        return self.shapes[value]

    def needed(self, out: int) -> bytearray:
        """Returns which values up to this one are needed to compute it."""
        needed = bytearray(out + 1)
        needed[out] = 1
        for number in range(out, -1, -1):
            if needed[number]:
                for each in self.inputs[number]:
                    needed[each] = 1
        return needed

    def values(self, part: Traceable, out: int) -> Values:
        """Returns what has been traced, of a part that this comes out of."""
        needed = self.needed(out)
        needed[0] = 1
        kept = [number for number in range(out + 1) if needed[number]]
        place = {number: position for position, number in enumerate(kept)}
        rows = []
        for number in kept[1:]:
            label = self.operations[number]
            kind = label.partition(" ")[0]
            inputs = tuple([place[each] for each in self.inputs[number]])
            merge = kind if kind in _MERGES else ""
            shape, is_zero = self.shapes[number], self.is_zero[number]
            rows.append(Value(label, merge, inputs, shape, self._is_one[number], is_zero))
        return Values(rows, place[out], part, self.used)

    def _again(self, known: Values, x: int) -> int:
        """Puts the graph of a part behind a value."""
        place = [x]
        for label, merge, inputs, shape, is_one, is_zero in known.rows:
            if not merge:
                taken: tuple[int, ...] = (place[inputs[0]],) if inputs else ()
            elif merge == SUM:
                place.append(self._sum([place[each] for each in inputs], shape))
                continue
            else:
                flat = self._flattened([place[each] for each in inputs], merge)
                taken = tuple(sorted(flat) if merge == PRODUCT else flat)
            place.append(self._value(label, taken, shape, is_one=is_one, is_zero=is_zero))
        return place[known.out]

    def _zero(self, shape: InShape) -> int:
        return self._value(f"{ZERO} {shape}", (), shape, is_zero=True)

    def _sum(self, values: Sequence[int], shape: InShape) -> int:
        live = [value for value in values if not self.is_zero[value]]
        if not live:
            return self._zero(shape)
        if len(live) == 1 and self.shapes[live[0]] == shape:
            return live[0]
        terms = sorted(self._flattened(live, SUM))
        padded = any(self.shapes[number] != shape for number in terms) and shape != largest_shape(
            [self.shapes[number] for number in terms]
        )
        return self._value(f"{SUM} {shape}" if padded else SUM, tuple(terms), shape)

    def _flattened(self, values: Sequence[int], label: str) -> list[int]:
        """The numbers of values; those of one made by this very operation in its place."""
        flat: list[int] = []
        for value in values:
            operation = self.operations[value]
            if operation == label or operation.startswith(f"{label} "):
                flat += self.inputs[value]
            else:
                flat.append(value)
        return flat

    def _value(
        self,
        label: str,
        inputs: tuple[int, ...],
        shape: InShape,
        *,
        is_one: bool = True,
        is_zero: bool = False,
    ) -> int:
        number = len(self.operations)
        if is_one:
            found = self._found.setdefault((label, inputs), number)
            if found != number:
                return found
        self.operations.append(label)
        self.inputs.append(inputs)
        self.shapes.append(shape)
        self.is_zero.append(is_zero)
        self._is_one.append(is_one)
        return number


_spelt: dict[int, tuple[Traceable, str]] = {}


def spelt(part: Traceable) -> str:
    """Returns a module with all of its arguments in words, equal for equal ones."""
    found = _spelt.get(id(part))
    if found is None:
        if len(_spelt) >= _MOST_KEPT:
            _spelt.clear()
        found = _spelt[id(part)] = (part, _in_words(part))
    return found[1]


def _in_words(value: Any) -> str:
    if isinstance(value, Space):
        arguments = (_in_words(getattr(value, name)) for name in argument_names(type(value)))
        return f"{value.title()}({', '.join(arguments)})"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_in_words, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_in_words(each)}' for key, each in value.items())}}}"
    return json.dumps(value) if isinstance(value, str) else repr(value)
