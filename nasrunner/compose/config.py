"""The typed skeleton of the configuration: a misspelt or wrongly typed key fails at once."""

import contextlib
import copy
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hydra.core.config_store import ConfigStore
from hydra.utils import get_object
from omegaconf import MISSING, DictConfig, OmegaConf

from nasrunner.compose import overrides
from nasrunner.compose.construct import construct
from nasrunner.compose.searched import resolved
from nasrunner.core.annotations import AtLeast, check_values, fits, readable
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.machine.child_folder import KEEPS_LAST
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.study.keeping import Keeping
from nasrunner.study.packing import Packing
from nasrunner.study.rules import Rules

if TYPE_CHECKING:
    from nasrunner.data.own.reading import Guess

_ABOVE = Annotated[int, AtLeast(0)] | None

_DESCRIBING = ("in_shape", "num_outputs")
"""What is known of every data set before networks are built."""

GRID = "grid_of_retraining"
"""The primary configuration of the group ``grid``, which no study has."""


@dataclass
class LimitsConfig:
    """Children above these are invalid."""

    parameters: int | None = MISSING
    flops: int | None = MISSING
    memory_gb: float | None = MISSING


@dataclass
class EvaluationConfig:
    """A child's reward is the mean over these trainings."""

    repeats: int = MISSING
    folds: int | None = MISSING


@dataclass
class StudyConfig:
    """The top level of the configuration. Groups stay open: each names its own class."""

    study: str = MISSING
    seed: int = MISSING
    max_children: int | None = MISSING
    max_epochs_total: int | None = MISSING
    max_hours: float | None = MISSING
    target_reward: float | None = MISSING
    max_failures: int | None = MISSING
    max_fruitless: int | None = MISSING
    duplicates: str = MISSING
    failed_reward: Any = MISSING
    keep_weights: str = MISSING
    pack_children_above: int | None = MISSING
    limits: LimitsConfig = MISSING
    evaluation: EvaluationConfig = MISSING
    objectives: Any = None
    scalarization: Any = None
    start_with: Any = None
    resume: str | None = MISSING
    trust: bool = False
    space: Any = MISSING
    searcher: Any = MISSING
    baseline: Any = None
    data: Any = MISSING
    task: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    trainer: Any = MISSING
    executor: Any = MISSING
    tracker: Any = MISSING


REQUIRED = (
    "study",
    "seed",
    "limits",
    "space",
    "searcher",
    "data",
    "task",
    "optimizer",
    "scheduler",
    "trainer",
    "executor",
    "tracker",
)
"""Keys that the configuration of every study has had since the first version, in this order."""


def config_dir() -> Path:
    """Returns where the shipped configuration lies: in the wheel, or beside the package in a
    checkout.
    """
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def shipped_option(group: str, name: str) -> dict[str, Any]:
    """Returns a shipped option, with the options of other groups that its defaults place in it.

    What refers to other keys still does.
    """
    path = config_dir() / group / f"{name}.yaml"
    state = path.stat()
    option = copy.deepcopy(_read(path, state.st_ino, state.st_mtime_ns, state.st_size))
    own = {str(key): value for key, value in option.items() if key != "defaults"}
    given = [each for each in option.get("defaults", ()) if isinstance(each, dict)]
    if not given:
        return own
    tree = OmegaConf.create({})
    for (place, chosen), *_ in (each.items() for each in given):
        other, _, key = place.removeprefix("/").partition("@")
        OmegaConf.update(tree, key, chosen and shipped_option(other, chosen))
    merged = OmegaConf.merge(tree, own)
    return {str(key): value for key, value in OmegaConf.to_container(merged).items()}  # type: ignore[union-attr]


@functools.cache
def _read(path: Path, *state: int) -> dict[Any, Any]:
    """Reads a file once for as long as it is the same: what a search is called asks for all."""
    option = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(option, dict), "an option is a mapping"
    return option


def search_path(own_dir: Path) -> str:
    """Returns the override that makes Hydra look for options in a folder of the user's, too."""
    return f"hydra.searchpath=[{quoted(f'file://{own_dir.resolve()}')}]"


def quoted(text: str) -> str:
    """Returns a text as Hydra takes it for a value, whatever is in it."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return "'" + escaped.replace("${", "\\${") + "'"


def register() -> None:
    """Makes the skeleton known to Hydra as ``schema``, and ``GRID`` beside it.

    Overrides of decisions work from then on, too.
    """
    overrides.register()
    store = ConfigStore.instance()
    store.store(name="schema", node=StudyConfig)
    store.store(name=GRID, node={"defaults": [{"grid": MISSING}, "_self_"]})


def rules_from(config: dict[str, Any]) -> Rules:
    """Returns the rules of a study from its resolved configuration.

    Raises:
        ConfigError: a budget, limit or policy is not legal.
    """
    limits = config["limits"]
    keys = {f"max_{name}": f"limits.{name}" for name in ("parameters", "flops", "memory_gb")}
    # Studies of earlier versions lack limits.memory_gb.
    sizes = {name: limits.get(key.removeprefix("limits.")) for name, key in keys.items()}
    names = [field.name for field in fields(Rules) if field.name not in keys]
    values = {name: config[name] for name in names} | sizes
    if wrong := check_values(Rules, values):
        name, what = wrong
        raise ConfigError(f"{keys.get(name, name)} {what}")
    return Rules(**values)


def keeping_from(config: dict[str, Any], folder: Path) -> Keeping:
    """Returns what stays in the folders of a study's ended children, from its resolved
    configuration.

    Raises:
        ConfigError: a value is not legal.
    """
    kept = config["keep_weights"]
    best = re.fullmatch(r"best:0*([1-9]\d*)", str(kept))
    if kept not in ("all", "none") and best is None:
        raise ConfigError(f"keep_weights must be all, none or best:N with N >= 1, got {kept!r}")
    above = config["pack_children_above"]
    if not fits(above, _ABOVE):
        raise ConfigError(f"pack_children_above must be {readable(_ABOVE)}, got {above!r}")
    packing = None if above is None else Packing(folder, above)
    checkpoint = config["trainer"].get("checkpoint")
    keeps_last = None if checkpoint is None else checkpoint in KEEPS_LAST
    return Keeping(folder, int(best[1]) if best else kept, packing, keeps_last=keeps_last)


def check_keys(config: DictConfig) -> None:
    """Refuses a configuration that lacks a key of the skeleton (``~seed``), or has one in vain.

    A key that was added (``+width=64``) is for others to refer to.

    Raises:
        ConfigError: names the key.
    """
    names = [field.name for field in fields(StudyConfig)]
    for name in names:
        if name not in config:
            raise ConfigError(f"{name} is missing, which every study needs")
    text = OmegaConf.to_yaml(config)
    for name in (str(each) for each in config if each not in names):
        if not re.search(rf"\$\{{{re.escape(name)}\b", text):
            raise ConfigError(
                f"there is no key {name!r}, and nothing refers to it as ${{{name}}}; "
                f"{suggest(name, names)}"
            )


def complete_data(config: DictConfig) -> str | None:
    """Fills in what a data set says of itself where the configuration says nothing.

    A data set that can say so has a method ``guess``, as ``OwnData`` has.

    Returns:
        What was found, as a sentence; None: nothing was looked for.

    Raises:
        ConfigError: it does not say what networks are built for, or the configuration contradicts
            what it says.
        DataError: its files are missing or damaged, or nothing can be learnt from them.
    """
    told = _guess(config) if "guess" in dir(_class_of_data(config)) else None
    for name, meaning in (
        (
            "in_shape",
            "the shape of one example, as in [3, 32, 32] or {image: [3, 32, 32], text: [16]}",
        ),
        ("num_outputs", "the classes, or the numbers to predict"),
    ):
        if OmegaConf.select(config, f"data.{name}", throw_on_resolution_failure=False) is None:
            raise ConfigError(
                f"data.{name} is missing: {meaning}; write it in the data set's YAML, or give "
                f"+data.{name}=…"
            )
    return told


def _class_of_data(config: DictConfig) -> Any:
    """The class of a data set that lacks what networks are built for; None: no other is needed."""
    data = config.get("data")
    if not isinstance(data, DictConfig) or "_target_" not in data:
        return None
    # Whether anything is null, not what it is: importing the class takes seconds.
    is_of_tokens = {"in_dtype", "vocabulary"} <= set(data) and data.in_dtype == "int64"
    needed = (*_DESCRIBING, "vocabulary") if is_of_tokens else _DESCRIBING
    if not any(OmegaConf.is_missing(data, n) or _is_null(data, n) for n in needed):
        return None
    with contextlib.suppress(Exception):  # told where it is built
        find_user_modules({"_target_": data["_target_"]}, lambda: [Path.cwd()])
        return get_object(data["_target_"])


def _is_null(data: DictConfig, name: str) -> bool:
    node: Any = data._get_node(name) if name in list(data) else None
    return node is None or bool(node._is_none())


def _guess(config: DictConfig) -> str:
    if missing := [str(name) for name in config.data if OmegaConf.is_missing(config.data, name)]:
        raise ConfigError(f"data.{missing[0]} must be given: data.{missing[0]}=…")
    plain = resolved(config, ("data", "task", "space"))
    data = construct(plain["data"], "data")
    space = plain["space"]
    searched = (isinstance(space, Mapping) and space.get("hyperparameters")) or {}
    for name in data.guessed_from:
        if f"data.{name}" in searched:
            raise ConfigError(
                f"data.{name} is the same for all children, since networks are built for the "
                f"examples; a study for each is --multirun data.{name}=value1,value2"
            )
    try:
        task = get_object(plain["task"]["_target_"])
    except Exception:  # told where it is built
        task = None
    found: Guess = data.guess(getattr(task, "target_kind", None))
    for name, value in found.settings.items():
        given = plain["data"].get(name)
        if given is not None and given != value:
            raise ConfigError(
                f"data.{name} is {given}, but {found.told()}; legal: data.{name}=null"
            )
        OmegaConf.update(config, f"data.{name}", value, merge=False, force_add=True)
    return found.told()


def leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted keys of a configuration with their values; a list is one value."""
    if isinstance(value, Mapping) and value:
        for name, inside in value.items():
            yield from leaves(inside, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value
