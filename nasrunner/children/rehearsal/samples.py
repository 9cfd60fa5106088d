"""Networks of a space to try before a study's first child."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nasrunner.children.blueprint import OutShape
from nasrunner.children.inputs import InDtype
from nasrunner.children.inspecting import measured
from nasrunner.core import ConfigError, Genotype, InShape, SearchSpace, Space, SpaceError
from nasrunner.core.machine.memory import least_memory_gb, memory_gb
from nasrunner.core.order import listed, rollout
from nasrunner.core.shapes import each_input

NUM_NETWORKS = 8
"""Networks of a space that are looked at; the smallest of them is trained first."""

_MAX_DRAWS = 30
_DRAWING_S = 1.0
"""How long networks are drawn once there is one: large ones take long even without weights."""

_MAX_LISTED = 1000
_LISTING_S = 10.0
"""Architectures that are all tried where no random one is possible, and how long."""


@dataclass(frozen=True)
class Samples:
    """What was found among some architectures of a space.

    Attributes:
        networks: those that are possible, smallest first.
        remark: a sentence where none is, although there may be others.
    """

    networks: list[SearchSpace]
    remark: str | None


def sampled(
    space: SearchSpace, in_shape: InShape, out_shape: OutShape, in_dtype: InDtype
) -> Samples:
    """Draws some networks of a space that are possible.

    Args:
        space: what is searched.
        in_shape, out_shape, in_dtype: as of ``measure``.

    Raises:
        ConfigError: the space has none, and why; or some are possible, but this machine's memory
            holds none of them.
    """
    least_gb, there_gb = math.inf, memory_gb()
    stage = space.at_proposal(0)
    reasons: Counter[str] = Counter()
    found: dict[str, tuple[int, SearchSpace]] = {}
    tried: set[str] = set()
    started = time.monotonic()
    is_complete = False
    for place, genotype in enumerate(_genotypes(stage)):
        if genotype is None:
            is_complete = True
            break
        limit_s = _DRAWING_S if found else _LISTING_S
        if time.monotonic() - started > limit_s or (found and place >= _MAX_DRAWS):
            break
        frozen = space.freeze(genotype)
        text = frozen.network.text()
        if text in tried:
            continue
        tried.add(text)
        try:
            parameters = measured(frozen, in_shape, out_shape, in_dtype).parameters
        except SpaceError as error:
            reasons[" ".join(str(error).split())] += 1
            continue
        least_gb = min(least_gb, needed_gb := least_memory_gb(parameters))
        if needed_gb > there_gb:
            continue
        if not found:  # a user's module is inspected in a process that takes seconds to start
            started = time.monotonic()
        found[text] = (parameters, frozen)
        if len(found) == NUM_NETWORKS:
            break
    if found:
        ordered = sorted(found.values(), key=lambda each: each[0])
        return Samples([frozen for _, frozen in ordered], None)
    if least_gb < math.inf:
        raise ConfigError(
            f"space: of the networks that were tried, the smallest takes {least_gb:,.6g} GB for "
            f"parameters and gradients, and this machine has {there_gb:,.4g} GB"
        )
    sizes = (out_shape,) if isinstance(out_shape, int) else out_shape
    outputs = f"data.num_outputs={sizes[0]}" if len(sizes) == 1 else f"outputs {sizes}"
    what = f"data.in_shape={each_input(in_shape, list)} and {outputs}"
    reason, _ = reasons.most_common(1)[0]
    if is_complete:
        count = len(tried)
        which = f"none of its {count:,} networks can" if count > 1 else "its network cannot"
        raise ConfigError(f"space: {which} be built for {what}: {reason}")
    return Samples(
        [],
        f"none of {len(tried)} random networks can be built for {what}; most often: {reason}",
    )


def _genotypes(space: Space) -> Iterator[Genotype | None]:
    """Random architectures; then each of a small space, and None."""
    rng = np.random.default_rng(0)
    yield from (rollout(space, rng) for _ in range(_MAX_DRAWS))
    if space.size() <= _MAX_LISTED:
        yield from listed(space)
        yield None
