"""The typed skeleton of the configuration: a misspelt or wrongly typed key fails at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from nasrunner import overrides
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.rules import Rules

GRID = "grid_of_retraining"
"""The primary configuration of the group ``grid``, which no study has."""


@dataclass
class LimitsConfig:
    """Children above these are invalid."""

    parameters: int | None = MISSING
    flops: int | None = MISSING
    memory_gb: float | None = MISSING


@dataclass
class StudyConfig:
    """The top level of the configuration. Groups stay open: each names its own class."""

    study: str = MISSING
    seed: int = MISSING
    max_children: int | None = MISSING
    max_hours: float | None = MISSING
    target_reward: float | None = MISSING
    max_failures: int | None = MISSING
    duplicates: str = MISSING
    failed_reward: Any = MISSING
    limits: LimitsConfig = MISSING
    resume: str | None = MISSING
    trust: bool = False
    space: Any = MISSING
    searcher: Any = MISSING
    baseline: Any = None
    data: Any = MISSING
    task: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    trainer: Any = MISSING
    executor: Any = MISSING
    tracker: Any = MISSING


def config_dir() -> Path:
    """Where the shipped configuration lies: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def register() -> None:
    """Makes the skeleton known to Hydra as ``schema``, and ``GRID`` beside it.

    Overrides of decisions work from then on, too.
    """
    overrides.register()
    store = ConfigStore.instance()
    store.store(name="schema", node=StudyConfig)
    store.store(name=GRID, node={"defaults": [{"grid": MISSING}, "_self_"]})


def rules_from(config: dict[str, Any]) -> Rules:
    """The rules of a study from its resolved configuration.

    Raises:
        ConfigError: a budget, limit or policy is not legal.
    """
    limits = config["limits"]
    for key, value in {
        "max_children": config["max_children"],
        "max_hours": config["max_hours"],
        "limits.parameters": limits["parameters"],
        "limits.flops": limits["flops"],
        "limits.memory_gb": limits.get("memory_gb"),
    }.items():
        if value is not None and value <= 0:
            raise ConfigError(f"{key} must be above 0, or null for no limit; got {value}")
    for key in ("seed", "max_failures"):
        if config[key] is not None and config[key] < 0:
            raise ConfigError(f"{key} must be >= 0, got {config[key]}")
    if config["duplicates"] not in ("reuse", "resample", "retrain"):
        legal = suggest(config["duplicates"], ("reuse", "resample", "retrain"))
        raise ConfigError(f"duplicates={config['duplicates']} is no policy, {legal}")
    failed = config["failed_reward"]
    is_number = isinstance(failed, int | float) and not isinstance(failed, bool)
    if failed not in ("worst", "ignore") and not is_number:
        raise ConfigError(f"failed_reward must be worst, ignore or a number, got {failed!r}")
    return Rules(
        seed=config["seed"],
        max_children=config["max_children"],
        max_hours=config["max_hours"],
        target_reward=config["target_reward"],
        max_failures=config["max_failures"],
        duplicates=config["duplicates"],
        failed_reward=failed,
        max_parameters=limits["parameters"],
        max_flops=limits["flops"],
        max_memory_gb=limits.get("memory_gb"),  # studies of earlier versions lack it
    )
