"""Bigrams of a frozen network: what its operations are known by in other networks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nasrunner.core.network.graph import CONCATENATION, INPUT, PRODUCT, SUM, ZERO, spelt
from nasrunner.core.network.known import Bigram
from nasrunner.core.network.statistics import Measure
from nasrunner.core.shapes import InShape
from nasrunner.core.space import Space, argument_names
from nasrunner.core.space.part import holds_parts
from nasrunner.core.tracing import Traceable, Tracer, largest_shape, stacked_shape


class Keyed(NamedTuple):
    """An operation of a network, in the order in which they are applied.

    Attributes:
        bigram: what it is known by.
        part: the module.
        in_shape: what comes in.
        parameters: of all its weights.
    """

    bigram: Bigram
    part: Space
    in_shape: InShape
    parameters: int


def bigrams(network: Traceable, in_shape: InShape, measure: Measure) -> list[Keyed]:
    """Finds the bigrams of a network, without building it.

    Args:
        network: frozen.
        in_shape: of one example.
        measure: says which shape comes out of an operation.

    Raises:
        SpaceError: the network is impossible.
    """
    tracer = _Bigrams(measure)
    tracer.run(network, _Signal(in_shape, INPUT))
    return tracer.found


class Occurrences:
    """Tells equal bigrams of a network apart."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, ...]] = Counter()

    def bigram(self, module: str, in_shape: InShape, out_shape: InShape, before: str) -> Bigram:
        """Makes the next one of these."""
        told = (module, str(in_shape), str(out_shape), before)
        self._counts[told] += 1
        return Bigram(*told, self._counts[told] - 1)


def module_of(part: Traceable) -> str:
    """Spells a module with all of its arguments but those that are modules."""
    if not (isinstance(part, Space) and any(held_by(part))):
        return spelt(part)
    plain = {name: getattr(part, name) for name in argument_names(type(part))}
    told = [f"{name}={value!r}" for name, value in plain.items() if not holds_parts(value)]
    return f"{part.title()}({', '.join(told)})"


class _Signal(NamedTuple):
    shape: InShape
    before: str


class _Bigrams(Tracer[_Signal]):
    def __init__(self, measure: Measure) -> None:
        super().__init__()
        self.measure = measure
        self.found: list[Keyed] = []
        self._occurrences = Occurrences()

    def apply(self, part: Traceable, x: _Signal) -> _Signal:
        assert isinstance(part, Space)
        measured = self.measure(part, x.shape)
        if part.is_chance:
            return _Signal(measured.out_shape, x.before)
        module = module_of(part)
        for label, before in (
            (module, x.before),
            *((spelt(each), module) for each in held_by(part)),
        ):
            bigram = self._occurrences.bigram(label, x.shape, measured.out_shape, before)
            self.found.append(Keyed(bigram, part, x.shape, measured.parameters))
        return _Signal(measured.out_shape, module)

    def zero(self, x: _Signal) -> _Signal:
        return _Signal(x.shape, ZERO)

    def pick(self, x: _Signal, label: str) -> _Signal:
        assert not isinstance(x.shape, tuple)
        return _Signal(x.shape[label], f"{INPUT} {label}")

    def add(self, values: Sequence[_Signal]) -> _Signal:
        return self._merged(values, SUM)

    def multiply(self, values: Sequence[_Signal]) -> _Signal:
        return self._merged(values, PRODUCT)

    def concatenate(self, values: Sequence[_Signal]) -> _Signal:
        if len(values) == 1:
            return values[0]
        return _Signal(stacked_shape([each.shape for each in values]), CONCATENATION)

    def shape_of(self, value: _Signal) -> InShape:
        return value.shape

    def _merged(self, values: Sequence[_Signal], label: str) -> _Signal:
        if len(values) == 1:
            return values[0]
        return _Signal(largest_shape([each.shape for each in values]), label)


def held_by(part: Space) -> Iterator[Space]:
    """Yields the modules among the arguments of a module."""
    for name in argument_names(type(part)):
        value = getattr(part, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Space):
                yield each
