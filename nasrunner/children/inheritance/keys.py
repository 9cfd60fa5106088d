"""What each weight of a child's network is known by in the networks of other children."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from nasrunner.core import InShape, SearchSpace, Space
from nasrunner.core.network.bigrams import Occurrences, bigrams, held_by, module_of
from nasrunner.core.network.graph import spelt
from nasrunner.core.network.known import Bigram
from nasrunner.core.network.statistics import Measure, Measured
from nasrunner.core.shapes import hashable
from nasrunner.core.space import Built, recorded
from nasrunner.core.tracing import Traceable


class Key(NamedTuple):
    """What a parameter or buffer is known by; one that is borrowed has the same shape, too.

    Attributes:
        bigram: of its operation; None where the network's modules do not say which that is.
        name: within the operation; or in the network, where there is none.
    """

    bigram: Bigram | None
    name: str


@dataclass(frozen=True)
class Anatomy:
    """A network, and what of it belongs to which operation.

    Attributes:
        network: built for the study's inputs.
        layers: where (path, module, input shape) is applied for the first, second, … time: the
            prefix of the names of its weights, and the layer.
        keys: of each parameter and buffer, by its name in the network.
        measure: says which shape comes out of an operation.
    """

    network: nn.Module
    layers: Mapping["Place", Sequence[tuple[str, nn.Module]]]
    keys: Mapping[str, Key]
    measure: Measure


Place = tuple[str, str, Hashable]
"""Path, module and shape that comes in, of an operation."""


def place_of(part: Space, in_shape: InShape) -> Place:
    """Says where an operation of a network stands; several in series may stand in one place."""
    return part.path, spelt(part), hashable(in_shape)


def anatomy(frozen: SearchSpace, in_shape: InShape, build: Callable[[], nn.Module]) -> Anatomy:
    """Builds a network, and finds what its weights are known by.

    Modules that an operation was given are told apart from the rest of it: a language model's
    embedding is known by the same in networks with other bodies.

    Args:
        frozen: its architecture.
        in_shape: of one example.
        build: builds it.
    """
    with recorded() as built:
        network = build()
    by_layer = {id(e.layer): e for e in built if not isinstance(e.part, SearchSpace)}
    layers: defaultdict[Place, list[tuple[str, nn.Module]]] = defaultdict(list)
    outermost: defaultdict[Place, list[tuple[str, Built]]] = defaultdict(list)
    for prefix, each in _outermost(network, "", by_layer):
        assert isinstance(each.part, Space)
        place = place_of(each.part, each.in_shape)
        layers[place].append((prefix, each.layer))
        outermost[place].append((prefix, each))
    measure = _measure(built)
    found: defaultdict[Place, list[Bigram]] = defaultdict(list)
    for keyed in bigrams(frozen.network, in_shape, measure):
        if keyed.bigram.module == module_of(keyed.part):
            found[place_of(keyed.part, keyed.in_shape)].append(keyed.bigram)
    keys = {name: Key(None, name) for name in network.state_dict()}
    occurrences = Occurrences()
    for place, here in outermost.items():
        if len(found[place]) != len(here):  # a user's module builds other layers than it traces
            continue
        for (prefix, each), bigram in zip(here, found[place], strict=True):
            for inner, known in _parts(prefix, each, bigram, by_layer, occurrences):
                keys |= {n: Key(known, n[len(inner) :]) for n in keys if n.startswith(inner)}
    return Anatomy(network, layers, keys, measure)


def anatomy_on_meta(frozen: SearchSpace, in_shape: InShape) -> Anatomy:
    """Finds what the weights of a network are known by, without making them."""

    def build() -> nn.Module:
        with torch.device("meta"):
            network, _ = frozen.build(in_shape)
        return network

    return anatomy(frozen, in_shape, build)


def _outermost(
    layer: nn.Module, prefix: str, built: Mapping[int, Built]
) -> Iterator[tuple[str, Built]]:
    """The operations in a layer that are not inside others, with their prefixes."""
    if (found := built.get(id(layer))) is not None:
        yield prefix, found
        return
    for name, child in layer.named_children():
        yield from _outermost(child, f"{prefix}{name}.", built)


def _parts(
    prefix: str,
    operation: Built,
    bigram: Bigram,
    built: Mapping[int, Built],
    occurrences: Occurrences,
) -> Iterator[tuple[str, Bigram]]:
    """An operation and those it was built from, outer ones first."""
    inner = [
        found
        for name, child in operation.layer.named_children()
        for found in _outermost(child, f"{prefix}{name}.", built)
    ]
    parts = {id(each.part) for _, each in inner}
    assert isinstance(operation.part, Space)
    # What it was given and makes no layer of, as a recurrent cell, tells it from others.
    kept = [spelt(each) for each in held_by(operation.part) if not _holds(each, parts)]
    yield prefix, bigram._replace(module=" ".join([bigram.module, *kept]))
    for place, each in inner:
        assert isinstance(each.part, Space)
        module = module_of(each.part)
        known = occurrences.bigram(module, each.in_shape, each.out_shape, bigram.module)
        yield from _parts(place, each, known, built, occurrences)


def _holds(part: Space, parts: Collection[int]) -> bool:
    """Whether a module is one of those with these ids, or holds one."""
    return id(part) in parts or any(_holds(each, parts) for each in held_by(part))


def _measure(built: Sequence[Built]) -> Callable[[Traceable, InShape], Measured]:
    """Looks up which shape comes out of an operation that was built."""
    shapes = {(id(each.part), hashable(each.in_shape)): each.out_shape for each in built}

    def measure(part: Traceable, in_shape: InShape) -> Measured:
        assert isinstance(part, Space)
        shape = shapes.get((id(part), hashable(in_shape)))
        if shape is None:
            with torch.device("meta"):
                _, shape = part.build(in_shape)
        return Measured(0, 0, shape)

    return measure
