"""Builds a study from its configuration and runs it: searcher, trainer, workers, records."""

import contextlib
import os
import shutil
import signal
import sys
import types
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from omegaconf import OmegaConf

from nasrunner.baseline import SideBySide
from nasrunner.composition import construct
from nasrunner.config import rules_from
from nasrunner.core.errors import ConfigError, LedgerError
from nasrunner.core.imports import quick_imports
from nasrunner.core.memory import memory_gb
from nasrunner.core.passwords import without_password, without_passwords
from nasrunner.core.ports import ChildTrainer, Executor, PublicTracker, StudyInfo, Summary, Tracker
from nasrunner.core.search_space import CHILD_GROUPS, SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.ledger import Ledger
from nasrunner.signature import signed
from nasrunner.study import Study
from nasrunner.trackers.progress import ProgressDisplay
from nasrunner.trust import GROUPS, check_trusted
from nasrunner.upgrade import as_built


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
    save_config(config, folder)
    return Study(
        space=space,
        searcher=searcher,
        trainer=trainer,
        executor=executor,
        trackers=trackers,
        ledger=ledger,
        rules=rules,
        info=StudyInfo(config["study"], folder, config, rules.max_children),
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


def build_space(config: dict[str, Any]) -> SearchSpace:
    """The search space of a configuration."""
    from nasrunner.spaces.language import parse_space  # imports torch: seconds that --help saves

    return parse_space(config["space"])


def build_trainer(config: dict[str, Any], space: SearchSpace) -> ChildTrainer:
    """The child trainer of a configuration, which checks all it is given."""
    from nasrunner.spaces.drawing import draw

    trainer: ChildTrainer = construct(
        config["trainer"],
        "trainer",
        space=space,
        config={group: config[group] for group in CHILD_GROUPS},
        in_shape=tuple(config["data"]["in_shape"]),
        construct=construct,
        draw=draw,
    )
    return trainer


def open_ledger(folder: Path) -> Ledger:
    """The ledger of a study's folder.

    Raises:
        LedgerError: the folder cannot be written.
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
    unfinished = folder / "config.yaml.unfinished"
    text = OmegaConf.to_yaml(OmegaConf.create(without_passwords(config)))
    unfinished.write_text(signed(text), encoding="utf-8")
    os.replace(unfinished, folder / "config.yaml")
    for file in (*folder.glob(".hydra/*.yaml"), folder.parent / "multirun.yaml"):
        text = file.read_text() if file.is_file() else ""
        if (public := without_password(text)) != text:
            file.write_text(public)


def saved_config(
    folder: Path, *, builds: Collection[str] = GROUPS, trust: bool = False
) -> dict[str, Any]:
    """The configuration of the study in ``folder``; see ``upgraded`` before something is built.

    Args:
        folder: the study's.
        builds: the groups that something will be built from.
        trust: whether a stranger's study is taken with all that its configuration names.

    Raises:
        ConfigError: there is no study, or it may be a stranger's and could run code.
    """
    path = folder / "config.yaml"
    if not path.is_file() or not (folder / "ledger.jsonl").is_file():
        raise ConfigError(
            f"resume={folder} is no study's folder: it needs config.yaml and ledger.jsonl"
        )
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    saved = {str(key): value for key, value in config.items()}
    if not trust:
        check_trusted(saved, folder, builds, path.read_text(encoding="utf-8"))
    return as_built(saved)


def remove_if_unused(folder: Path) -> None:
    """Removes what a study that did not start left in its folder, and only that.

    The folder may be one that the user has other files in (``hydra.run.dir=.``).
    """
    ledger = folder / "ledger.jsonl"
    if ledger.exists() and ledger.stat().st_size:
        return
    if (folder / "baseline").is_dir():
        remove_if_unused(folder / "baseline")
    shutil.rmtree(folder / ".hydra", ignore_errors=True)
    written_after_it = ("config.yaml", "mlflow.json", ledger.name) if ledger.exists() else ()
    for name in ("nasrunner.log", *written_after_it):
        (folder / name).unlink(missing_ok=True)
    for each in (folder, *list(folder.parents)[:2]):
        with contextlib.suppress(OSError):  # not empty: others lie there
            each.rmdir()


class Stoppable(Protocol):
    """What starts children one after the other, and can be asked to start no more."""

    def stop(self, reason: str) -> None:
        """Starts nothing more; what runs may end."""


@contextlib.contextmanager
def graceful_stop(study: Stoppable) -> Iterator[None]:
    """Ctrl-C once lets running children finish; twice, or SIGTERM, stops at once."""

    was_asked = False

    def interrupt(signum: int, frame: types.FrameType | None) -> None:
        nonlocal was_asked
        if was_asked:
            raise KeyboardInterrupt
        was_asked = True
        study.stop("interrupted")
        sys.stderr.write("\nwaiting for the running children; Ctrl-C again stops at once\n")

    def terminate(signum: int, frame: types.FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
