"""Parts that are made of a part once, so that networks which share it share what is made of it."""

import functools
from collections.abc import Callable, Hashable
from typing import TypeVar

from nasrunner.core.space import Space

T = TypeVar("T")

_MOST_KEPT = 10_000
"""So many results are kept of a function."""


def made_once(make: Callable[..., T]) -> Callable[..., T]:
    """Makes a function of a frozen module, and of plain values, return one result for one object.

    What a module has checked of itself, and what is known of it by its identity, is then known in
    each of the networks that it stands in. An equal module that is another object counts as another
    one: comparing two takes longer than making.
    """
    kept: dict[tuple[Hashable, ...], tuple[Space, T]] = {}

    @functools.wraps(make)
    def call(part: Space, *values: Hashable) -> T:
        key = (id(part), *values)
        if (found := kept.get(key)) is None:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            found = kept[key] = (part, make(part, *values))  # which keeps it, and so its identity
        return found[1]

    return call
