"""How long a child's forward pass takes."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from nasrunner.core.ledger.objectives import LATENCY, LATENCY_SPREAD

_WARM_UP, _REPEATS = 10, 50
"""Passes that do not count, which may allocate and choose algorithms, and passes that do."""


def latency(run: Callable[[], object], wait: Callable[[], object]) -> Mapping[str, float]:
    """Measures how long a function takes in ms, and its spread: median and interquartile range.

    Args:
        run: the function.
        wait: returns once the device has done what it was given.
    """
    low, median, high = statistics.quantiles(timed_ms(run, wait), n=4, method="inclusive")
    return {LATENCY: median, LATENCY_SPREAD: high - low}


def timed_ms(
    run: Callable[[], object],
    wait: Callable[[], object],
    clock_s: Callable[[], float] = time.perf_counter,
) -> Sequence[float]:
    """Times calls of a function, in ms.

    Args:
        run: the function.
        wait: returns once the device has done what it was given.
        clock_s: the time in seconds.
    """
    for _ in range(_WARM_UP):
        run()
    times_ms = []
    for _ in range(_REPEATS):
        wait()
        start_s = clock_s()
        run()
        wait()
        times_ms.append(1000 * (clock_s() - start_s))
    return times_ms
