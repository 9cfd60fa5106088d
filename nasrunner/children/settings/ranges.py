"""The ranges of the numbers that Lightning's Trainer takes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from nasrunner.core import ConfigError
from nasrunner.core.annotations import AtLeast, Count, Within, fits, readable

_Number = Annotated[int, AtLeast(0)]
_Batches = Count | Annotated[float, Within("(0, 1]")]
_BatchesOrNone = _Number | Annotated[float, Within("[0, 1]")]

_RANGES: Mapping[str, Any] = {
    "max_epochs": Count | Literal[-1],
    "min_epochs": _Number,
    "max_steps": Count | Literal[-1],
    "min_steps": _Number,
    "accumulate_grad_batches": Count,
    "gradient_clip_val": Annotated[float, AtLeast(0)],
    "limit_train_batches": _Batches,
    "limit_val_batches": _BatchesOrNone,
    "limit_test_batches": _Batches,
    "overfit_batches": _BatchesOrNone,
    "val_check_interval": _Batches,
    "check_val_every_n_epoch": Count,
    "num_sanity_val_steps": _Number | Literal[-1],
    "log_every_n_steps": _Number,
    "reload_dataloaders_every_n_epochs": _Number,
}
"""Numbers that Lightning takes, and then trains nothing with, ignores, or stumbles over later."""


def check_ranges(arguments: Mapping[str, Any]) -> None:
    """Refuses numbers and combinations of Lightning's arguments that cannot be honoured.

    Raises:
        ConfigError: names the argument, its value and what is legal.
    """
    for name, legal in _RANGES.items():
        if not fits(value := arguments.get(name), legal | None):
            raise ConfigError(f"trainer.{name} must be {readable(legal | None)}, got {value!r}")
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
