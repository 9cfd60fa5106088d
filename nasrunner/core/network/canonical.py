"""The canonical form of a frozen network: equal for networks that differ in how they are written.

Identities are dropped, and so is what no path from the input to the output leads through: dead
branches, zeros and what is made of them. Sums and products are flattened and sorted,
concatenations flattened. Operations without weights and chance that are applied to the same value
are one; of others each has weights of its own, so that f(x) + f(x) of one convolution and of two
are different networks.
"""

import functools
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nasrunner.core.network.statistics import Measure
from nasrunner.core.shapes import InShape
from nasrunner.core.space import Space, argument_names
from nasrunner.core.tracing import Traceable, Tracer, largest_shape, stacked_shape

_SUM, _PRODUCT, _CONCATENATION, _INPUT, _ZERO = "+", "*", "|", "input", "0"
_COMMUTATIVE = (_SUM, _PRODUCT)

_MOST_KEPT = 10_000

_MOST_TRIED = 64
"""How many orders of alike operations are tried before a part counts as it is written."""


class Node(NamedTuple):
    """A value in a network's graph, and the operation that it is the result of.

    Attributes:
        number: of the value, in the order traced.
        label: of the operation.
        inputs: numbers of the values that it takes; of sums and products in no order.
        shape: of one example.
        is_zero: whether it is zero, whatever comes in.
    """

    number: int
    label: str
    inputs: tuple[int, ...]
    shape: InShape
    is_zero: bool = False


class GraphTracer(Tracer[Node]):
    """Traces the graph of a network's values, simplified as it grows.

    Args:
        measure: says which shape comes out of an operation.

    Attributes:
        nodes: every value, in an order in which it can be computed.
    """

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self.nodes: list[Node] = []
        self._known: dict[Hashable, Node] = {}

    def input(self, shape: InShape) -> Node:
        """What comes into the network."""
        return self._node(_INPUT, (), shape)

    def apply(self, part: Traceable, x: Node) -> Node:
        shape = self.measure(part, x.shape).out_shape
        if x.is_zero:
            return self._zero(shape)
        label = spelt(part)
        return self._node(label, (x.number,), shape, is_one=part.is_function)

    def zero(self, x: Node) -> Node:
        return self._zero(x.shape)

    def pick(self, x: Node, label: str) -> Node:
        assert isinstance(x.shape, Mapping)
        return self._node(f"{_INPUT} {label}", (), x.shape[label])

    def add(self, values: Sequence[Node]) -> Node:
        shape = largest_shape([value.shape for value in values])
        live = [value for value in values if not value.is_zero]
        if not live:
            return self._zero(shape)
        if len(live) == 1 and live[0].shape == shape:
            return live[0]
        terms = self._flattened(live, _SUM)
        padded = shape != largest_shape([self.nodes[number].shape for number in terms])
        return self._node(f"{_SUM} {shape}" if padded else _SUM, tuple(sorted(terms)), shape)

    def multiply(self, values: Sequence[Node]) -> Node:
        shape = largest_shape([value.shape for value in values])
        if any(value.is_zero and value.shape == shape for value in values):
            return self._zero(shape)
        if len(values) == 1:
            return values[0]
        return self._node(_PRODUCT, tuple(sorted(self._flattened(values, _PRODUCT))), shape)

    def concatenate(self, values: Sequence[Node]) -> Node:
        if len(values) == 1:
            return values[0]
        shape = stacked_shape([value.shape for value in values])
        if all(value.is_zero for value in values):
            return self._zero(shape)
        return self._node(_CONCATENATION, tuple(self._flattened(values, _CONCATENATION)), shape)

    def shape_of(self, value: Node) -> InShape:
        return value.shape

    def _zero(self, shape: InShape) -> Node:
        return self._node(f"{_ZERO} {shape}", (), shape, is_zero=True)

    def _flattened(self, values: Sequence[Node], label: str) -> list[int]:
        """The numbers of values; those of one made by this very operation in its place."""
        flat: list[int] = []
        for value in values:
            flat += value.inputs if value.label.partition(" ")[0] == label else (value.number,)
        return flat

    def _node(
        self,
        label: str,
        inputs: tuple[int, ...],
        shape: InShape,
        *,
        is_one: bool = True,
        is_zero: bool = False,
    ) -> Node:
        key = label, inputs
        if is_one and (found := self._known.get(key)) is not None:
            return found
        node = Node(len(self.nodes), label, inputs, shape, is_zero)
        self.nodes.append(node)
        if is_one:
            self._known[key] = node
        return node


_spelt: dict[int, tuple[Traceable, str]] = {}


def spelt(part: Traceable) -> str:
    """A module with all of its arguments in words, equal for equal ones."""
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


def identity_of(network: Traceable, in_shape: InShape, measure: Measure) -> str:
    """A text that is equal for networks of the same canonical form.

    Where operations are so alike that too many orders of them would have to be tried, their order
    as written counts: then the same network in two ways of writing may have two identities, and
    never two networks one.

    Args:
        network: frozen.
        in_shape: of one example.
        measure: says which shape comes out of an operation.

    Raises:
        SpaceError: the network is impossible.
    """
    tracer = GraphTracer(measure)
    out = tracer.run(network, tracer.input(in_shape))
    told = [_certificate(piece) for piece in _pieces(tracer.nodes, out)]
    return hashlib.sha256(json.dumps([told, str(in_shape)]).encode()).hexdigest()[:16]


Piece = tuple[tuple[str, tuple[int, ...]], ...]
"""(label, inputs) of each value behind one that everything passes through, which is number -1."""


def _pieces(nodes: Sequence[Node], out: Node) -> Iterator[Piece]:
    """The live values, cut behind every one that all paths lead through."""
    live = {out.number}
    for node in reversed(nodes):
        if node.number in live:
            live.update(node.inputs)
    kept = [node for node in nodes if node.number in live and not node.is_zero]
    place = {node.number: position for position, node in enumerate(kept)}
    reach = list(range(len(kept)))  # the last value that takes each
    last_start = -1
    for position, node in enumerate(kept):
        inputs = [place[number] for number in node.inputs if number in place]
        for before in inputs:
            reach[before] = position
        if not inputs:
            last_start = position
    first, furthest = -1, last_start
    for position in range(len(kept)):
        if furthest <= position:
            yield tuple(
                _relative(nodes, kept[at], place, first) for at in range(first + 1, position + 1)
            )
            first = position
        furthest = max(furthest, reach[position])


def _relative(
    nodes: Sequence[Node], node: Node, place: Mapping[int, int], first: int
) -> tuple[str, tuple[int, ...]]:
    """What a value is, with inputs counted from behind ``first``; zeros are part of the label."""
    if all(number in place for number in node.inputs):
        return node.label, tuple(place[number] - first - 1 for number in node.inputs)
    zeros = [
        f"{at if node.label == _CONCATENATION else ''}:{nodes[number].label}"
        for at, number in enumerate(node.inputs)
        if number not in place
    ]
    others = (place[number] - first - 1 for number in node.inputs if number in place)
    return f"{node.label} {sorted(zeros)}", tuple(others)


@functools.lru_cache(maxsize=_MOST_KEPT)
def _certificate(piece: Piece) -> str:
    """A text that is equal for isomorphic pieces, and for these alone."""
    labels, inputs = _without_chains(piece)
    if len(labels) == 1:
        return json.dumps([labels, inputs])
    graph = _Graph(labels, inputs)
    try:
        return graph.least([_number_of(label) for label in labels])
    except _TooManyError:
        return json.dumps(["as written", piece])


def _without_chains(piece: Piece) -> tuple[list[str], list[tuple[int, ...]]]:
    """Operations in series, of which each is the only one that takes the one before, made one."""
    num_takers = Counter(number for _, inputs in piece for number in inputs)
    labels: list[str] = []
    inputs: list[tuple[int, ...]] = []
    moved = {-1: -1}
    for position, (label, taken) in enumerate(piece):
        before = taken[0] if len(taken) == 1 and not _is_commutative(label) else -1
        if before >= 0 and num_takers[before] == 1 and len(piece[before][1]) == 1:
            moved[position] = moved[before]
            labels[moved[before]] += f" > {label}"
            continue
        moved[position] = len(labels)
        labels.append(label)
        inputs.append(tuple(moved[number] for number in taken))
    return labels, inputs


def _is_commutative(label: str) -> bool:
    return label.partition(" ")[0] in _COMMUTATIVE


class _TooManyError(Exception):
    """There are too many orders to try."""


class _Graph:
    """Finds the order of a graph's nodes that does not depend on how they are numbered.

    Nodes are told apart by what they are made of and what is made of them. Alike ones that are in
    the same place may change it; any others are told apart by picking out each in turn, and the
    least of the texts counts: McKay & Piperno 2014, arXiv:1301.1493, section 2, without the use
    of automorphisms.

    Args:
        labels: of each node; inputs before those that take them, the one that goes out last.
        inputs: of each node the numbers of those it takes; -1 comes in from outside.
    """

    def __init__(self, labels: Sequence[str], inputs: Sequence[tuple[int, ...]]) -> None:
        self.labels = labels
        self.inputs = inputs
        self.is_commutative = [_is_commutative(label) for label in labels]
        self.takers: list[list[tuple[int, int]]] = [[] for _ in labels]  # (node, role there)
        for number, taken in enumerate(inputs):
            for role, each in enumerate(taken):
                if each >= 0:
                    self.takers[each].append((number, 0 if self.is_commutative[number] else role))
        self.num_tried = 0

    def least(self, own: list[int]) -> str:
        """The least text of all orders, given a number of its own for each node.

        Raises:
            _TooManyError: of so many.
        """
        colours = self._refined(own)
        alike: defaultdict[int, list[int]] = defaultdict(list)
        for number, colour in enumerate(colours):
            alike[colour].append(number)
        undecided = [each for each in alike.values() if not self._are_twins(each)]
        if not undecided:
            return self._text(colours)
        texts = []
        for number in min(undecided, key=lambda each: (len(each), colours[each[0]])):
            self.num_tried += 1
            if self.num_tried > _MOST_TRIED:
                raise _TooManyError
            marked = [*colours]
            marked[number] = _mixed([colours[number], 1])
            texts.append(self.least(marked))
        return min(texts)

    def _are_twins(self, alike: Sequence[int]) -> bool:
        """Whether nodes take the same and are taken by the same: any order of them is as good."""
        first = alike[0]
        return all(
            self.inputs[each] == self.inputs[first] and self.takers[each] == self.takers[first]
            for each in alike[1:]
        )

    def _refined(self, own: list[int]) -> list[int]:
        """A number for each node, of what is below and above it, until no more are told apart."""
        colours, num_colours = own, len(set(own))
        while True:
            colours = self._looked_around(colours)
            found = len(set(colours))
            if found in (num_colours, len(colours)):
                return colours
            num_colours = found

    def _looked_around(self, own: Sequence[int]) -> list[int]:
        below: list[int] = []
        for number, taken in enumerate(self.inputs):
            given = [below[each] if each >= 0 else 0 for each in taken]
            below.append(
                _mixed([own[number], *(sorted(given) if self.is_commutative[number] else given)])
            )
        around = [0] * len(own)
        for number in reversed(range(len(own))):
            above = sorted(_mixed([around[each], role]) for each, role in self.takers[number])
            around[number] = _mixed([below[number], *above])
        return around

    def _text(self, colours: Sequence[int]) -> str:
        order = sorted(range(len(colours)), key=lambda number: (colours[number], number))
        place = {number: position for position, number in enumerate(order)} | {-1: -1}
        told = []
        for number in order:
            taken = [place[each] for each in self.inputs[number]]
            told.append(
                [self.labels[number], sorted(taken) if self.is_commutative[number] else taken]
            )
        return json.dumps(told)


_64_BITS = 2**64 - 1


def _mixed(numbers: Sequence[int]) -> int:
    """One number of 64 bits for several, in their order: multiplied and folded, one by one."""
    found = 0x243F6A8885A308D3
    for number in numbers:
        found = (found ^ number) * 0x9E3779B97F4A7C15 & _64_BITS
        found ^= found >> 29
    return found


@functools.lru_cache(maxsize=_MOST_KEPT)
def _number_of(label: str) -> int:
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:8])
