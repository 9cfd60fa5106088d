import dataclasses
from typing import Any

import pytest

from nasrunner.compose.doubts import doubt_of_limits, doubt_of_target
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


def test_a_target_of_scores_is_not_taken_for_one_of_the_tasks_metric() -> None:
    config = {
        "target_reward": 5.0,
        "task": {"reward": {"metric": "val_loss", "mode": "min", "power": 1}},
        "trainer": {"proxy": "synflow"},
    }
    assert doubt_of_target(config) is None
    assert doubt_of_target({**config, "trainer": {"max_epochs": 1}}) is not None


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
    space = chain(length=3, width=3)
    found = doubt_of_limits(space, ToyTrainer(space).inspect, dataclasses.replace(RULES, **limits))
    assert (found is None) if message is None else (found or "").startswith(message)
