"""The command ``nasrunner``: composes a configuration with Hydra and runs the study."""

import os
import re
import sys
import warnings
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
from nasrunner.command_line import fail, one_sentence, sentence
from nasrunner.core.errors import ConfigError, NasRunnerError, suggest
from nasrunner.core.faults import machine_fault
from nasrunner.core.search_space import CHILD_GROUPS
from nasrunner.launch import remove_if_unused, run_study, saved_config
from nasrunner.searched import resolved
from nasrunner.upgrade import upgraded

MAY_CHANGE = (
    "max_children",
    "max_hours",
    "target_reward",
    "max_failures",
    "max_fruitless",
    "executor",
    "tracker",
    "baseline",
)
"""What a resumed study may change; everything else is part of what its ledger was written for."""

_GROUPS = (*CHILD_GROUPS, "searcher", "baseline", "executor", "tracker")
"""What a study is built from, beside its space."""

_PROGRAM = "nasrunner"


def main() -> None:
    """Runs the command; every error a user can cause is one sentence and exit code 2."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises, and we tell it better
    skeleton.register()
    multirun.register()
    # What it warns of is meant: our file replaces an entry of the same name in Hydra's store.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against")
    with one_sentence(_PROGRAM, "stopped at once; the study can be resumed", _explain):
        _direct_resume(sys.argv)
        conf = str(skeleton.config_dir())
        hydra.main(version_base="1.3", config_path=conf, config_name="config")(_job)()


def _job(composed: DictConfig) -> float | None:
    """One study; returns its best reward, which a Hydra sweeper may use."""
    runtime = HydraConfig.get()
    folder = Path(runtime.runtime.output_dir)
    try:
        config = resolved(composed)
        if config["resume"] is not None:
            config = _resumed(config, list(runtime.overrides.task))
        summary = run_study(config, folder)
    except (NasRunnerError, OmegaConfBaseException) as error:
        if runtime.mode == RunMode.MULTIRUN:  # the others run; their launcher tells in the end
            sys.stderr.write(f"{_PROGRAM}: {folder}: {_explain(error)}\n")
            raise NasRunnerError(f"{folder}: {_explain(error)}") from None
        remove_if_unused(folder)
        _end_if_machine_fault(error, folder)
        fail(_PROGRAM, _explain(error))  # leaves from here: Hydra would add lines of its own
    except Exception as error:
        remove_if_unused(folder)
        if runtime.mode != RunMode.MULTIRUN:
            _end_if_machine_fault(error, folder)
        raise
    except BaseException as stopped:
        remove_if_unused(folder)
        stopped.add_note(_how_to_go_on(folder))
        raise
    if summary.reason == "interrupted":
        sys.exit(130)
    return summary.best[0]["reward"] if summary.best else None


def _end_if_machine_fault(error: Exception, folder: Path) -> None:
    """Says how to go on where a full disk or the like has stopped a study."""
    if fault := machine_fault(error):
        fail(_PROGRAM, f"{fault}; {_how_to_go_on(folder)}", os.EX_TEMPFAIL)


def _how_to_go_on(folder: Path) -> str:
    """What to do after a study was stopped in the middle."""
    if not (folder / "ledger.jsonl").is_file():
        return "stopped before the study began: start it again"
    return f"stopped; go on with nasrunner resume={folder}"


def _direct_resume(arguments: list[str]) -> None:
    """Makes Hydra work in the folder of the study that is resumed, and leave no other behind."""
    given = [argument for argument in arguments[1:] if argument.startswith("resume=")]
    if not given or given[-1] in ("resume=", "resume=null"):
        return
    folder = Path(given[-1].removeprefix("resume=").strip("'\"")).resolve()
    saved_config(folder)
    quoted = str(folder).replace("'", "\\'")
    arguments += [f"hydra.run.dir='{quoted}'", "hydra.output_subdir=null"]


def _resumed(composed: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """The study's own saved configuration, with the budgets and places that may change."""
    saved = upgraded(saved_config(Path(composed["resume"])), _GROUPS, _warn)
    for override in overrides:
        key = override.lstrip("+~").split("=")[0].split("@")[0]
        top = key.split(".")[0]
        if top == "resume":
            continue
        if top not in MAY_CHANGE:
            raise ConfigError(
                f"{key} cannot change when a study is resumed. Legal: {', '.join(MAY_CHANGE)}"
            )
        if key == top:
            saved[top] = composed[top]
        else:
            tree = OmegaConf.create(saved)
            OmegaConf.update(tree, key, OmegaConf.select(OmegaConf.create(composed), key))
            saved = OmegaConf.to_container(tree)  # type: ignore[assignment]
    saved["resume"] = None
    return saved


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
        if legal := _legal_keys(parent):
            return f"there is no key {key!r}, {suggest(name, legal)}"
    return text


def _legal_keys(parent: str) -> list[str]:
    """The keys of a node, in the configuration composed from the overrides that are legal."""
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
    node = OmegaConf.select(composed, parent) if parent else composed
    return [str(name) for name in node] if OmegaConf.is_dict(node) else []


if __name__ == "__main__":
    main()
