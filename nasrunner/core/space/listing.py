"""What there can be in an argument, counted and listed without a walk."""

import math
from collections.abc import Iterator
from typing import Any

from nasrunner.core.decision import Address, Decision, OneOf, parts_of
from nasrunner.core.space.part import Part, enter


def size_of_value(value: Any) -> int:
    """Returns how many values an argument can take."""
    if isinstance(value, Part):
        return value.size()
    if isinstance(value, OneOf):
        return sum(map(size_of_value, value.values)) if value.is_nested else len(value.values)
    return math.prod(size_of_value(part) for _, part in parts_of(value))


def most_modules_of_value(value: Any) -> int:
    """Returns how many modules an argument can come to: those of a module, or of a list of
    modules.
    """
    if isinstance(value, tuple):
        return sum(map(most_modules_of_value, value))
    return value.most_modules() if isinstance(value, Part) else 0


def decisions_of_value(value: Any, at: Address) -> Iterator[Decision]:
    """Yields every decision there can be in an argument, in the order asked."""
    if isinstance(value, Part):
        yield from value.decisions(enter(value, at))
        return
    if isinstance(value, OneOf):
        yield value.decision(at)
    if not isinstance(value, OneOf) or value.is_nested:
        for place, part in parts_of(value):
            yield from decisions_of_value(part, at / place)
