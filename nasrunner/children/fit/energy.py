"""How much energy a child's forward pass takes, where the device counts its energy."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from nasrunner.core.errors import ConfigError
from nasrunner.core.ledger.objectives import ENERGY, ENERGY_SPREAD, IDLE_ENERGY
from nasrunner.core.machine.energy import (
    CpuCounters,
    EnergyCounters,
    GpuCounters,
    NoEnergyError,
)

_WARM_UP, _NUM_WINDOWS = 10, 5
_SHORTEST_S, _UPDATES = 0.2, 20
"""A window has at least so many updates of the counters: one more or less is 5 % of it at most."""


@dataclass(frozen=True)
class Clock:
    """Tells the time and waits.

    Attributes:
        now_s: says the time in seconds.
        sleep: waits so many seconds.
    """

    now_s: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


def counters_of(device: torch.device) -> EnergyCounters:
    """Opens the counters of a device: the CPU's packages, or the GPU's board without its host.

    Raises:
        NoEnergyError: the machine reports no energy of it.
    """
    match device.type:
        case "cpu":
            return CpuCounters()
        case "cuda":
            return GpuCounters(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    raise NoEnergyError(f"this machine reports no energy of {device.type}")


def check_counts(device: torch.device) -> None:
    """Refuses to measure the energy of a device that does not count it.

    Raises:
        ConfigError: the counters are missing, unreadable or stand still.
    """
    try:
        counters = counters_of(device)
        before_j = counters.joules()
        time.sleep(_window_s(counters))
        if counters.joules() <= before_j:
            raise NoEnergyError(
                f"this machine reports no energy of its {device.type}: its counter stands still"
            )
    except NoEnergyError as error:
        raise ConfigError(f"objectives.{ENERGY}: {error}") from error


def energy(
    run: Callable[[], object],
    wait: Callable[[], object],
    counters: EnergyCounters,
    clock: Clock | None = None,
) -> Mapping[str, float]:
    """Measures the energy of a function in J, and its spread, on a device that does nothing else.

    First the device idles, then the function is called one time after another in five windows
    that are as long. Of the energy in a window divided by its calls it is the median; its
    interquartile range; and what of it the idle device would have taken in the same time.

    Args:
        run: the function.
        wait: returns once the device has done what it was given.
        counters: of the device.
        clock: the time.
    """
    clock = clock or Clock()
    window_s = _window_s(counters)
    wait()
    idle_w = _window(lambda: clock.sleep(window_s), counters, clock, 0.0).watts
    for _ in range(_WARM_UP):
        run()
    wait()

    def call() -> None:
        run()
        wait()

    windows = [_window(call, counters, clock, window_s) for _ in range(_NUM_WINDOWS)]
    each_j = [window.joules / window.num_calls for window in windows]
    low, median, high = statistics.quantiles(each_j, n=4, method="inclusive")
    call_s = statistics.median(window.seconds / window.num_calls for window in windows)
    return {ENERGY: median, ENERGY_SPREAD: high - low, IDLE_ENERGY: idle_w * call_s}


@dataclass(frozen=True)
class _Window:
    joules: float
    seconds: float
    num_calls: int

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


def _window(
    call: Callable[[], object], counters: EnergyCounters, clock: Clock, least_s: float
) -> _Window:
    """Calls a function, once at least, until a time is over."""
    start_j, start_s = counters.joules(), clock.now_s()
    num_calls, seconds = 0, 0.0
    while not num_calls or seconds < least_s:
        call()
        num_calls += 1
        seconds = clock.now_s() - start_s
    return _Window(counters.joules() - start_j, seconds, num_calls)


def _window_s(counters: EnergyCounters) -> float:
    return max(_SHORTEST_S, _UPDATES * counters.update_s)
