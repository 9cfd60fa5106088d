"""Axes of rewards that show the many, though a few rewards may lie without end below them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from nasrunner.report.page.scales import plain_numbers
from nasrunner.report.page.style import colour_of

MAX_VECTOR = 2000
"""More marks than this are drawn as a picture, or the page would grow with them."""

_FEWEST = 20


def fence(rewards: Sequence[float], factor: float) -> float:
    """Returns the lowest reward that is not far out: ``factor`` spans of the better three quarters.

    The span is from the first quartile to the best, since a reward may be as low as a loss is
    high; -inf for less than twenty rewards.
    """
    if len(rewards) < _FEWEST:
        return -float("inf")
    quartile, best = np.quantile(rewards, [0.25, 1.0]).tolist()
    return float(quartile - factor * (best - quartile))


def limit_rewards(axes: Axes, places: Sequence[float], rewards: Sequence[float]) -> int:
    """Ends the y axis below most rewards, where a few low ones would press the rest together.

    Args:
        axes: what is drawn on.
        places: the x of each reward.
        rewards: at least one.

    Returns:
        How many are below the axis; each of them is marked with a triangle at its lower end.
    """
    plain_numbers(axes.yaxis, rewards)
    floor = fence(rewards, 3.0)
    below = [place for place, reward in zip(places, rewards, strict=True) if reward < floor]
    if not below:
        return 0
    high, low = max(rewards), min(reward for reward in rewards if reward >= floor)
    room = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - room, high + room)
    look = {"marker": "v", "markersize": 4, "color": colour_of("muted"), "alpha": 0.6}
    mark_at_end(axes, below, label="below the axis", **look)
    return len(below)


def mark_at_end(axes: Axes, places: Sequence[float], **look: Any) -> None:
    """Draws marks at the lower end of the y axis, wherever that is."""
    axes.plot(
        places,
        [0.02] * len(places),
        transform=axes.get_xaxis_transform(),
        linestyle="none",
        rasterized=len(places) > MAX_VECTOR,
        **look,
    )


def below_caption(num_below: int) -> str:
    """Returns what the triangles of ``limit_rewards`` mean."""
    if num_below == 1:
        return "One reward lies below the axis: the triangle."
    return f"{num_below:,} rewards lie below the axis: the triangles."
