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
from collections.abc import Iterator, Sequence

from nasrunner.core.network.graph import CONCATENATION, PRODUCT, SUM, GraphTracer, KnownParts
from nasrunner.core.network.statistics import Measure
from nasrunner.core.shapes import InShape
from nasrunner.core.tracing import Traceable

_COMMUTATIVE = (SUM, PRODUCT)

_MOST_KEPT = 10_000

_MOST_TRIED = 64
"""How many orders of alike operations are tried before a part counts as it is written."""


class Identities:
    """Tells networks apart by their canonical forms.

    Args:
        measure: says which shape comes out of an operation.
        in_shape: of one example.
    """

    def __init__(self, measure: Measure, in_shape: InShape) -> None:
        self.in_shape = in_shape
        self._known = KnownParts(measure)

    def of(self, network: Traceable) -> str:
        """Returns a text that is equal for networks of the same canonical form.

        Where operations are so alike that too many orders of them would have to be tried, their
        order as written counts: then the same network in two ways of writing may have two
        identities, and never two networks one.

        Args:
            network: frozen.

        Raises:
            SpaceError: the network is impossible.
        """
        graph = GraphTracer(self._known)
        out = graph.run(network, graph.input(self.in_shape))
        told = [_certificate(piece) for piece in _pieces(graph, out)]
        return hashlib.sha256(json.dumps([told, str(self.in_shape)]).encode()).hexdigest()[:16]


Piece = tuple[tuple[str, tuple[int, ...]], ...]
"""(label, inputs) of each value behind one that everything passes through, which is number -1."""


def _pieces(graph: GraphTracer, out: int) -> Iterator[Piece]:
    """The live values, cut behind every one that all paths lead through."""
    needed, is_zero = graph.needed(out), graph.is_zero
    kept = [number for number in range(out + 1) if needed[number] and not is_zero[number]]
    place = [-1] * (out + 1)  # of zeros: none
    for position, number in enumerate(kept):
        place[number] = position
    reach = list(range(len(kept)))  # the last value that takes each
    inputs = [tuple([place[each] for each in graph.inputs[number]]) for number in kept]
    last_start = -1
    for position, taken in enumerate(inputs):
        is_start = True
        for before in taken:
            if before >= 0:
                reach[before] = position
                is_start = False
        if is_start:
            last_start = position
    first, furthest = -1, last_start
    piece: list[tuple[str, tuple[int, ...]]] = []
    for position, taken in enumerate(inputs):
        label = graph.operations[kept[position]]
        if -1 in taken:
            label, taken = _with_zeros(graph, kept[position], taken)
        piece.append((label, tuple([each - first - 1 for each in taken])))
        if furthest <= position:
            yield tuple(piece)
            piece, first = [], position
        furthest = max(furthest, reach[position])


def _with_zeros(
    graph: GraphTracer, number: int, taken: Sequence[int]
) -> tuple[str, tuple[int, ...]]:
    """A value some of whose inputs are zeros, which become part of the label."""
    label = graph.operations[number]
    zeros = [
        f"{at if label == CONCATENATION else ''}:{graph.operations[each]}"
        for at, (each, position) in enumerate(zip(graph.inputs[number], taken, strict=True))
        if position < 0
    ]
    return f"{label} {sorted(zeros)}", tuple(each for each in taken if each >= 0)


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
        """Returns the least text of all orders, given a number of its own for each node.

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
