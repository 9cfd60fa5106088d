"""The command ``nasrunner``: composes a configuration with Hydra and runs the study."""

import os
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrunner import config as skeleton
from nasrunner import multirun
from nasrunner.arguments import Arguments, read_arguments
from nasrunner.changes import check_kind, override_config, parse_overrides
from nasrunner.command_line import fail, one_sentence, sentence, version
from nasrunner.composition import takes
from nasrunner.core.commands import resume_command
from nasrunner.core.errors import ConfigError, NasRunnerError, suggest
from nasrunner.launch import MAY_CHANGE, STUDY_GROUPS, run_study, saved_config
from nasrunner.recorded import resumable
from nasrunner.searched import resolved
from nasrunner.study_folder import StudyFolder
from nasrunner.upgrade import upgraded

_MAY_BE_EXCHANGED = ("executor", "tracker", "baseline")
"""The groups of which a resumed study may take another option."""

_PROGRAM = "nasrunner"


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    if "--version" in sys.argv[1:]:  # not Hydra's
        sys.stdout.write(f"{version()}\n")
        return
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and we tell it better
    skeleton.register()
    multirun.register()
    # What it warns of is meant: our file replaces an entry of the same name in Hydra's store.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against")
    with one_sentence(_PROGRAM, "stopped at once", _explain):
        arguments = read_arguments(sys.argv[1:])
        resumed = None if arguments.resumed is None else _resumed(arguments)
        if resumed is not None:
            arguments = resumed.arguments
        sys.argv[1:] = [*arguments.flags, *arguments.overrides]

        def job(composed: DictConfig) -> float | None:
            return _job(composed, resumed)

        conf = str(skeleton.config_dir())
        hydra.main(version_base="1.3", config_path=conf, config_name="config")(job)()


@dataclass(frozen=True)
class Resumed:
    """A study that goes on.

    Attributes:
        config: its own saved configuration, with what was changed.
        arguments: with which Hydra works in its folder, and leaves no other behind.
    """

    config: dict[str, Any]
    arguments: Arguments


def _job(composed: DictConfig, resumed: Resumed | None) -> float | None:
    """One study; returns its best reward, which a Hydra sweeper may use."""
    runtime = HydraConfig.get()
    is_multirun = runtime.mode == RunMode.MULTIRUN
    folder = StudyFolder(Path(runtime.runtime.output_dir), f"{runtime.job.name}.log")
    try:
        if resumed is not None:
            config = resumed.config
        else:
            config = _plain(composed, Path(runtime.runtime.cwd))
            folder.claim(config, may_go_on=is_multirun and multirun.is_job(runtime))
            folder.note_call(composed, runtime)
        summary = run_study(config, folder.path)
        if summary.failure is not None and is_multirun:
            raise NasRunnerError(summary.failure)
    except (NasRunnerError, OmegaConfBaseException) as error:
        folder.clear()
        if is_multirun:  # the others run; their launcher tells in the end
            sys.stderr.write(f"{_PROGRAM}: {folder.path}: {_explain(error)}\n")
            raise NasRunnerError(f"{folder.path}: {_explain(error)}") from None
        fail(_PROGRAM, _explain(error))  # leaves from here: Hydra would add lines of its own
    except BaseException as error:
        folder.clear()
        if isinstance(error, KeyboardInterrupt) and folder.has_begun:
            raise KeyboardInterrupt(resume_command(folder.path)) from None
        raise
    if summary.reason == "interrupted":
        sys.exit(130)
    if summary.failure is not None:
        sys.exit(1)
    return summary.best[0]["reward"] if summary.best else None


def _plain(composed: DictConfig, started_in: Path) -> dict[str, Any]:
    """The composed configuration, resolved.

    Where Hydra has changed to the study's folder (``hydra.job.chdir=true``), relative places stay
    where the command was started.

    Raises:
        ConfigError: it lacks what networks are built for.
    """
    skeleton.check_data(composed)
    plain = resolved(composed)
    if Path.cwd() != started_in:
        anchor(plain, started_in)
    return {**plain, "baseline": plain["baseline"] or None}


def anchor(config: dict[str, Any], folder: Path) -> None:
    """Makes relative places in a configuration absolute."""
    for group, key, scheme in (
        ("tracker", "tracking_uri", "sqlite:///"),
        ("tracker", "artifact_uri", ""),
        ("data", "root", ""),
    ):
        value = config[group].get(key)
        if isinstance(value, str) and value.startswith(scheme):
            place = value.removeprefix(scheme)
            if "://" not in place:
                config[group][key] = f"{scheme}{folder / place}"


def _resumed(arguments: Arguments) -> Resumed:
    """The study that ``resume=`` names, with the budgets and places that may change.

    Raises:
        ConfigError: there is no such study, or what was asked for cannot change.
    """
    assert arguments.resumed is not None
    if arguments.is_multirun:
        raise ConfigError("resume= continues one study, so --multirun cannot be given with it")
    folder = resumable(arguments.resumed, _warn)
    saved = upgraded(saved_config(folder), STUDY_GROUPS, _warn)
    given = [each for each in arguments.overrides if not each.startswith("resume=")]
    parsed, paths = parse_overrides(given)
    if arguments.own_dir is not None:
        paths += parse_overrides([skeleton.search_path(arguments.own_dir)])[1]
    for_hydra = [each for each in parsed if each.key_or_group.startswith("hydra")]
    changes = [each for each in parsed if each not in for_hydra]
    budgets = OmegaConf.structured(skeleton.StudyConfig)
    for override in changes:
        check_kind(override)
        key = override.key_or_group
        if key.partition(".")[0] not in MAY_CHANGE:
            raise ConfigError(
                f"{key} cannot change when a study is resumed. Legal: {', '.join(MAY_CHANGE)}"
            )
        if "." not in key and key not in _MAY_BE_EXCHANGED:
            OmegaConf.update(budgets, key, override.value())  # of the right type
    config = override_config(OmegaConf.create(saved), changes, paths, _MAY_BE_EXCHANGED)
    overrides = [
        *(str(each.input_line) for each in for_hydra),
        f"hydra.run.dir={skeleton.quoted(str(folder))}",
        "hydra.output_subdir=null",
    ]
    return Resumed(
        {**config, "baseline": config["baseline"] or None, "resume": None},
        replace(arguments, overrides=tuple(overrides)),
    )


def _warn(sentence: str) -> None:
    sys.stderr.write(f"warning: {sentence}\n")


def _explain(error: Exception) -> str:
    """An error as one sentence, with the legal keys where one was misspelt."""
    text = sentence(error)
    text = re.sub(r" (reference_type|object_type)=\S+| Config search path:.*", "", text)
    unknown = re.search(r"not in \S+ full_key: (\S+)|Could not override '(\S+)'. No match", text)
    if isinstance(error, ConfigCompositionException) and unknown:
        key = re.sub(r"\[(\d+)\]", r".\1", unknown.group(1) or unknown.group(2))
        parent, _, name = key.rpartition(".")
        node = _composed_node(parent)
        if takes(node, name):
            typed = next((each for each in sys.argv if each.startswith(f"{key}=")), f"{key}=…")
            return f"the configuration has no {key!r} yet: +{typed} adds it"
        if legal := [str(each) for each in node]:
            return f"there is no key {key!r}, {suggest(name, legal)}"
    return text


def _composed_node(key: str) -> Mapping[Any, Any]:
    """A node of the configuration composed from the overrides that are legal."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    overrides: list[str] = []
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        composed = compose("config")
        for argument in (a for a in sys.argv[1:] if "=" in a and not a.startswith("-")):
            try:
                composed = compose("config", overrides=[*overrides, argument])
                overrides.append(argument)
            except HydraException:
                continue  # the one to be told about, or one after it
    node = OmegaConf.select(composed, key) if key else composed
    return node if isinstance(node, DictConfig) else {}


if __name__ == "__main__":
    main()
