"""The command ``nasrunner``: composes a configuration with Hydra and runs the study."""

import contextlib
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nasrunner import multirun
from nasrunner.arguments import read_arguments
from nasrunner.command_line import in_words, one_sentence, version
from nasrunner.compose import config as skeleton
from nasrunner.compose import start_with
from nasrunner.compose.launch import run_study
from nasrunner.compose.saved import sign_multirun
from nasrunner.compose.searched import resolved
from nasrunner.compose.trackers import anchored
from nasrunner.core.errors import ConfigError, MachineError, NasRunnerError
from nasrunner.core.machine.faults import machine_fault
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.screen.commands import resume_command
from nasrunner.core.screen.text import printable
from nasrunner.explanation import explain
from nasrunner.resuming import ResumedCommand, resume
from nasrunner.study_folder import StudyFolder

_PROGRAM = "nasrunner"


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    if "--version" in sys.argv[1:]:  # not Hydra's
        sys.stdout.write(f"{version()}\n")
        return
    with one_sentence(_PROGRAM, "stopped at once", explain):
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and we tell it better
        skeleton.register()
        multirun.register()
        # What it warns of is meant: our file replaces an entry of the same name in Hydra's store.
        warnings.filterwarnings(
            "ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against"
        )
        arguments = read_arguments(sys.argv[1:])
        resumed = None if arguments.resumed is None else resume(arguments)
        if resumed is not None:
            if arguments.is_shown:
                sys.stdout.write(OmegaConf.to_yaml(OmegaConf.create(resumed.config)))
                return
            arguments = resumed.arguments
        sys.argv[1:] = [*arguments.flags, *arguments.overrides]

        def job(composed: DictConfig) -> float | None:
            return _job(composed, resumed)

        conf = str(skeleton.config_dir())
        passed: Exception | None = None
        try:
            hydra.main(version_base="1.3", config_path=conf, config_name="config")(job)()
        except _PastHydra as error:
            passed = error.carried
        if passed is not None:
            raise passed


class _PastHydra(BaseException):
    """Carries an error out of Hydra, which would print a line of its own before it."""

    def __init__(self, carried: Exception) -> None:
        super().__init__(carried)
        self.carried = carried


def _job(composed: DictConfig, resumed: ResumedCommand | None) -> float | None:
    """One study; returns its best reward, which a Hydra sweeper may use."""
    runtime = HydraConfig.get()
    is_multirun = runtime.mode == RunMode.MULTIRUN
    folder = StudyFolder(Path(runtime.runtime.output_dir), f"{runtime.job.name}.log")
    whole = Path(runtime.sweep.dir) if is_multirun else folder.path
    try:
        if resumed is not None and resumed.config is not None:
            config = resumed.config
        else:
            if composed.trust:
                raise ConfigError("trust=true is for resume=: a study that begins here is your own")
            config = plain(composed, Path(runtime.runtime.cwd))
            is_queued_again = is_multirun and multirun.is_job(runtime)
            folder.claim(config, may_go_on=resumed is not None or is_queued_again)
            folder.note_call(composed, runtime)
            if is_multirun:
                sign_multirun(whole)
        summary = run_study(config, folder.path)
        if summary.failure is not None and is_multirun:
            raise NasRunnerError(summary.failure)
    except Exception as error:
        folder.clear()
        if is_multirun:  # the others run; their launcher tells in the end
            raise _told_of_one(error, folder.path) from None
        if fault := machine_fault(error):
            fault.add_note(_how_to_go_on(folder.path, is_begun=folder.has_begun))
            raise _PastHydra(fault) from None
        raise _PastHydra(error) from None
    except BaseException as stopped:
        folder.clear()
        stopped.add_note(_how_to_go_on(whole, is_begun=is_multirun or folder.has_begun))
        raise
    finally:
        folder.close()
    if summary.reason == "interrupted":
        if is_multirun:
            sys.stderr.write(f"{_PROGRAM}: go on with all studies: {resume_command(whole)}\n")
        sys.exit(130)
    if summary.failure is not None:
        sys.exit(1)
    return summary.best[0]["reward"] if summary.best else None


def _told_of_one(error: Exception, folder: Path) -> NasRunnerError:
    """Tells at once why a study of a multirun has ended; returns that for its launcher."""
    reason = in_words(error, explain)
    if reason is None:
        traceback.print_exception(error)
        reason = f"{type(error).__name__}: {error}"
    text = f"{folder}: {' '.join(reason.split())}"
    sys.stderr.write(f"{_PROGRAM}: {printable(text)}\n")
    return MachineError(text) if machine_fault(error) else NasRunnerError(text)


def _how_to_go_on(folder: Path, *, is_begun: bool) -> str:
    """What to do after a study was stopped in the middle."""
    if not is_begun:
        return "stopped before the study began: start it again"
    return f"stopped at once; go on with: {resume_command(folder)}"


def plain(composed: DictConfig, started_in: Path) -> dict[str, Any]:
    """Resolves a composed configuration, as a study takes it.

    Where Hydra has changed to the study's folder (``hydra.job.chdir=true``), relative places stay
    where the command was started.

    Raises:
        ConfigError: it lacks what networks are built for.
    """
    skeleton.check_keys(composed)
    with contextlib.chdir(started_in):
        told = skeleton.complete_data(composed)
    if told:
        sys.stdout.write(f"{printable(told)}\n")
    plain = resolved(composed)
    find_user_modules(plain["tracker"], lambda: [started_in])  # its class knows its places
    if Path.cwd() != started_in:
        anchor(plain, started_in)
    return {**plain, "baseline": plain["baseline"] or None}


def anchor(config: dict[str, Any], folder: Path) -> None:
    """Makes relative places in a configuration absolute."""
    config["tracker"] = anchored(config["tracker"], folder)
    if (start := config.get("start_with")) is not None:
        config["start_with"] = start_with.anchored(start, folder)
    for name in ("root", "path", "test_path"):
        place = config["data"].get(name)
        if isinstance(place, str) and "://" not in place:
            config["data"][name] = str(folder / place)
