"""What a user has probably not meant: one sentence each, before anything is trained."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nasrunner.core.decision import Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.machine.memory import least_memory_gb
from nasrunner.core.order import rollout
from nasrunner.core.ports import Blueprint
from nasrunner.core.search_space import SearchSpace
from nasrunner.study.rules import Rules

_NUM_LOOKED_AT, _LOOKING_S = 20, 5.0


def doubt_of_target(config: Mapping[str, Any]) -> str | None:
    """One sentence where ``target_reward`` was probably meant as a value of a minimised metric."""
    target, task = config["target_reward"], config["task"]
    reward = task.get("reward") if isinstance(task, Mapping) else None
    if target is None or target <= 0 or not isinstance(reward, Mapping):
        return None
    if isinstance((config.get("trainer") or {}).get("proxy"), str):  # whose score is the reward
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

    At most twenty are looked at, for a few seconds at most.
    """
    limits = {
        "parameters": rules.max_parameters,
        "flops": rules.max_flops,
        "memory_gb": rules.max_memory_gb,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given:
        return None
    rng, deadline = np.random.default_rng(0), time.monotonic() + _LOOKING_S
    sizes: dict[str, list[float]] = {name: [] for name in given}
    for _ in range(_NUM_LOOKED_AT):
        if time.monotonic() > deadline:
            break
        try:
            blueprint = inspect(rollout(space.at_proposal(0), rng))
        except SpaceError:
            continue
        for name in given:
            if (size := _size(blueprint, name)) is not None:
                sizes[name].append(size)
    for name, limit in given.items():
        if sizes[name] and min(sizes[name]) > limit:
            return (
                f"none of {len(sizes[name])} random architectures is within limits.{name}="
                f"{limit:,}: the smallest has {min(sizes[name]):,}"
            )
    return None


def _size(blueprint: Blueprint, name: str) -> float | None:
    if name == "memory_gb":
        parameters = blueprint.parameters
        return None if parameters is None else least_memory_gb(parameters)
    size: int | None = getattr(blueprint, name)
    return size
