"""Checks of what executors are given: they ask nothing of the machine, so they come first."""

from collections.abc import Sequence

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


def check_texts(name: str, value: object, or_null: bool = False) -> None:
    """Raises ConfigError unless ``executor.<name>`` is a list of strings."""
    if value is None and or_null:
        return
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"executor.{name} must be a list, as in [{value}]; got {value!r}")
    for each in value:
        if not isinstance(each, str):
            raise ConfigError(f"executor.{name} must be a list of strings, got {each!r} in it")
