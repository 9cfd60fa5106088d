"""What a child's training would have cost, where a benchmark's table has no times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from nasrunner.core.annotations import Above, fits
from nasrunner.core.errors import ConfigError, suggest


@dataclass(frozen=True)
class LinearCost:
    """Seconds of a training as ``epochs`` times a sum over the architecture's symbols.

    Args:
        epochs: how many the training had, > 0.
        constant: seconds an epoch that every architecture takes.
        per_symbol: seconds an epoch that each occurrence of a symbol adds; every symbol has one.
    """

    epochs: Annotated[float, Above(0)]
    constant: float
    per_symbol: Mapping[str, float]

    def __post_init__(self) -> None:
        by_text = {str(symbol): seconds for symbol, seconds in self.per_symbol.items()}
        object.__setattr__(self, "per_symbol", by_text)  # YAML reads 8 as a number
        for name, value in by_text.items():
            if not fits(value, float):
                key = f"trainer.cost_s.per_symbol.{name!r}"
                raise ConfigError(f"{key} must be float, got {value!r}")

    def check(self, symbols: Sequence[str]) -> None:
        """Refuses to be silent about a symbol, or to speak of one that there is not.

        Raises:
            ConfigError: ``per_symbol`` lacks a symbol or names another.
        """
        key = "trainer.cost_s.per_symbol"
        for name in self.per_symbol:
            if name not in symbols:
                raise ConfigError(f"{key}: there is no symbol {name!r}, {suggest(name, symbols)}")
        for symbol in symbols:
            if symbol not in self.per_symbol:
                raise ConfigError(f"{key} needs the seconds an epoch of {symbol!r}; 0 for none")

    def seconds(self, symbols: Sequence[str]) -> float:
        """Returns the seconds of one architecture, given the symbol of each of its decisions."""
        per_epoch = self.constant + sum(self.per_symbol[symbol] for symbol in symbols)
        return self.epochs * per_epoch
