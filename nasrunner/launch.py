"""Builds a study from its configuration and runs it: searcher, trainer, workers, records."""

import contextlib
import os
import signal
import sys
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.baseline import SideBySide
from nasrunner.composition import construct
from nasrunner.config import REQUIRED, leaves, rules_from
from nasrunner.core.annotations import AtLeast, fits, readable
from nasrunner.core.errors import ConfigError, LedgerError
from nasrunner.core.files import keep_file
from nasrunner.core.imports import quick_imports
from nasrunner.core.memory import memory_gb
from nasrunner.core.passwords import without_password, without_passwords
from nasrunner.core.ports import ChildTrainer, Executor, PublicTracker, StudyInfo, Summary, Tracker
from nasrunner.core.search_space import CHILD_GROUPS, SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.core.space import Shape
from nasrunner.core.stopping import stopped_by_signals
from nasrunner.core.user_modules import find_user_modules
from nasrunner.fingerprints import fingerprints
from nasrunner.ledger import Ledger
from nasrunner.signature import signed, why_not_own
from nasrunner.study import Study
from nasrunner.trackers.progress import ProgressDisplay
from nasrunner.trust import GROUPS, check_trusted
from nasrunner.upgrade import as_built, upgraded

STUDY_GROUPS = (*CHILD_GROUPS, "searcher", "baseline", "executor", "tracker")
"""What a study is built from, beside its space."""

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

_Count = Annotated[int, AtLeast(1)]


def run_study(config: dict[str, Any], folder: Path) -> Summary:
    """Runs a study in its folder, or continues the one whose ledger lies there.

    Args:
        config: the whole resolved configuration.
        folder: the study's output folder; created if need be.

    Raises:
        NasRunnerError: the configuration is not usable; raised before any training starts.
    """
    with contextlib.ExitStack() as stack:
        with quick_imports():
            study = _build(config, folder, stack)
        with graceful_stop(study):
            return study.run()


def _build(config: dict[str, Any], folder: Path, stack: contextlib.ExitStack) -> Study | SideBySide:
    rules = rules_from(config)
    find_user_modules(config, lambda: [Path.cwd(), *_started_in(folder)])
    # Workers import for seconds: they start before the driver's own imports.
    executor: Executor = construct(config["executor"], "executor")
    stack.callback(executor.close)
    tracker: PublicTracker = construct(config["tracker"], "tracker")
    progress = ProgressDisplay(lambda: tracker.ui_command)
    progress.listen()
    study = _build_study(config, folder, executor, [tracker, progress], stack)
    if executor.is_remote:
        tracker.prepare()  # until the workers are up; in one process it would compete
    if advice := study.searcher.advice(rules.max_children):
        progress.warn(advice)
    if doubt := doubt_of_target(config):
        progress.warn(doubt)
    if repaired := study.ledger.repaired_bytes:
        progress.warn(f"the ledger's last line was cut off: {repaired} bytes were removed")
    if config.get("baseline") is None:
        return study
    beside = _baseline_config(config)
    trackers: list[Tracker] = [construct(config["tracker"], "tracker")]
    baseline = _build_study(beside, folder / "baseline", executor, trackers, stack)
    progress.beside = lambda: f"{baseline.history.num_spent} of the baseline"
    return SideBySide(study, baseline, executor)


def _build_study(
    config: dict[str, Any],
    folder: Path,
    executor: Executor,
    trackers: Sequence[Tracker],
    stack: contextlib.ExitStack,
) -> Study:
    rules = rules_from(config)
    if rules.max_memory_gb is None and executor.is_on_this_machine:
        rules = replace(rules, max_memory_gb=memory_gb())
    space = build_space(config)
    searcher: Searcher = construct(config["searcher"], "searcher", space=space, seed=rules.seed)
    trainer = build_trainer(config, space)
    ledger = stack.enter_context(open_ledger(folder))
    check_same_study(ledger, config, folder)
    save_config(config, folder)
    return Study(
        space=space,
        searcher=searcher,
        trainer=trainer,
        executor=executor,
        trackers=trackers,
        ledger=ledger,
        rules=rules,
        info=StudyInfo(config["study"], folder, config, rules.max_children, fingerprints(config)),
    )


def _baseline_config(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the search that runs beside a study.

    Its seed is another one, or a searcher that starts at random would propose the same children.
    """
    return {
        **config,
        "study": f"{config['study']}-baseline",
        "seed": int(np.random.SeedSequence([config["seed"], 1]).generate_state(1)[0]),
        "searcher": config["baseline"],
        "target_reward": None,
        "baseline": None,
    }


def doubt_of_target(config: Mapping[str, Any]) -> str | None:
    """One sentence where ``target_reward`` was probably meant as a value of a minimised metric."""
    target, task = config["target_reward"], config["task"]
    reward = task.get("reward") if isinstance(task, Mapping) else None
    if target is None or target <= 0 or not isinstance(reward, Mapping):
        return None
    if reward.get("mode") != "min" or not reward.get("power", 1) > 0:
        return None
    return (
        f"target_reward={target} is above 0, but with task.reward.mode=min a reward is minus "
        f"{reward.get('metric')}: the study ends early only where that is negative"
    )


def build_space(config: dict[str, Any]) -> SearchSpace:
    """The search space of a configuration."""
    from nasrunner.spaces.language import parse_space  # imports torch: seconds that --help saves

    return parse_space(config["space"])


def in_shape_of(data: Mapping[str, Any]) -> Shape:
    """The shape of one example, from the ``data`` part of a configuration.

    Raises:
        ConfigError: it is none, or ``data.num_outputs`` is no number of outputs.
    """
    for name, annotation in (("in_shape", Sequence[_Count]), ("num_outputs", _Count)):
        value = data.get(name)
        if not fits(value, annotation) or value == []:
            raise ConfigError(f"data.{name} must be {readable(annotation)}, got {value!r}")
    return tuple(data["in_shape"])


def build_trainer(config: dict[str, Any], space: SearchSpace) -> ChildTrainer:
    """The child trainer of a configuration, which checks all it is given."""
    from nasrunner.spaces.drawing import draw

    trainer: ChildTrainer = construct(
        config["trainer"],
        "trainer",
        space=space,
        config={group: config[group] for group in CHILD_GROUPS},
        in_shape=in_shape_of(config["data"]),
        construct=construct,
        draw=draw,
    )
    return trainer


def open_ledger(folder: Path) -> Ledger:
    """The ledger of a study's folder.

    Raises:
        LedgerError: the folder cannot be written, or as of ``Ledger``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Ledger(folder / "ledger.jsonl")
    except OSError as error:
        raise LedgerError(f"{folder} cannot be written: {error.strerror}") from error


def save_config(config: dict[str, Any], folder: Path) -> None:
    """Writes the resolved configuration that a resumed study reads: all of it or nothing new.

    Passwords are left out, also of what Hydra wrote; a resumed study finds them in its environment.
    It is signed, by which a later command knows that no stranger wrote it.
    """
    text = OmegaConf.to_yaml(OmegaConf.create(without_passwords(config)))
    keep_file(folder / "config.yaml", signed(text))
    sweep = folder.parent / "multirun.yaml"  # Hydra's, which resume= reads, too
    text = sweep.read_text(encoding="utf-8") if sweep.is_file() else ""
    if text and why_not_own(text) is not None:
        unfinished = sweep.with_name(f"{sweep.name}.{os.getpid()}.unfinished")  # several studies
        keep_file(unfinished, signed(without_password(text)))
        os.replace(unfinished, sweep)


def saved_config(
    folder: Path, *, builds: Collection[str] = GROUPS, trust: bool = False
) -> dict[str, Any]:
    """The configuration of the study in ``folder``; see ``upgraded`` before something is built.

    Args:
        folder: the study's.
        builds: the groups that something will be built from.
        trust: whether a stranger's study is taken with all that its configuration names.

    Raises:
        ConfigError: there is no study, its configuration is damaged, or it may be a stranger's and
            could run code.
    """
    path = folder / "config.yaml"
    if not path.is_file() or not (folder / "ledger.jsonl").is_file():
        raise ConfigError(
            f"resume={folder} is no study's folder: it needs config.yaml and ledger.jsonl"
        )
    content = path.read_bytes()
    try:
        saved = _read_config(content)
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged: {error}. Put back a copy of the file: MLflow keeps one with the "
            "study's run"
        ) from error
    if not trust:  # before anything of the user's folders is found
        check_trusted(saved, folder, builds, content.decode())
    find_user_modules(saved, lambda: [Path.cwd(), *_started_in(folder)])
    return as_built(saved)


def _read_config(content: bytes) -> dict[str, Any]:
    """The configuration in a study's file.

    Raises:
        ValueError: it is not what ``save_config`` writes.
    """
    if not content.strip():
        raise ValueError("it is empty")
    try:
        found = OmegaConf.to_container(OmegaConf.create(content.decode()))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is no text in UTF-8") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        problem = getattr(error, "problem", None) or getattr(error, "reason", None)
        raise ValueError(f"{where}{problem or error}") from error
    except OmegaConfBaseException as error:
        raise ValueError(str(error).splitlines()[0]) from error
    num_lines = content.count(b"\n") + 1
    if not isinstance(found, dict):
        raise ValueError("it holds no keys")
    if not content.endswith(b"\n"):
        raise ValueError(f"line {num_lines}, its last one, is cut off")
    empty = {key for key in REQUIRED if found.get(key) is None}
    empty -= {"scheduler"} & found.keys()  # the only one that may be null
    if missing := [key for key in REQUIRED if key in empty]:
        raise ValueError(f"it ends in line {num_lines - 1} without {', '.join(missing)}")
    return {str(key): value for key, value in found.items()}


def differences(
    saved: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, tuple[object, object]]:
    """What tells a study from one that is recorded, but for what may change between sessions.

    Args:
        saved: the recorded study's configuration.
        config: the other's.

    Returns:
        Key -> the value of the recorded study, and of the other; None for a key that it lacks.
    """
    before, now = (
        {
            key: value
            for key, value in leaves(each)
            if key.partition(".")[0] not in (*MAY_CHANGE, "resume")
        }
        for each in (upgraded(saved, STUDY_GROUPS), config)
    )
    return {
        key: (before.get(key), now.get(key))
        for key in dict.fromkeys([*now, *before])
        if repr(before.get(key)) != repr(now.get(key))  # nan is nan
    }


def named_differences(found: Mapping[str, tuple[object, object]]) -> str:
    """``seed (3 there, 4 here)``, of the first few; empty where there are none."""
    named = [f"{key} ({there} there, {here} here)" for key, (there, here) in found.items()]
    more = [f"{len(named) - 3} more keys"] if len(named) > 3 else []
    return ", ".join([*named[:3], *more])


def check_same_study(ledger: Ledger, config: Mapping[str, Any], folder: Path) -> None:
    """Refuses to write the children of one study into the ledger of another.

    Raises:
        ConfigError: names what differs.
    """
    if not ledger.events:
        return
    if found := differences(saved_config(folder, builds=(), trust=True), config):
        raise ConfigError(
            f"{folder} holds another study: they differ in {named_differences(found)}; nothing was "
            "changed"
        )


def _started_in(folder: Path) -> Iterator[Path]:
    """Where a study was started, which Hydra noted down; nothing where it did not."""
    for place in (folder, folder.parent):  # a baseline lies in its study's folder
        noted = place / ".hydra" / "hydra.yaml"
        if noted.is_file():
            yield Path(str(OmegaConf.select(OmegaConf.load(noted), "hydra.runtime.cwd")))


class Stoppable(Protocol):
    """What starts children one after the other, and can be asked to start no more."""

    def stop(self, reason: str) -> None:
        """Starts nothing more; what runs may end."""


@contextlib.contextmanager
def graceful_stop(study: Stoppable) -> Iterator[None]:
    """Ctrl-C once lets running children finish; twice, SIGTERM or SIGHUP stop at once."""

    was_asked = False

    def interrupt(signum: int, frame: types.FrameType | None) -> None:
        nonlocal was_asked
        if was_asked:
            raise KeyboardInterrupt
        was_asked = True
        study.stop("interrupted")
        sys.stderr.write("\nwaiting for the running children; Ctrl-C again stops at once\n")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with stopped_by_signals():  # in a multirun's SLURM job, too, which no command is around
            yield
    finally:
        signal.signal(signal.SIGINT, before)
