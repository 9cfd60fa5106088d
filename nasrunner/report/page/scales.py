"""Axes and their numbers as people read them."""

from collections.abc import Sequence

from matplotlib.axis import XAxis, YAxis
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator


def log_axis(axis: XAxis | YAxis, low: float, high: float) -> None:
    """Makes an axis logarithmic, for values from ``low`` > 0 to ``high``, with numbers people
    read.
    """
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    few = high > 300 * low
    axis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_readable))


def plain_numbers(axis: XAxis | YAxis, values: Sequence[float]) -> None:
    """Writes very large and very small values in full, not with a power at the axis' end."""
    largest = max(map(abs, values))
    if largest >= 1e5 or 0 < largest < 1e-3:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def si_numbers() -> EngFormatter:
    """Writes 1500 as 1.5k and 2000000 as 2M."""
    return EngFormatter(sep="")


def _readable(value: float, _: object) -> str:
    return f"{value:g}" if abs(value) < 1000 else si_numbers()(value)
