"""Networks of a space to try before a study's first child."""

import math
import time

import numpy as np

from nasrunner.children.blueprint import on_meta
from nasrunner.core import ConfigError, SearchSpace, Shape, SpaceError
from nasrunner.core.memory import least_memory_gb, memory_gb

NUM_NETWORKS = 8
"""Networks of a space that are looked at; the smallest of them is trained first."""

_MAX_DRAWS = 30
_DRAWING_S = 1.0
"""How long networks are drawn once there is one: large ones take long even without weights."""


def sampled(
    space: SearchSpace, in_shape: Shape, num_outputs: int, in_dtype: str
) -> list[SearchSpace]:
    """Some networks of a space that are possible, smallest first.

    Args:
        space: what is searched.
        in_shape, num_outputs, in_dtype: as of ``draw_up``.

    Raises:
        ConfigError: some are possible, but this machine's memory holds none of them.
    """
    least_gb, there_gb = math.inf, memory_gb()
    rng = np.random.default_rng(0)
    drawn = space.at_proposal(0)
    found: dict[str, tuple[int, SearchSpace]] = {}
    deadline = time.monotonic() + _DRAWING_S
    for _ in range(_MAX_DRAWS):
        frozen = space.freeze(drawn.walk(lambda d: int(rng.integers(len(d.options)))))
        text = frozen.network.text()
        if text in found:
            continue
        try:
            network = on_meta(frozen, in_shape, num_outputs, in_dtype)
        except SpaceError:
            continue
        parameters = sum(p.numel() for p in network.parameters())
        least_gb = min(least_gb, needed_gb := least_memory_gb(parameters))
        if needed_gb > there_gb:
            continue
        found[text] = (parameters, frozen)
        if len(found) == NUM_NETWORKS or time.monotonic() > deadline:
            break
    if not found and least_gb < math.inf:
        raise ConfigError(
            f"space: of the networks that were tried, the smallest takes {least_gb:,.6g} GB for "
            f"parameters and gradients, and this machine has {there_gb:,.4g} GB"
        )
    return [frozen for _, frozen in sorted(found.values(), key=lambda each: each[0])]
