"""Checks of the numbers that executors are given."""

from nasrunner.core import ConfigError


def check_count(name: str, value: object, least: int, or_null: bool = False) -> None:
    """Raises ConfigError unless ``executor.<name>`` is a whole number of at least ``least``."""
    if value is None and or_null:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        legal = f"a whole number >= {least}{' or null' if or_null else ''}"
        raise ConfigError(f"executor.{name} must be {legal}, got {value!r}")


def check_seconds(name: str, value: object) -> None:
    """Raises ConfigError unless ``executor.<name>`` is a positive number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"executor.{name} must be a number of seconds > 0, got {value!r}")
