"""What ``resume=`` continues: a study with its own configuration, or the studies of a multirun."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from nasrunner.arguments import CommandArguments
from nasrunner.command_line import truth
from nasrunner.compose import config as skeleton
from nasrunner.compose.changes import (
    check_kind,
    exchanged_groups,
    override_config,
    parse_overrides,
)
from nasrunner.compose.overrides import check_place
from nasrunner.compose.saved import MAY_CHANGE, STUDY_GROUPS, saved_config
from nasrunner.compose.signature import why_not_own
from nasrunner.compose.trackers import located
from nasrunner.compose.trust import GROUPS, is_own
from nasrunner.compose.upgrade import upgraded
from nasrunner.core.errors import ConfigError
from nasrunner.core.screen.text import printable
from nasrunner.recorded import resumable

_MAY_BE_EXCHANGED = ("executor", "tracker", "baseline")
"""The groups of which a resumed study may take another option."""

_PLACES = ("hydra.sweep.dir", "hydra.run.dir", "hydra.mode")


@dataclass(frozen=True)
class ResumedCommand:
    """What goes on.

    Attributes:
        config: a study's own saved configuration, with what was changed; None for a multirun,
            whose studies are composed as they were.
        arguments: with which Hydra works in its folder, and leaves no other behind.
    """

    config: dict[str, Any] | None
    arguments: CommandArguments


def resume(arguments: CommandArguments) -> ResumedCommand:
    """Returns the study or multirun that ``resume=`` names, with the budgets and places that may
    change.

    Raises:
        ConfigError: there is no such study, or what was asked for cannot change.
    """
    assert arguments.resumed is not None
    if arguments.is_multirun:
        raise ConfigError("resume= continues what was begun, so --multirun cannot be given with it")
    folder = resumable(arguments.resumed, _warn)
    if "${" in str(folder):
        raise ConfigError(
            f"resume={folder}: Hydra takes ${{…}} in a name for a reference; rename it"
        )
    given = [each for each in arguments.overrides if not each.startswith(("resume=", "trust="))]
    trust = _is_trusted(each for each in arguments.overrides if each.startswith("trust="))
    parsed, paths = parse_overrides(given)
    for_hydra = [each for each in parsed if each.key_or_group.startswith("hydra")]
    changes = [each for each in parsed if each not in for_hydra]
    _check_may_change(changes)
    if (folder / "multirun.yaml").is_file():
        if arguments.is_shown:
            raise ConfigError(
                f"resume={folder} is a multirun: --cfg shows one study of it, as {folder / '0'}"
            )
        return ResumedCommand(None, _arguments_of(folder, arguments.flags, given, trust=trust))
    exchanged = exchanged_groups(changes)
    builds = [group for group in GROUPS if group not in exchanged]
    saved = upgraded(saved_config(folder, builds=builds, trust=trust), STUDY_GROUPS, _warn)
    if "tracker" in saved and (trust or is_own(folder)):
        saved["tracker"] = located(saved["tracker"], folder)
    if arguments.own_dir is not None:
        paths += parse_overrides([skeleton.search_path(arguments.own_dir)])[1]
    config = override_config(OmegaConf.create(saved), changes, paths, _MAY_BE_EXCHANGED)
    overrides = (
        *(str(each.input_line) for each in for_hydra),
        f"hydra.run.dir={skeleton.quoted(str(folder))}",
        "hydra.output_subdir=null",
    )
    return ResumedCommand(
        {**config, "baseline": config["baseline"] or None, "resume": None, "trust": False},
        replace(arguments, overrides=overrides),
    )


def _check_may_change(changes: Iterable[Override]) -> None:
    budgets = OmegaConf.structured(skeleton.StudyConfig)
    for override in changes:
        check_kind(override)
        key = override.key_or_group
        if key.partition(".")[0] not in MAY_CHANGE:
            raise ConfigError(
                f"{key} cannot change when a study is resumed. Legal: {', '.join(MAY_CHANGE)}"
            )
        check_place(key, override.value())
        if "." not in key and key not in _MAY_BE_EXCHANGED:
            OmegaConf.update(budgets, key, override.value())  # of the right type


def _is_trusted(overrides: Iterable[str]) -> bool:
    values = [each.partition("=")[2] for each in overrides] or ["false"]
    return truth("trust", values[-1])


def _arguments_of(
    folder: Path, flags: Sequence[str], changes: Sequence[str], *, trust: bool
) -> CommandArguments:
    """The command line of a multirun once more, as it was noted down, for the same folder.

    Raises:
        ConfigError: it may be a stranger's, whose command line could name any code.
    """
    path = folder / "multirun.yaml"
    stranger = None if trust else why_not_own(path.read_text(encoding="utf-8"))
    if stranger is not None:
        raise ConfigError(
            f"{folder} may be a stranger's multirun (of {path.name}: {stranger}), whose studies "
            "would be composed as it says; trust=true takes it all the same"
        )
    noted = OmegaConf.load(path)
    before = [
        *(str(each) for each in OmegaConf.select(noted, "hydra.overrides.task")),
        *(
            str(each)
            for each in OmegaConf.select(noted, "hydra.overrides.hydra")
            if str(each).partition("=")[0] not in _PLACES
        ),
    ]
    own = [
        ("--config-dir", str(source.path))
        for source in OmegaConf.select(noted, "hydra.runtime.config_sources")
        if source.provider == "command-line"
    ]
    name = ("--config-name", str(OmegaConf.select(noted, "hydra.job.config_name")))
    return CommandArguments(
        flags=("--multirun", *name, *(part for pair in own for part in pair), *flags),
        overrides=(
            *before,
            *changes,
            f"hydra.sweep.dir={skeleton.quoted(str(folder))}",
            "hydra.callbacks.look_before.goes_on=true",
        ),
        own_dir=Path(own[0][1]) if own else None,
        is_multirun=True,
        is_shown=False,
    )


def _warn(sentence: str) -> None:
    sys.stderr.write(f"warning: {printable(sentence)}\n")
