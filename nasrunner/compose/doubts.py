"""What a user has probably not meant: one sentence each, before anything is trained."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.errors import ConfigError, SpaceError
from nasrunner.core.ledger.goal_settings import reward_of_task, reward_of_trainer
from nasrunner.core.machine.memory import least_memory_gb
from nasrunner.core.order import Place, listed, rollout
from nasrunner.core.ports import Blueprint
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import Space
from nasrunner.study.rules import Rules

_NUM_LOOKED_AT, _LOOKING_S = 20, 5.0
_MAX_LISTED = 1000
"""Architectures of a space that are all looked at where no random one is within the limits."""


def doubt_of_target(config: Mapping[str, Any]) -> str | None:
    """Returns one sentence where ``target_reward`` was probably meant as a value of a minimised
    metric.
    """
    target, reward = config["target_reward"], reward_of_task(config)
    if target is None or target <= 0 or reward_of_trainer(config) is not None:
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
    """Returns one sentence where no random architecture is within the limits that a user has set.

    At most twenty are looked at, for a few seconds at most; where none is within, then each of a
    small space, and of a larger one those on the way down from the smallest.

    Raises:
        ConfigError: none of these is within them either: a study would train nothing for ever.
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
    drawn = _Sizes(given, inspect, (rollout(stage, rng) for _ in range(_NUM_LOOKED_AT)))
    beyond = drawn.beyond()
    if beyond is None:
        return None
    if space.size() <= _MAX_LISTED:
        others = _Sizes(given, inspect, listed(stage))
    else:
        others = _Sizes(given, inspect, _smaller(stage, beyond, inspect))
    refused = others.beyond()
    if refused is not None and others.is_complete:
        is_all = space.size() <= _MAX_LISTED
        which = "no architecture of the space" if is_all else "no architecture that was found"
        raise ConfigError(
            f"limits.{refused.name}={given[refused.name]:,}: {which} is within it, the smallest "
            f"has {refused.smallest:,}"
        )
    return (
        f"none of {beyond.count} random architectures is within limits.{beyond.name}="
        f"{given[beyond.name]:,}: the smallest has {beyond.smallest:,}"
    )


@dataclass(frozen=True)
class _Beyond:
    """A limit that all architectures are beyond, how many these are, and the smallest."""

    name: str
    count: int
    smallest: float
    genotype: Genotype


class _Sizes:
    """The sizes of those architectures that are possible, as far as there is time.

    Attributes:
        is_complete: whether there was time for all.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        inspect: Callable[[Genotype], Blueprint],
        genotypes: Iterable[Genotype],
    ) -> None:
        self._limits = limits
        self._found: dict[str, list[tuple[float, Genotype]]] = {name: [] for name in limits}
        self.is_complete = False
        deadline = time.monotonic() + _LOOKING_S
        for genotype in genotypes:
            if time.monotonic() > deadline:
                return
            with contextlib.suppress(SpaceError):
                blueprint = inspect(genotype)
                for name, found in self._found.items():
                    if (size := _size(blueprint, name)) is not None:
                        found.append((size, genotype))
        self.is_complete = True

    def beyond(self) -> _Beyond | None:
        """Returns the first limit that all are beyond, if any."""
        for name, found in self._found.items():
            if found:
                smallest, genotype = min(found, key=lambda each: each[0])
                if smallest > self._limits[name]:
                    return _Beyond(name, len(found), smallest, genotype)
        return None


def _smaller(
    space: Space, beyond: _Beyond, inspect: Callable[[Genotype], Blueprint]
) -> Iterator[Genotype]:
    """Architectures on the way down from one, until no other answer to a decision is smaller."""
    genotype, smallest = beyond.genotype, beyond.smallest
    yield genotype
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for path, count in _options(space, genotype).items():
            for index in range(count):
                if path not in genotype or index == genotype[path]:
                    continue
                other = Place.of(space, {**genotype, path: index}).genotype
                yield other
                with contextlib.suppress(SpaceError):
                    size = _size(inspect(other), beyond.name)
                    if size is not None and size < smallest:
                        genotype, smallest, is_smaller = other, size, True


def _options(space: Space, genotype: Genotype) -> dict[str, int]:
    """How many options each decision of an architecture has."""
    counts: dict[str, int] = {}

    def replay(decision: Decision) -> int:
        counts[decision.path] = len(decision.options)
        return genotype[decision.path]

    space.walk(replay)
    return counts


def _size(blueprint: Blueprint, name: str) -> float | None:
    if name == "memory_gb":
        parameters = blueprint.parameters
        return None if parameters is None else least_memory_gb(parameters)
    size: int | None = getattr(blueprint, name)
    return size
