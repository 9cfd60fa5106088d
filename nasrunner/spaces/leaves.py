"""The leaves of the space language: how decisions over values are written."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core.annotations import fits
from nasrunner.core.decision import OneOf, Schedule


def leaf_of(value: object) -> str | None:
    """Which kind of leaf a value is, if it is one."""
    leaf = next(iter(value)) if isinstance(value, Mapping) and len(value) == 1 else None
    return leaf if leaf in LEAVES else None


def _oneof(given: object) -> OneOf:
    return OneOf(tuple(_listed(given)))


def _range(given: object) -> OneOf:
    """Low to high, both included where the step meets high."""
    low, high, step = _numbers(given, "[low, high, step]")
    if step == 0 or (high - low) * step < 0:
        raise ValueError("range needs a step that leads from low to high")
    count = math.floor((high - low) / step + 1e-9) + 1
    return OneOf(tuple(_tidy(low + index * step) for index in range(count)))


def _linspace(given: object) -> OneOf:
    low, high, count = _spaced(given)
    return OneOf(tuple(_tidy(float(value)) for value in np.linspace(low, high, count)))


def _logspace(given: object) -> OneOf:
    low, high, count = _spaced(given)
    if low <= 0 or high <= 0:
        raise ValueError("logspace needs low and high above 0: they are values, not exponents")
    return OneOf(tuple(float(f"{value:.6g}") for value in np.geomspace(low, high, count)))


def _schedule(given: object) -> Schedule:
    """Start, start + step, … up to end; the next one after so many proposals."""
    form = "it takes the whole numbers start, step, end and every, by name"
    if not isinstance(given, Mapping) or set(given) != {"start", "step", "end", "every"}:
        raise ValueError(form)
    if any(isinstance(n, bool) or not isinstance(n, int) for n in given.values()):
        raise ValueError(form)
    if given["step"] < 1 or given["end"] < given["start"]:
        raise ValueError("a schedule goes up: step must be >= 1 and end >= start")
    if given["every"] < 1:
        raise ValueError("every must be >= 1 proposal")
    values = range(given["start"], given["end"] + 1, given["step"])
    return Schedule(tuple(values), every=given["every"])


LEAVES: Mapping[str, Callable[[object], OneOf]] = {
    "oneof": _oneof,
    "range": _range,
    "linspace": _linspace,
    "logspace": _logspace,
    "schedule": _schedule,
}
"""The decision that each leaf stands for; a ValueError or SpaceError says what is wrong."""


def _tidy(value: float) -> float:
    """0.3 instead of 0.30000000000000004; whole numbers stay as they are."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def _spaced(given: object) -> tuple[float, float, int]:
    low, high, count = _numbers(given, "[low, high, n]")
    if count != int(count) or count < 1 or (count > 1 and low == high):
        raise ValueError("low and high must differ and n be a whole number >= 1")
    return low, high, int(count)


def _numbers(given: object, form: str) -> Sequence[Any]:
    given = _listed(given)
    if len(given) != 3 or not all(fits(value, float) for value in given):
        raise ValueError(f"it takes three numbers {form}")
    return given


def _listed(given: object) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValueError("it takes a list")
    return given
