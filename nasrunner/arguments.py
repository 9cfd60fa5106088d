"""What a user typed after ``nasrunner``: put in order, and checked, before Hydra reads it."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep

from nasrunner.compose import config as skeleton
from nasrunner.compose.config import config_dir
from nasrunner.compose.searched import resolved
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.language.leaves import LEAVES
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.screen.text import printable

_ASK_FOR_OTHERS = ("run", "multirun", "cfg", "info", "shell_completion")
"""Hydra's flags of which each asks for something else."""


@dataclass(frozen=True)
class CommandArguments:
    """A command line.

    Attributes:
        flags: Hydra's flags with their values.
        overrides: what is written key=value, in the order it was given.
        own_dir: the user's own configuration folder, if there is one.
        is_multirun: whether the flags ask for a multirun.
        is_shown: whether they ask for the configuration, without running it.
    """

    flags: tuple[str, ...]
    overrides: tuple[str, ...]
    own_dir: Path | None
    is_multirun: bool
    is_shown: bool

    @property
    def resumed(self) -> str | None:
        """The value of ``resume=``, as it was typed; None: nothing is resumed."""
        given = [each.partition("=")[2] for each in self.overrides if each.startswith("resume=")]
        return given[-1] if given and given[-1] not in ("", "null") else None


def read_arguments(typed: Sequence[str]) -> CommandArguments:
    """Returns the flags and overrides of a command line, wherever they stand in it.

    Raises:
        ConfigError: two flags ask for different things, or an override can have no meaning.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # its own prints the usage, too
    given = parser.parse_intermixed_args(typed)
    _check_flags(given)
    overrides = list(given.overrides)
    left, flags = list(overrides), []
    for each in typed:
        if left and each == left[0]:
            left.pop(0)
        else:
            flags.append(each)
    own_dir = Path(given.config_dir) if given.config_dir is not None else None
    is_shown = given.cfg is not None
    arguments = CommandArguments(tuple(flags), tuple(overrides), own_dir, given.multirun, is_shown)
    if given.config_dir == "sweeps" and not Path("sweeps").is_dir():
        arguments = _with_shipped_sweeps(arguments)
    return replace(arguments, overrides=checked(arguments.overrides, arguments.own_dir))


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; overrides are written key=value, without dashes")


def checked(overrides: Sequence[str], own_dir: Path | None) -> tuple[str, ...]:
    """Returns overrides as Hydra can take them.

    Raises:
        ConfigError: one has no key or value, or is no option of its group.
    """
    return tuple(part for each in overrides for part in _checked(each, own_dir))


def checked_without_job(
    overrides: Sequence[str], own_dir: Path | None, program: str
) -> tuple[str, ...]:
    """Returns overrides as of ``checked``, for a command that is no job of Hydra's.

    Raises:
        ConfigError: likewise; or one is of Hydra's own settings, which nothing there would obey.
    """
    for each in overrides:
        key = each.partition("=")[0].lstrip("+~")
        if key.startswith(("hydra.", "hydra/")) and key != "hydra.searchpath":
            raise ConfigError(
                f"{each}: {program} is no job of Hydra's, whose settings would be ignored; legal "
                "of these is hydra.searchpath"
            )
    return checked(overrides, own_dir)


def composed(
    overrides: Sequence[str], own_dir: Path | None, program: str, groups: Sequence[str]
) -> dict[str, Any]:
    """Groups of the configuration that overrides give, resolved, for a command that is no job.

    What own data say of themselves is printed.

    Raises:
        ConfigError: as of ``checked_without_job``, or of what the configuration says of its data.
    """
    search_path = [skeleton.search_path(own_dir)] if own_dir else []
    given = checked_without_job(overrides, own_dir, program)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", overrides=[*given, *search_path])
    skeleton.check_keys(config)
    if told := skeleton.complete_data(config):
        sys.stdout.write(f"{printable(told)}\n")
    plain = resolved(config, groups)
    find_user_modules(plain, lambda: [Path.cwd()])
    return plain


def options_of(group: str, own_dir: Path | None) -> list[str]:
    """Returns the options of a group, shipped and the user's own."""
    folders = [folder / group for folder in (config_dir(), own_dir) if folder is not None]
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def _check_flags(given: argparse.Namespace) -> None:
    asked = [name for name in _ASK_FOR_OTHERS if getattr(given, name)]
    if len(asked) > 1:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise ConfigError(f"{named} cannot be given together: each asks for something else")
    if given.resolve and given.cfg is None and not given.help:
        raise ConfigError("--resolve is for --cfg, as in --cfg job --resolve")


def _with_shipped_sweeps(arguments: CommandArguments) -> CommandArguments:
    """``--config-dir sweeps`` where there is no such folder: the sweeps that lie in the wheel."""
    package = Path(__file__).parent
    shipped = next(
        each / "sweeps" for each in (package, package.parent) if (each / "sweeps").is_dir()
    )
    flags = list(arguments.flags)
    for place, flag in enumerate(flags):
        if flag in ("--config-dir=sweeps", "-cd=sweeps", "sweeps"):
            flags[place] = flag.replace("sweeps", str(shipped))
    return replace(arguments, flags=tuple(flags), own_dir=shipped)


def _checked(override: str, own_dir: Path | None) -> Sequence[str]:
    """An override as Hydra can take it; nothing where it says what is so anyway.

    Raises:
        ConfigError: it has no key or value, or is no option of its group.
    """
    key, is_given, text = override.partition("=")
    if key.startswith("~"):
        return [override]
    if not is_given:
        raise ConfigError(f"{override!r} has no value; overrides are written key=value")
    if not key.lstrip("+").strip():
        raise ConfigError(f"{override} has no key; overrides are written key=value")
    if not text.strip():
        raise ConfigError(
            f"{override} has no value; {key}=null is none, and {key}=\"''\" an empty text"
        )
    if key == "resume":  # a folder's name, whatever is in it
        return [override]
    group = key.lstrip("+")
    if "/" not in group and not (config_dir() / group).is_dir():
        return [override]
    return _checked_option(override, options_of(group, own_dir), own_dir)


def _checked_option(override: str, options: Sequence[str], own_dir: Path | None) -> Sequence[str]:
    parsed = OverridesParser.create().parse_override(override)
    group, value = parsed.key_or_group, parsed.value()
    if value is None and group == "experiment":
        return []
    if isinstance(value, dict) and group == "data" and next(iter(value), None) in LEAVES:
        raise ConfigError(
            f"{group} is one data set for all children, got {override}; a study for each is "
            f"--multirun {group}=option1,option2"
        )
    text = override.partition("=")[2].strip()
    if text in options and not isinstance(value, str | dict):  # named as a number is, 2024 or inf
        return [f"{override.partition('=')[0]}='{text}'"]
    if isinstance(value, dict):  # in the place of an option
        return [override] if override.startswith("+") else [f"~{group}", f"+{override}"]
    if own_dir is not None and (own_dir / group / f"{text}.yml").is_file() and text not in options:
        raise ConfigError(f"{override}: {own_dir / group / text}.yml must be named {text}.yaml")
    for each in value.list if isinstance(value, ChoiceSweep) else [value]:
        if isinstance(each, list) and group != "experiment":  # Hydra would mix the options
            names = ",".join(map(str, each))
            at_once = f"; all in one study is {group}=several" if "several" in options else ""
            raise ConfigError(
                f"{group} takes one option, got {each}; a study for each is --multirun "
                f"{group}={names}{at_once}"
            )
        if each is None and "none" in options:
            override = re.sub(r"(?<![^=,])null(?![^,])", "none", override)
        elif each is None or isinstance(each, int | float | dict):
            shown = "null" if each is None else each
            legal = suggest(str(shown), options)
            raise ConfigError(f"{group}={shown} is no option of the group {group}, {legal}")
    return [override]
