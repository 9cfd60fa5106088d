import dataclasses
from typing import Any

import pytest

from nasrunner.compose.doubts import doubt_of_limits, doubt_of_target
from nasrunner.core import Blueprint, ConfigError, Genotype
from tests.toys import RULES, ToyTrainer, chain


@pytest.mark.parametrize(
    ("target", "reward", "is_doubted"),
    [
        (0.05, {"metric": "val_loss", "mode": "min", "power": 1}, True),
        (-0.05, {"metric": "val_loss", "mode": "min", "power": 1}, False),
        (0.05, {"metric": "val_perplexity", "mode": "min", "power": -2}, False),
        (0.9, {"metric": "val_accuracy", "mode": "max", "power": 1}, False),
        (None, {"metric": "val_loss", "mode": "min", "power": 1}, False),
        (0.9, None, False),
    ],
)
def test_a_target_that_minus_a_loss_cannot_reach_is_told(
    target: float | None, reward: dict[str, Any] | None, is_doubted: bool
) -> None:
    found = doubt_of_target({"target_reward": target, "task": {"reward": reward}})
    assert (found is not None) == is_doubted
    if found is not None:
        assert found.startswith("target_reward=0.05 is above 0, but with task.reward.mode=min")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_parameters": 5}, "none of 20 random architectures is within limits.parameters=5: "),
        ({"max_flops": 0}, "none of 20 random architectures is within limits.flops=0: "),
        (
            {"max_memory_gb": 1e-9},
            "none of 20 random architectures is within limits.memory_gb=1e-09: ",
        ),
        ({"max_memory_gb": 1.0}, None),
        ({"max_parameters": 10_000_000}, None),
        ({}, None),
    ],
)
def test_limits_that_nothing_is_within_are_told(
    limits: dict[str, float], message: str | None
) -> None:
    space = chain(length=7, width=3)  # more than are listed
    found = doubt_of_limits(space, ToyTrainer(space).inspect, dataclasses.replace(RULES, **limits))
    assert (found is None) if message is None else (found or "").startswith(message)


@pytest.mark.parametrize("limits", [{"max_parameters": 5}, {"max_memory_gb": 1e-9}])
def test_limits_that_no_architecture_of_a_small_space_is_within_are_refused(
    limits: dict[str, float],
) -> None:
    space = chain(length=3, width=3)
    rules = dataclasses.replace(RULES, **limits)
    with pytest.raises(ConfigError, match="no architecture of the space is within it, the smalles"):
        doubt_of_limits(space, ToyTrainer(space).inspect, rules)


def test_a_limit_that_few_architectures_are_within_is_only_told() -> None:
    space = chain(length=6, width=3)

    def inspect(genotype: Genotype) -> Blueprint:
        return Blueprint("", {}, 1 + sum(genotype.values()), None)

    rules = dataclasses.replace(RULES, max_parameters=1)  # as the first of 729 has
    assert "none of 20 random architectures" in (doubt_of_limits(space, inspect, rules) or "")
    assert doubt_of_limits(space, inspect, dataclasses.replace(RULES, max_parameters=13)) is None
