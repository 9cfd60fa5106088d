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


@pytest.mark.parametrize("trainer", [{"proxy": "synflow"}, {"reward": "c10_valid_12"}])
def test_a_target_of_another_reward_is_not_taken_for_one_of_the_tasks_metric(
    trainer: dict[str, str],
) -> None:
    config = {
        "target_reward": 5.0,
        "task": {"reward": {"metric": "val_loss", "mode": "min", "power": 1}},
        "trainer": trainer,
    }
    assert doubt_of_target(config) is None
    assert doubt_of_target({**config, "trainer": {"max_epochs": 1}}) is not None


@pytest.mark.parametrize(
    "limits", [{"max_memory_gb": 1.0}, {"max_parameters": 10_000_000}, {}], ids=str
)
def test_limits_that_something_is_within_are_no_doubt(limits: dict[str, float]) -> None:
    space = chain(length=3, width=3)
    rules = dataclasses.replace(RULES, **limits)
    assert doubt_of_limits(space, ToyTrainer(space).inspect, rules) is None


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_parameters": 5}, r"limits.parameters=5: no architecture .* has 100$"),
        ({"max_flops": 0}, r"limits.flops=0: no architecture .* has 200$"),
        ({"max_memory_gb": 1e-9}, r"limits.memory_gb=1e-09: no architecture .*"),
    ],
)
@pytest.mark.parametrize(("length", "which"), [(3, "of the space"), (9, "that was found")])
def test_limits_that_nothing_is_within_are_refused(
    limits: dict[str, float], message: str, length: int, which: str
) -> None:
    space = chain(length=length, width=3)
    rules = dataclasses.replace(RULES, **limits)
    with pytest.raises(ConfigError, match=message) as refused:
        doubt_of_limits(space, ToyTrainer(space).inspect, rules)
    assert f"no architecture {which} is within it, the smallest has" in str(refused.value)


@pytest.mark.parametrize("length", [6, 12])
def test_a_limit_that_few_architectures_are_within_is_only_told(length: int) -> None:
    space = chain(length=length, width=3)

    def inspect(genotype: Genotype) -> Blueprint:
        return Blueprint("", {}, 1 + sum(genotype.values()), None)

    rules = dataclasses.replace(RULES, max_parameters=1)  # as the first of 729 or 531,441 has
    assert "none of 20 random architectures" in (doubt_of_limits(space, inspect, rules) or "")
    rules = dataclasses.replace(RULES, max_parameters=2 * length + 1)
    assert doubt_of_limits(space, inspect, rules) is None
