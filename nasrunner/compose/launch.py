"""Builds a study from its configuration and runs it: searcher, trainer, workers, records."""

import contextlib
import inspect
import json
import signal
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nasrunner.children.settings.resolution import at_resolution
from nasrunner.compose.config import keeping_from, rules_from
from nasrunner.compose.construct import construct
from nasrunner.compose.doubts import doubt_of_limits, doubt_of_target
from nasrunner.compose.fingerprints import fingerprints
from nasrunner.compose.saved import check_same_study, save_config, started_in
from nasrunner.compose.signature import snapshot_signature
from nasrunner.compose.start_with import doubts_of_start, read_start
from nasrunner.core.annotations import Count, fits, readable, takes
from nasrunner.core.errors import ConfigError, LedgerError, SpaceError
from nasrunner.core.language.moved import with_present_targets
from nasrunner.core.ledger.goal_settings import read_goals
from nasrunner.core.ledger.goals import Goals
from nasrunner.core.ledger.objectives import DEPLOYED
from nasrunner.core.machine.imports import quick_imports
from nasrunner.core.machine.memory import memory_gb
from nasrunner.core.machine.stopping import stopped_by_signals
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.ports import (
    ChildTrainer,
    Executor,
    StudyInfo,
    Summary,
    Tracker,
)
from nasrunner.core.randomness.seeds import baseline_seed
from nasrunner.core.search_space import CHILD_GROUPS, SearchSpace
from nasrunner.core.searcher import Searcher
from nasrunner.core.shapes import (
    IN_DTYPES,
    InShape,
    Shape,
    TokenShape,
    as_in_shape,
    dtypes_of,
    in_dtype_of,
)
from nasrunner.core.tracking import PublicTracker
from nasrunner.study.baseline import SideBySide
from nasrunner.study.ledger import Ledger, read_events
from nasrunner.study.loop import Study
from nasrunner.study.rules import Rules
from nasrunner.study.snapshots import Snapshots
from nasrunner.trackers.progress import ProgressDisplay

if TYPE_CHECKING:
    from nasrunner.children.networks import SpaceNetworks

_ONE_TRAINING = {"repeats": 1, "folds": None}


Display = Callable[[Callable[[], str | None]], ProgressDisplay]
"""Makes what shows a study, given what tells how a person looks at what was tracked."""


def run_study(config: dict[str, Any], folder: Path, display: Display = ProgressDisplay) -> Summary:
    """Runs a study in its folder, or continues the one whose ledger lies there.

    Args:
        config: the whole resolved configuration.
        folder: the study's output folder; created if need be.
        display: what shows it while it runs.

    Raises:
        NasRunnerError: the configuration is not usable; raised before any training starts.
    """
    with contextlib.ExitStack() as stack:
        with quick_imports():
            study = _build(config, folder, stack, display)
        with graceful_stop(study):
            return study.run()


def _build(
    config: dict[str, Any], folder: Path, stack: contextlib.ExitStack, display: Display
) -> Study | SideBySide:
    rules = rules_from(config)
    find_user_modules(config, lambda: [Path.cwd(), *started_in(folder)])
    progress = display(lambda: tracker.ui_command)
    progress.prepare(config["study"])
    # Workers import for seconds: they start before the driver's own imports.
    executor: Executor = construct(config["executor"], "executor")
    stack.callback(executor.close)
    tracker: PublicTracker = construct(config["tracker"], "tracker")
    progress.listen()
    study = _build_study(config, folder, executor, [tracker, progress], stack)
    if executor.is_remote:
        tracker.prepare()  # until the workers are up; in one process it would compete
    known = study.known
    learns = known is not None and known.outcomes and known.ignored is None
    if not learns and (advice := study.searcher.advice(rules.max_children)):
        progress.warn(advice)  # of a budget that is too small to learn in, which it knows without
    doubts = [doubt_of_target(config), doubt_of_limits(study.space, study.inspect, rules)]
    if known is not None:
        doubts += doubts_of_start(known)
    for doubt in doubts:
        if doubt:
            progress.warn(doubt)
    if repaired := study.ledger.repaired_bytes:
        progress.warn(f"the ledger's last line was cut off: {repaired} bytes were removed")
    if config.get("baseline") is None:
        return study
    trackers: list[Tracker] = [construct(config["tracker"], "tracker")]
    own = folder / "baseline"
    beside = baseline_config(config, own)
    baseline = _build_study(beside, own, executor, trackers, stack)
    progress.beside = lambda: f"{baseline.history.num_spent} of the baseline"
    return SideBySide(study, baseline, executor)


def _build_study(
    config: dict[str, Any],
    folder: Path,
    executor: Executor,
    trackers: Sequence[Tracker],
    stack: contextlib.ExitStack,
) -> Study:
    rules, keeping = rules_from(config), keeping_from(config, folder)
    if rules.max_memory_gb is None and executor.is_on_this_machine:
        rules = replace(rules, max_memory_gb=memory_gb())
    space = build_space(config)
    searcher = build_searcher(config, space)
    check_learns(searcher)
    goals = read_goals(config)
    check_compares(searcher, goals, rules)
    trainer = build_trainer(config, space)
    check_quiet(trainer, executor)
    networks = build_networks(config, space, trainer)
    known = None
    if config.get("start_with") is not None and not _has_proposed(folder):
        known = read_start(config, space, rules, searcher)
    ledger = stack.enter_context(open_ledger(folder))
    check_same_study(ledger, config, folder)
    save_config(config, folder)
    noted = fingerprints(config)
    study = Study(
        space=space,
        searcher=searcher,
        trainer=trainer,
        executor=executor,
        trackers=trackers,
        ledger=ledger,
        rules=rules,
        networks=networks,
        info=StudyInfo(config["study"], folder, config, rules.max_children, noted),
        keeping=keeping,
        known=known,
        goals=goals,
        snapshots=Snapshots(
            folder,
            snapshot_signature,
            {**noted, "searcher": json.dumps(config["searcher"], sort_keys=True, default=str)},
        ),
    )
    stack.callback(study.let_go)
    return study


def _has_proposed(folder: Path) -> bool:
    """Whether a study has begun in a folder, and knows from its ledger what it began with."""
    path = folder / "ledger.jsonl"
    events = read_events(path)[0] if path.is_file() else []
    return any(event["event"] in ("known", "proposed") for event in events)


def check_learns(searcher: Searcher) -> None:
    """Refuses a searcher that learns rewards, as those of earlier versions did, not outcomes.

    Raises:
        ConfigError: it does.
    """
    takes_one = len(inspect.signature(searcher.learn).parameters) == 1
    if not takes_one:
        name = type(searcher).__name__
        raise ConfigError(
            f"searcher: {name}.learn must take an outcome alone, learn(outcome), which holds "
            f"outcome.proposal and outcome.reward; it takes {inspect.signature(searcher.learn)}"
        )


def check_compares(searcher: Searcher, goals: Goals | None, rules: Rules) -> None:
    """Refuses a searcher that compares objectives, where there are none or failures have a reward.

    Raises:
        ConfigError: names the key.
    """
    if not searcher.learns_objectives:
        return
    name = searcher.known_as
    if goals is None:
        raise ConfigError(
            f"searcher: {name} compares children by objectives, and there are none: set "
            "objectives={val_accuracy: max, flops: min}"
        )
    if not isinstance(rules.failed_reward, str):
        raise ConfigError(
            f"failed_reward={rules.failed_reward} is a reward, and {name} is told objectives: "
            "legal with it are worst (of each objective) and ignore"
        )


def check_quiet(trainer: ChildTrainer, executor: Executor) -> None:
    """Refuses to measure what children cost while others of the study run on the same machine.

    Of workers on other machines it is not known which of them share one.

    Raises:
        ConfigError: the executor has several slots on this machine.
    """
    objectives = getattr(trainer, "objectives", ())  # a table's are known
    measured = next((name for name in DEPLOYED if name in objectives), None)
    slots = executor.free_slots()
    if measured is not None and executor.is_on_this_machine and slots > 1:
        raise ConfigError(
            f"objectives.{measured} is measured after each training, and the {slots} workers of "
            "this machine would disturb one another; legal: executor.workers=1, or executor=serial"
        )


def baseline_config(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the configuration of the search that runs beside a study.

    Only its searcher draws from another seed, or one that starts at random would propose the same
    children. The data are split, and a child that both propose is trained, as in the study. (In a
    baseline that an earlier version began all has the other seed, and keeps it.) It is as long as
    the study, see ``SideBySide``, and has no budget of its own.
    """
    seed = baseline_seed(config["seed"])
    begun = read_events(folder / "ledger.jsonl")[0] if (folder / "ledger.jsonl").is_file() else []
    is_earlier = bool(begun) and begun[0]["seed"] == seed
    return {
        **config,
        "study": f"{config['study']}-baseline",
        "seed": seed if is_earlier else config["seed"],
        "searcher": config["baseline"] if is_earlier else {"seed": seed, **config["baseline"]},
        "max_children": None,
        "target_reward": None,
        "start_with": None,
        "baseline": None,
    }


def build_space(config: dict[str, Any]) -> SearchSpace:
    """Returns the search space of a configuration."""
    from nasrunner.spaces.language.parsing import (
        parse_space,  # imports torch: seconds that --help saves
    )

    return parse_space(with_present_targets(config["space"]))


def build_searcher(config: dict[str, Any], space: SearchSpace) -> Searcher:
    """Returns the searcher of a configuration, with the study's seed unless it has its own."""
    given = config["searcher"]
    own_seed = {} if isinstance(given, Mapping) and "seed" in given else {"seed": config["seed"]}
    searcher: Searcher = construct(given, "searcher", space=space, **own_seed)
    return searcher


def in_shape_of(data: Mapping[str, Any]) -> InShape:
    """Returns the shape of one example, from the ``data`` part of a configuration: resized, if
    images are.

    Raises:
        ConfigError: it is none, ``data.in_dtype`` does not go with it, or ``data.num_outputs`` is
            no number of outputs.
    """
    given = data.get("in_shape")
    checked: dict[str, tuple[Any, Any]] = {"in_shape": (given, Sequence[Count])}
    if isinstance(given, Mapping):
        checked = {f"in_shape.{n}": (shape, Sequence[Count]) for n, shape in given.items()}
    checked["num_outputs"] = (data.get("num_outputs"), Count)
    for name, (value, annotation) in checked.items():
        if not fits(value, annotation) or value == []:
            raise ConfigError(f"data.{name} must be {readable(annotation)}, got {value!r}")
    assert given is not None
    in_shape, in_dtype = as_in_shape(given), data.get("in_dtype")
    if isinstance(in_shape, Mapping):
        return _with_types(in_shape, in_dtype)
    if isinstance(in_dtype, Mapping):
        raise ConfigError(
            f"data.in_dtype must be one type where data.in_shape={list(in_shape)} is of one "
            f"input, got {dict(in_dtype)!r}"
        )
    if data.get("resolution") is None:
        return in_shape
    return at_resolution(in_shape, data)


def _with_types(in_shape: Mapping[str, Shape], in_dtype: Any) -> InShape:
    """Several inputs, each known for what its numbers are.

    Raises:
        ConfigError: an input's name is none, or ``data.in_dtype`` is not by these names.
    """
    for name in in_shape or [""]:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(
                "data.in_shape must be a list of int >= 1, or map names of letters, digits and _ "
                f"to such lists, got {dict(in_shape)!r}"
            )
    legal = f"{' or '.join(IN_DTYPES)} for each of {', '.join(in_shape)}"
    if not isinstance(in_dtype, Mapping | None):
        raise ConfigError(
            f"data.in_dtype must be by name where data.in_shape has several inputs, got "
            f"{in_dtype!r}; legal: {legal}, or nothing where all are float32"
        )
    for name, dtype in (in_dtype or {}).items():
        if name not in in_shape or dtype not in IN_DTYPES:
            raise ConfigError(f"data.in_dtype: got {name}: {dtype}; legal: {legal}")
    dtypes = dtypes_of(in_shape, in_dtype or {})
    return {n: TokenShape(s) if dtypes[n] == "int64" else s for n, s in in_shape.items()}


def build_trainer(config: dict[str, Any], space: SearchSpace) -> ChildTrainer:
    """Returns the child trainer of a configuration, which checks all it is given.

    Raises:
        ConfigError: it cannot be built, or cannot train a child several times.
    """
    from nasrunner.spaces.inputs import check_picks
    from nasrunner.spaces.pictures.drawing import draw

    in_shape = in_shape_of(config["data"])
    try:
        check_picks(space.network, in_shape)
    except SpaceError as error:
        raise SpaceError(f"space: {error}") from None
    evaluation = config.get("evaluation", _ONE_TRAINING)
    is_single = evaluation == _ONE_TRAINING
    if not is_single and not takes(config["trainer"], "evaluation"):
        raise ConfigError(
            f"evaluation: {config['trainer'].get('_target_')} trains no child several times"
        )
    goals = read_goals(config)
    names = [] if goals is None else [each.name for each in goals.objectives]
    measures = {"objectives": names} if names and takes(config["trainer"], "objectives") else {}
    limit_gb = config.get("limits", {}).get("memory_gb")  # studies of earlier versions lack it
    if limit_gb is not None and takes(config["trainer"], "max_memory_gb"):
        measures["max_memory_gb"] = limit_gb
    trainer: ChildTrainer = construct(
        config["trainer"],
        "trainer",
        space=space,
        config={group: config[group] for group in CHILD_GROUPS},
        in_shape=in_shape,
        construct=construct,
        draw=draw,
        **({} if is_single else {"evaluation": evaluation}),
        **measures,
    )
    return trainer


def build_networks(
    config: dict[str, Any], space: SearchSpace, trainer: ChildTrainer
) -> "SpaceNetworks":
    """Returns what looks at a space's networks without building them."""
    from nasrunner.children.networks import SpaceNetworks  # imports torch

    data = config["data"]
    return SpaceNetworks(
        space,
        in_shape_of(data),
        in_dtype_of(data),
        identifies=trainer.trains_networks,
    )


def open_ledger(folder: Path) -> Ledger:
    """Returns the ledger of a study's folder.

    Raises:
        LedgerError: the folder cannot be written, or as of ``Ledger``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Ledger(folder / "ledger.jsonl")
    except OSError as error:
        raise LedgerError(f"{folder} cannot be written: {error.strerror}") from error


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
