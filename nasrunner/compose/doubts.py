"""What a user has probably not meant: one sentence each, before anything is trained."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.errors import ConfigError, SpaceError
from nasrunner.core.machine.memory import least_memory_gb
from nasrunner.core.order import listed, rollout
from nasrunner.core.ports import Blueprint
from nasrunner.core.search_space import SearchSpace
from nasrunner.study.rules import Rules

_NUM_LOOKED_AT, _LOOKING_S = 20, 5.0
_MAX_LISTED = 1000
"""Architectures of a space that are all looked at where no random one is within the limits."""


def doubt_of_target(config: Mapping[str, Any]) -> str | None:
    """One sentence where ``target_reward`` was probably meant as a value of a minimised metric."""
    target, task = config["target_reward"], config["task"]
    reward = task.get("reward") if isinstance(task, Mapping) else None
    if target is None or target <= 0 or not isinstance(reward, Mapping):
        return None
    if reward.get("mode") != "min" or not reward.get("power", 1) > 0:
        return None
    return (
        f"target_reward={target} is above 0, but with task.reward.mode=min a reward is minus "
        f"{reward.get('metric')}: the study ends early only where that is negative"
    )


def doubt_of_limits(
    space: SearchSpace, inspect: Callable[[Genotype], Blueprint], rules: Rules
) -> str | None:
    """One sentence where no random architecture is within the limits that a user has set.

    At most twenty are looked at, for a few seconds at most; where none is within, then each of a
    small space.

    Raises:
        ConfigError: no architecture of the space is within them.
    """
    limits = {
        "parameters": rules.max_parameters,
        "flops": rules.max_flops,
        "memory_gb": rules.max_memory_gb,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given:
        return None
    stage, rng = space.at_proposal(0), np.random.default_rng(0)
    drawn = (rollout(stage, rng) for _ in range(_NUM_LOOKED_AT))
    sizes, _ = _sizes(drawn, inspect, given)
    if not (beyond := _beyond(sizes, given)):
        return None
    name, count, smallest = beyond
    limit = f"limits.{name}={given[name]:,}"
    if space.size() <= _MAX_LISTED:  # of a space that grows this is all there ever is
        all_sizes, is_complete = _sizes(listed(stage), inspect, given)
        found = _beyond(all_sizes, given)
        if is_complete and found:
            name, _, smallest = found
            raise ConfigError(
                f"limits.{name}={given[name]:,}: no architecture of the space is within it, the "
                f"smallest has {smallest:,}"
            )
    return f"none of {count} random architectures is within {limit}: the smallest has {smallest:,}"


def _sizes(
    genotypes: Iterable[Genotype],
    inspect: Callable[[Genotype], Blueprint],
    names: Iterable[str],
) -> tuple[dict[str, list[float]], bool]:
    """The sizes of those that are possible, as far as there is time; whether all were looked at."""
    deadline = time.monotonic() + _LOOKING_S
    sizes: dict[str, list[float]] = {name: [] for name in names}
    for genotype in genotypes:
        if time.monotonic() > deadline:
            return sizes, False
        try:
            blueprint = inspect(genotype)
        except SpaceError:
            continue
        for name, found in sizes.items():
            if (size := _size(blueprint, name)) is not None:
                found.append(size)
    return sizes, True


def _beyond(
    sizes: Mapping[str, Sequence[float]], limits: Mapping[str, float]
) -> tuple[str, int, float] | None:
    """A limit that all sizes are beyond, how many these are, and the smallest; None: none is."""
    for name, limit in limits.items():
        if sizes[name] and min(sizes[name]) > limit:
            return name, len(sizes[name]), min(sizes[name])
    return None


def _size(blueprint: Blueprint, name: str) -> float | None:
    if name == "memory_gb":
        parameters = blueprint.parameters
        return None if parameters is None else least_memory_gb(parameters)
    size: int | None = getattr(blueprint, name)
    return size
