"""The modules of an operation's layer, and which part of a larger weight each takes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from nasrunner.core.space import Built, Space


class LeafModule(NamedTuple):
    """A module in an operation's layer.

    Attributes:
        where: it stands.
        name: of the operation.
        module: it.
        is_plain: whether it is called as it is, one after others if there are any; a module of its
            own kind may use another's weights in its own way, such as those of several gates.
    """

    where: str
    name: str
    module: nn.Module
    is_plain: bool


def leaves_of(
    layer: nn.Module, part: Space, place: str, built: Sequence[Built]
) -> Iterator[LeafModule]:
    """Yields the modules of an operation's layer.

    Args:
        layer: it.
        part: what it was made of.
        place: where it stands.
        built: the operations that it was built from, and others that it has tried.
    """
    parts = ((each.layer, each.part) for each in built if each.layer is not layer)
    by_layer = {id(made): inner for made, inner in parts if isinstance(inner, Space)}
    seen = Counter[str]()

    def below(leaf: LeafModule) -> Iterator[LeafModule]:
        yield leaf
        is_plain = leaf.is_plain and isinstance(leaf.module, nn.Sequential)
        for at, child in leaf.module.named_children():
            where, name = f"{leaf.where}.{at}", leaf.name
            if (inner := by_layer.get(id(child))) is not None:
                inside = numbered(f"{place}>{place_of(inner)}", seen)
                where, name = f"{inside}/", inner.name()
            yield from below(LeafModule(where, name, child, is_plain))

    yield from below(LeafModule(f"{place}/", part.name(), layer, is_plain=True))


def place_of(part: Space) -> str:
    """Returns where an operation stands in the open space, and which it is."""
    return f"{part.path}:{part.name()}"


def numbered(place: str, seen: Counter[str]) -> str:
    """Returns a place, and how many in it there are with this one."""
    seen[place] += 1
    return f"{place}#{seen[place]}"


def within(shape: torch.Size, most: torch.Size, leaf: nn.Module) -> tuple[slice, ...]:
    """Returns the part of a larger weight: the first of each dimension, a kernel's centre."""
    is_kernel = isinstance(leaf, _ConvNd) and len(shape) > 1
    begins = [
        (n - m) // 2 if is_kernel and place >= 2 else 0
        for place, (m, n) in enumerate(zip(shape, most, strict=True))
    ]
    return tuple(slice(begin, begin + m) for begin, m in zip(begins, shape, strict=True))
