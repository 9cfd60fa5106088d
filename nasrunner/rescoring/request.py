"""Reads ``reward=``, ``objectives=`` and ``scalarization=`` of commands that look at studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf

from nasrunner.children.tasks.reward import Reward
from nasrunner.compose.changes import check_kind, parse_overrides
from nasrunner.core.annotations import annotations_of
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.ledger.goal_settings import check_limits, read_goals

KEYS = ("reward", "objectives", "scalarization")
"""What a reward is made of; the first is the study's ``task.reward``."""


@dataclass(frozen=True)
class Rescoring:
    """What the rewards of recorded children are to be made of.

    Attributes:
        reward: arguments of ``Reward``; empty: rewards before a scalarization are the study's.
        goals: ``objectives`` and ``scalarization`` as dotted keys; what is not given is the
            study's.
    """

    reward: Mapping[str, Any]
    goals: Mapping[str, Any]

    def goals_after(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a study's objectives and scalarization with these changes.

        Where another reward is given without a scalarization, it is the reward itself.

        Raises:
            ConfigError: they cannot be read, or do not go together.
        """
        kept = {name: config.get(name) for name in KEYS[1:]}
        if self.reward:
            kept["scalarization"] = None
        tree = OmegaConf.create(kept)
        for key, value in self.goals.items():
            OmegaConf.update(tree, key, value, merge=False, force_add=True)
        changed = OmegaConf.to_container(tree)
        assert isinstance(changed, dict)
        found = {str(name): value for name, value in changed.items()}
        if (goals := read_goals(found)) is not None:
            check_limits(goals.objectives)
        return found


def is_of_reward(key: str) -> bool:
    """Tells whether a key is one of those that ``read_rescoring`` reads."""
    return key.partition(".")[0] in KEYS


def read_rescoring(arguments: Sequence[str]) -> Rescoring | None:
    """Reads arguments as Hydra does: ``reward=val_loss``, ``reward.mode=min``, ``objectives={…}``.

    Args:
        arguments: those that ``is_of_reward``.

    Returns:
        None without any.

    Raises:
        ConfigError: one cannot be read, is given twice, or has a key that does not exist.
    """
    reward: dict[str, Any] = {}
    goals: dict[str, Any] = {}
    for key, value in _read(arguments):
        if key.partition(".")[0] != "reward":
            _set(goals, key, value)
        elif key == "reward" and isinstance(value, Mapping):
            for name, each in value.items():
                _set(reward, str(name), each)
        else:
            _set(reward, "metric" if key == "reward" else key.partition(".")[2], value)
    legal = annotations_of(Reward)
    for name in reward:
        if name not in legal:
            raise ConfigError(f"reward.{name}: there is no such key, {suggest(name, legal)}")
    return Rescoring(reward, goals) if reward or goals else None


def _read(arguments: Sequence[str]) -> list[tuple[str, Any]]:
    try:
        overrides, _ = parse_overrides(arguments)
        for override in overrides:
            check_kind(override)
        # Hydra's quoted texts are no str.
        values = OmegaConf.create([each.value() for each in overrides])
    except HydraException as error:
        told = " ".join(str(error).split())
        raise ConfigError(f"{' '.join(arguments)} cannot be read: {told}") from error
    plain = OmegaConf.to_container(values)
    assert isinstance(plain, list)
    return list(zip([each.key_or_group for each in overrides], plain, strict=True))


def _set(into: dict[str, Any], key: str, value: Any) -> None:
    if key in into:
        raise ConfigError(f"{key} is given twice: {into[key]} and {value}")
    into[key] = value
