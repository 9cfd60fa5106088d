"""How the rewards of a study's children are made once they are scored otherwise."""

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nasrunner.children.tasks.reward import Reward
from nasrunner.compose.config import shipped_option
from nasrunner.compose.construct import construct
from nasrunner.core.annotations import annotations_of
from nasrunner.core.errors import ConfigError
from nasrunner.core.language.moved import with_present_targets
from nasrunner.core.ledger.goal_settings import reward_of_task, reward_of_trainer
from nasrunner.core.ledger.objectives import COSTS
from nasrunner.recorded import RecordedStudy

_TARGET = f"{Reward.__module__}.{Reward.__qualname__}"
_OF_A_METRIC = ("mode", "power", "scale")
"""What says nothing of another metric than the one that it was chosen for."""
_LOSSES = ("train_loss", "val_loss")


def rule_after(study: RecordedStudy, given: Mapping[str, Any]) -> Reward:
    """Makes the rule by which a study's children have another reward.

    What is not given is as the study searched, but for ``mode``, ``power`` and ``scale`` of another
    metric: these are ``max`` or ``min`` where it is known which is better, 1 and 1.

    Args:
        study: as it searched.
        given: arguments of ``Reward``.

    Raises:
        ConfigError: there is no metric or mode, or a value is not legal.
    """
    own = own_arguments(study) or _shipped()
    metric = given.get("metric", own.get("metric"))
    if metric is None:
        raise ConfigError("reward.metric is needed: which of the metrics of children is rewarded")
    if metric != own.get("metric"):
        own = {name: value for name, value in own.items() if name not in _OF_A_METRIC}
        own |= {"power": 1, "scale": 1.0} | _mode_of(str(metric), study.config)
    arguments = {**own, **given, "metric": metric}
    if "mode" not in arguments:
        raise ConfigError(
            f"reward.mode is needed: max if a higher {metric} is better, min if a lower one is"
        )
    rule = construct({"_target_": _TARGET, **arguments}, "reward")
    assert isinstance(rule, Reward)
    return rule


def own_rule(study: RecordedStudy) -> Reward | None:
    """Makes the rule that a study searched by; None: a table's, or a class of the user's own."""
    own = own_arguments(study)
    return None if own is None else construct({"_target_": _TARGET, **own}, "task.reward")


def own_arguments(study: RecordedStudy) -> dict[str, Any] | None:
    """Returns the arguments of the study's own ``Reward``; None: its rewards are of another."""
    given = with_present_targets(reward_of_task(study.config))
    if reward_of_trainer(study.config) is not None or given.get("_target_") != _TARGET:
        return None
    legal = annotations_of(Reward)
    needed = {n: value for n, value in _shipped().items() if legal[n][1] is inspect.Parameter.empty}
    known = {**needed, **study.reward}
    return {name: value for name, value in known.items() if name in legal}


def _shipped() -> dict[str, Any]:
    """The rule of any metric, as classification has it, without the metric and its direction."""
    reward = shipped_option("task", "classification")["reward"]
    return {n: v for n, v in reward.items() if n not in ("_target_", "metric", "mode")}


def _mode_of(metric: str, config: Mapping[str, Any]) -> dict[str, str]:
    """The direction of an objective of the study, or of what is a cost anywhere; else nothing."""
    given = (config.get("objectives") or {}).get(metric)
    goal = given.get("goal") if isinstance(given, Mapping) else given
    if goal is None and metric in (*_LOSSES, *COSTS):
        goal = "min"
    return {} if goal is None else {"mode": goal}


def config_after(
    study: RecordedStudy, goals: Mapping[str, Any], rule: Reward | None
) -> dict[str, Any]:
    """Returns a study's configuration as if it had searched with these rewards.

    Args:
        study: as it searched.
        goals: its ``objectives`` and ``scalarization`` then.
        rule: in the place of its own; None: that stays.
    """
    changed = {**study.config, **goals}
    if rule is not None:
        reward = {"_target_": _TARGET, **asdict(rule)}
        changed["task"] = {**(changed.get("task") or {}), "reward": reward}
        of_another = ("reward", "proxy")  # a table's column, a score
        trainer = changed["trainer"].items()
        changed["trainer"] = {name: value for name, value in trainer if name not in of_another}
    return changed
