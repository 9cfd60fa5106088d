"""Narrower networks: widths that modules declare are scaled, but for those of the output."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nasrunner.core.decision import OneOf
from nasrunner.core.space.arguments import argument_names
from nasrunner.core.space.space import Space
from nasrunner.core.tracing import Traceable, Tracer


def narrowed(network: Space, share: float) -> Space:
    """Returns a frozen network with a share of every width, rounded, at least 1.

    Equal widths stay equal, so that what is summed still fits. The widths that the network's output
    has stay as they are: those of the last modules with widths on each way to it.

    Args:
        network: it is not changed.
        share: in (0, 1].
    """
    outputs = [network, *(side for part in _parts(network) for side in part.side_outputs)]
    kept = frozenset().union(*(_Output().run(each, frozenset()) for each in outputs))
    made: dict[int, Space] = {}  # what stands in several places still is one

    def scaled(value: Any) -> Any:
        if isinstance(value, tuple):
            parts = tuple(map(scaled, value))
            is_same = all(one is other for one, other in zip(parts, value, strict=True))
            return value if is_same else parts
        if not isinstance(value, Space):
            return value
        if id(value) not in made:
            made[id(value)] = scaled_module(value)
        return made[id(value)]

    def scaled_module(module: Space) -> Space:
        before = {name: getattr(module, name) for name in argument_names(type(module))}
        after = {name: scaled(each) for name, each in before.items()}
        if id(module) not in kept:
            after |= {name: max(1, round(width * share)) for name, width in _widths(module)}
        is_same = all(after[name] is each for name, each in before.items())
        return module if is_same else dataclasses.replace(module, **after)

    narrow: Space = scaled(network)
    return narrow


def declares_widths(space: Space) -> bool:
    """Tells whether some module of an open space has a width that can be scaled."""
    return any(
        isinstance(option, int)
        for part in _parts(space)
        for name in part.widths
        for option in _options(getattr(part, name))
    )


def _parts(value: Any) -> Iterator[Space]:
    """All modules in a value, those in each option of a decision among them."""
    inside: Sequence[Any] = ()
    if isinstance(value, Space):
        yield value
        inside = [getattr(value, name) for name in argument_names(type(value))]
    elif isinstance(value, OneOf):
        inside = value.options
    elif isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, list | tuple):
        inside = value
    for each in inside:
        yield from _parts(each)


def _options(value: Any) -> Iterator[Any]:
    if isinstance(value, OneOf):
        for option in value.options:
            yield from _options(option)
    else:
        yield value


def _widths(part: Space) -> Iterator[tuple[str, int]]:
    """The widths of a frozen module that are numbers; ``same`` follows what comes in."""
    for name in part.widths:
        if isinstance(width := getattr(part, name), int):
            yield name, width


class _Output(Tracer[frozenset[int]]):
    """Finds the modules whose widths a value has: a value is their ids."""

    def apply(self, part: Traceable, x: frozenset[int]) -> frozenset[int]:
        assert isinstance(part, Space)
        if part.hides_widths:
            return frozenset()
        if any(_widths(part)):
            return frozenset([id(part)])
        # Nobody knows what a module without a declaration does with those that it holds.
        return x.union(id(each) for each in _parts(part) if any(_widths(each)))

    def zero(self, x: frozenset[int]) -> frozenset[int]:
        return x

    def pick(self, x: frozenset[int], label: str) -> frozenset[int]:
        return x

    def add(self, values: Sequence[frozenset[int]]) -> frozenset[int]:
        return frozenset().union(*values)

    def multiply(self, values: Sequence[frozenset[int]]) -> frozenset[int]:
        return frozenset().union(*values)

    def concatenate(self, values: Sequence[frozenset[int]]) -> frozenset[int]:
        return frozenset().union(*values)

    def shape_of(self, value: frozenset[int]) -> tuple[int, ...]:
        return ()  # equal for all: a shortcut is no projection, which has no width of its own
