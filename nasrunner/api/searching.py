"""``nasrunner.search``: a study from Python, composed and run as by the command ``nasrunner``."""

import contextlib
import logging
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from nasrunner.api.arrays import is_arrays, saved
from nasrunner.api.notebook import display_here
from nasrunner.api.overrides import check_names, groups, overrides_of
from nasrunner.api.results import StudyResult, load
from nasrunner.arguments import checked_without_job, read_arguments
from nasrunner.command import plain
from nasrunner.command_line import OUR_ERRORS
from nasrunner.compose import config as skeleton
from nasrunner.compose.config import StudyConfig
from nasrunner.compose.launch import run_study
from nasrunner.core.errors import ConfigError, NasRunnerError
from nasrunner.explanation import explain
from nasrunner.recorded import resumable
from nasrunner.resuming import resume as resumed
from nasrunner.study_folder import FoldersBefore, StudyFolder

_LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] %(message)s"


def search(
    space: Any = None,
    data: Any = None,
    searcher: Any = None,
    *,
    folder: str | Path | None = None,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> StudyResult:
    """Runs a study, as the command ``nasrunner`` with the same settings would.

    A group of the configuration (``space``, ``data``, ``searcher``, ``task``, ``optimizer``,
    ``scheduler``, ``trainer``, ``executor``, ``tracker``, ``baseline``, ``experiment``) is the name
    of an option; or an option of your own as a mapping with ``_target_``, as YAML text or as the
    ``pathlib.Path`` of a YAML file; or a mapping of keys to set in the usual option, as in
    ``trainer={"max_epochs": 5}``. A space is any mapping of the space language, or an object of
    ``nasrunner.spaces``. All else is a key of the top level: ``max_children=40``, ``seed=1``,
    ``objectives={"val_accuracy": "max", "flops": "min"}``.

    Ctrl-C, or the notebook's stop button, lets running children finish; twice stops at once. Either
    way ``nasrunner.resume`` goes on with the study.

    Args:
        space: what may be built.
        data: what children learn; also arrays, ``(x, y)`` or ``((x, y), (x_test, y_test))``, with x
            (N, ...) or a mapping of names to such arrays, which are kept in ``outputs/arrays``.
        searcher: who proposes.
        folder: where the study goes; None: ``outputs/<name>/<time>``.
        overrides: as on the command line, after all else: ``["trainer.precision=bf16-mixed"]``.
        **settings: other groups, and keys of the configuration.

    Returns:
        What it found; the same as ``nasrunner.load`` of its folder.

    Raises:
        ConfigError: a setting is not legal; nothing was trained.
        NasRunnerError: the study failed: no child could be trained.

    Example:
        >>> study = nasrunner.search(space="mlp", data="digits", max_children=10)  # doctest: +SKIP
        >>> study.best.reward, study.best.network()  # doctest: +SKIP
    """
    _check_thread()
    chosen = {"space": space, "data": data, "searcher": searcher}
    if is_arrays(data):
        chosen |= saved(data)
    settings = {**{key: each for key, each in chosen.items() if each is not None}, **settings}
    check_names(settings, [*groups(), *(field.name for field in fields(StudyConfig))])
    with tempfile.TemporaryDirectory(prefix="nasrunner-") as folder_of_own, _no_main():
        own = Path(folder_of_own)
        given = _with_one_search_path([*overrides_of(settings, own), *_checked(overrides, own)])
        with _hydra_as_it_was(), _told(given, own):
            return _search(given, folder)


def resume(folder: str | Path, overrides: Sequence[str] = ()) -> StudyResult:
    """Goes on with a study, as ``nasrunner resume=<folder>`` does.

    Args:
        folder: the study's, or of several of one name, of which the latest is taken.
        overrides: of what may change, as ``["max_children=80"]``.

    Raises:
        ConfigError: there is no study, or it may be a stranger's.
        NasRunnerError: the study failed.
    """
    _check_thread()
    skeleton.register()
    found = resumable(str(folder), lambda told: warnings.warn(told, stacklevel=4))
    for each in overrides:
        if each.startswith(("-", "hydra", "resume=")):
            raise ConfigError(
                f"{each} is no override of a study that goes on; legal are keys that may change, "
                "such as max_children=80"
            )
    with _hydra_as_it_was(), _told(overrides, None):
        called = read_arguments([f"resume={skeleton.quoted(str(found))}", *overrides])
        config = resumed(called).config
    if config is None:
        raise ConfigError(f"{found} is a multirun: nasrunner resume={found} goes on with all of it")
    with _no_main(), _logged(found):
        summary = run_study(config, found, display_here())
    return _result(found, summary.failure)


def _checked(overrides: Sequence[str], own: Path) -> tuple[str, ...]:
    """The caller's overrides, as ``checked_without_job``.

    Raises:
        ConfigError: likewise, or one goes on with another study.
    """
    for each in overrides:
        if (key := each.lstrip("+~").partition("=")[0]) in ("resume", "trust"):
            raise ConfigError(
                f"{each}: nasrunner.search begins a study, of which {key} says nothing; "
                "nasrunner.resume(folder) goes on with one"
            )
    return checked_without_job(overrides, own, "nasrunner.search")


def _with_one_search_path(overrides: Sequence[str]) -> list[str]:
    """The overrides with one search path of all that are given: Hydra would take the first."""
    key = "hydra.searchpath="
    paths = [each.removeprefix(key).strip() for each in overrides if each.startswith(key)]
    if len(paths) < 2:
        return list(overrides)
    if wrong := [each for each in paths if not (each.startswith("[") and each.endswith("]"))]:
        raise ConfigError(f"{key}{wrong[0]} is no list; legal is {key}[file://my_conf]")
    others = [each for each in overrides if not each.startswith(key)]
    return [*others, f"{key}[{','.join(each[1:-1] for each in paths)}]"]


@contextlib.contextmanager
def _told(overrides: Sequence[str], own: Path | None) -> Iterator[None]:
    """Makes what Hydra and OmegaConf raise one sentence."""
    try:
        yield
    except NasRunnerError:
        raise
    except OUR_ERRORS as error:
        raise ConfigError(explain(error, overrides, own)) from None


@contextlib.contextmanager
def _hydra_as_it_was() -> Iterator[None]:
    """Gives a caller that is a Hydra application itself its own configuration back."""
    config, application = HydraConfig.instance(), GlobalHydra.instance()
    before = config.cfg, application.hydra
    try:
        yield
    finally:
        config.cfg = before[0]
        GlobalHydra.instance().hydra = before[1]


def _search(overrides: Sequence[str], folder: str | Path | None) -> StudyResult:
    composed, runtime = _composed(overrides, folder)
    place = StudyFolder(Path(runtime.runtime.output_dir), f"{runtime.job.name}.log")
    FoldersBefore().look(place.path)
    try:
        config = plain(composed, Path.cwd())
        place.claim(config)
        place.path.mkdir(parents=True, exist_ok=True)
        place.note_call(composed, runtime)
        with _logged(place.path):
            summary = run_study(config, place.path, display_here())
    except BaseException:
        place.clear()  # of a study that has not begun
        raise
    finally:
        place.close()
    return _result(place.path, summary.failure)


def _result(folder: Path, failure: str | None) -> StudyResult:
    if failure is not None:
        raise NasRunnerError(f"{failure}; its folder is {folder}")
    return load(folder)


def _composed(overrides: Sequence[str], folder: str | Path | None) -> tuple[DictConfig, Any]:
    """The configuration, and Hydra's own part of it with the study's folder."""
    skeleton.register()
    if folder is not None:
        overrides = [*overrides, f"hydra.run.dir={skeleton.quoted(str(folder))}"]
    conf = str(skeleton.config_dir())
    with initialize_config_dir(conf, job_name="nasrunner", version_base="1.3"):
        composed = compose("config", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(composed)  # the study's name refers to it
    with read_write(composed), open_dict(composed), read_write(composed.hydra):
        place = Path(str(OmegaConf.select(composed, "hydra.run.dir")))
        composed.hydra.runtime.output_dir = str(place.absolute())
        HydraConfig.instance().set_config(composed)
        runtime = composed.hydra
        del composed["hydra"]
    return composed, runtime


@contextlib.contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Writes what is logged into the study's log, as the command does."""
    handler = logging.FileHandler(folder / "nasrunner.log", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    root, ours = logging.getLogger(), logging.getLogger("nasrunner")
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Keeps workers from running the caller's script again: nothing of it is theirs to import."""
    main = sys.modules["__main__"]
    before: dict[str, Any] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in vars(main)
    }
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(before)


def _check_thread() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError(
            "a study runs in the main thread, where Ctrl-C is heard; start a process for each of "
            "several that are to run at once"
        )
