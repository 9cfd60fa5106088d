"""The ranges of the numbers that Lightning's Trainer takes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from nasrunner.core import ConfigError

Legal = tuple[Callable[[Any], bool], str]
"""Whether a value is legal, and what is, in words."""


def _at_least(least: int, *, or_also: int | None = None) -> Legal:
    text = f">= {least}" if or_also is None else f"{or_also} or >= {least}"
    return lambda value: value >= least or value == or_also, text


_SHARE: Legal = (
    lambda value: value >= 1 if isinstance(value, int) else 0 < value <= 1,
    "a whole number of batches >= 1 or a share of them in (0, 1]",
)
_SHARE_OR_NONE: Legal = (
    lambda value: value >= 0 if isinstance(value, int) else 0 <= value <= 1,
    "a whole number of batches >= 0 or a share of them in [0, 1]",
)

_RANGES: Mapping[str, Legal] = {
    "max_epochs": _at_least(1, or_also=-1),
    "min_epochs": _at_least(0),
    "max_steps": _at_least(1, or_also=-1),
    "min_steps": _at_least(0),
    "accumulate_grad_batches": _at_least(1),
    "gradient_clip_val": _at_least(0),
    "limit_train_batches": _SHARE,
    "limit_val_batches": _SHARE_OR_NONE,
    "limit_test_batches": _SHARE,
    "overfit_batches": _SHARE_OR_NONE,
    "val_check_interval": _SHARE,
    "check_val_every_n_epoch": _at_least(1),
    "num_sanity_val_steps": _at_least(0, or_also=-1),
    "log_every_n_steps": _at_least(0),
    "reload_dataloaders_every_n_epochs": _at_least(0),
}
"""Numbers that Lightning takes, and then trains nothing with, ignores, or stumbles over later."""


def check_ranges(arguments: Mapping[str, Any]) -> None:
    """Refuses numbers and combinations of Lightning's arguments that cannot be honoured.

    Raises:
        ConfigError: names the argument, its value and what is legal.
    """
    for name, (is_legal, legal) in _RANGES.items():
        value = arguments.get(name)
        if isinstance(value, int | float) and not (math.isfinite(value) and is_legal(value)):
            raise ConfigError(f"trainer.{name} must be null or {legal}, got {value!r}")
    for unit in ("epochs", "steps"):
        least, most = arguments.get(f"min_{unit}"), arguments.get(f"max_{unit}")
        if least is not None and most not in (None, -1) and least > most:
            raise ConfigError(
                f"trainer.min_{unit}={least} must be at most trainer.max_{unit}={most}"
            )
    if arguments.get("gradient_clip_algorithm") and not arguments.get("gradient_clip_val"):
        raise ConfigError(
            f"trainer.gradient_clip_algorithm={arguments['gradient_clip_algorithm']} clips nothing "
            "without trainer.gradient_clip_val"
        )
