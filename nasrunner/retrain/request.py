"""What the user asks ``nasrunner-retrain`` for, and the configuration that comes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf

from nasrunner import config as skeleton
from nasrunner.children.retraining import On
from nasrunner.command_line import check_folder
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.leaves import leaf_of
from nasrunner.core.search_space import SearchSpace

GROUPS = ("trainer", "optimizer", "scheduler", "executor", "tracker")
"""The groups that may change; everything else is what the study searched with."""
DATA_KEYS = ("batch_size", "eval_batch_size", "drop_last", "pad", "root")
"""What may change of the data: neither the examples nor their split."""


@dataclass(frozen=True)
class Request:
    """What to retrain, and how.

    Attributes:
        source: the study: its folder, or its MLflow run as ``runs:/<id>``.
        top: how many of its best architectures.
        seeds: how many networks of each.
        on: what they are trained on.
        folder: where they go; None: ``retrained`` in the study's folder.
        mlp_classifier: whether scikit-learn's MLPClassifier is trained too, where the space
            holds MLPs only.
        tracking_uri: where MLflow keeps the run of ``source``; None: where it usually does.
        grid: the training settings to search first: an option of ``conf/grid``, or a mapping as
            Hydra reads it; None: there is nothing to search.
        trust: whether a stranger's study is taken with all that its configuration names.
        overrides: changes of the study's configuration.
    """

    source: str
    top: int = 3
    seeds: int = 3
    on: On = "train_and_validation"
    folder: Path | None = None
    mlp_classifier: bool = True
    tracking_uri: str | None = None
    grid: str | None = None
    trust: bool = False
    overrides: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> Request:
    """The request that a command line of ``key=value`` makes.

    Raises:
        ConfigError: an argument is no ``key=value``, a value is not legal, or ``from`` is missing.
    """
    request = Request(source="")
    for argument in arguments:
        key, is_given, value = argument.partition("=")
        if not is_given:
            raise ConfigError(f"arguments are written key=value, got {argument!r}; see --help")
        if key in _OWN:
            request = _OWN[key](request, value.strip("'\""))
        else:
            request = replace(request, overrides=(*request.overrides, argument))
    if not request.source:
        raise ConfigError("from= is missing: a study's folder, or runs:/<id> of its MLflow run")
    check_folder("folder", request.folder)
    return request


def _counted(name: str) -> Callable[[Request, str], Request]:
    def take(request: Request, text: str) -> Request:
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"{name} must be a whole number >= 1, got {text!r}")
        return replace(request, **{name: int(text)})  # type: ignore[arg-type]

    return take


def _chosen(name: str, choices: Mapping[str, Any]) -> Callable[[Request, str], Request]:
    def take(request: Request, text: str) -> Request:
        if text not in choices:
            raise ConfigError(f"{name}={text} is no choice, {suggest(text, choices)}")
        return replace(request, **{name: choices[text]})

    return take


_OWN: Mapping[str, Callable[[Request, str], Request]] = {
    "from": lambda request, text: replace(request, source=text),
    "top": _counted("top"),
    "seeds": _counted("seeds"),
    "on": _chosen("on", {name: name for name in ("train", "train_and_validation")}),
    "folder": lambda request, text: replace(request, folder=Path(text)),
    "tracking_uri": lambda request, text: replace(request, tracking_uri=text),
    "mlp_classifier": _chosen("mlp_classifier", {"true": True, "false": False}),
    "trust": _chosen("trust", {"true": True, "false": False}),
    "grid": lambda request, text: replace(request, grid=text),
}


def changed(
    config: Mapping[str, Any], overrides: Sequence[str], space: SearchSpace
) -> dict[str, Any]:
    """A study's configuration with the user's changes, resolved.

    A group's option (``scheduler=cosine``) is read from ``conf/`` and may refer to the study's
    other values. Where the study's cosine schedule ends with its epochs, it still does.

    Raises:
        ConfigError: a key does not exist, may not change, or is searched by the space.
        HydraException: an override or an option of a group cannot be read.
    """
    tree = OmegaConf.create(dict(config))
    parsed, paths = parse_overrides(overrides)
    for override in parsed:
        _check_key(override, space)
    keys = [each.key_or_group for each in parsed]
    _let_cosine_follow(tree, keys)
    for override in sorted(parsed, key=lambda each: each.key_or_group not in GROUPS):
        key = override.key_or_group
        value = override.value()
        if leaf_of(value, key) is not None:
            raise ConfigError(
                f"{key} is a decision, and these are searched with 'grid={{{key}: {value}}}'"
            )
        if key in GROUPS:
            value = option(key, value, paths)
        elif override.type is OverrideType.CHANGE:
            _check_exists(tree, key)
        OmegaConf.update(tree, key, value, merge=False, force_add=True)
    resolved = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(resolved, dict)
    own = {"space": config["space"]} if "space" in config else {}  # refers to children's values
    return {str(key): value for key, value in resolved.items()} | own


def parse_overrides(overrides: Sequence[str]) -> tuple[list[Override], list[Override]]:
    """Changes of the configuration, and apart from them where else options of groups may lie."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    paths = [each for each in parsed if each.key_or_group == "hydra.searchpath"]
    return [each for each in parsed if each not in paths], paths


def _check_key(override: Override, space: SearchSpace) -> None:
    if override.type in (OverrideType.DEL, OverrideType.FORCE_ADD) or override.is_sweep_override():
        raise ConfigError(f"{override.input_line}: legal are key=value and +key=value")
    check_may_change(override.key_or_group, space)


def check_may_change(key: str, space: SearchSpace) -> None:
    """Refuses a key that is what the study searched with, or what its space searches.

    Raises:
        ConfigError: names the key, and those that may change.
    """
    top, _, rest = key.partition(".")
    if top not in GROUPS and not (top == "data" and rest in DATA_KEYS):
        own = [name for name in _OWN if name != "from"]
        legal = suggest(key, [*own, *GROUPS, *(f"data.{name}" for name in DATA_KEYS)])
        raise ConfigError(f"{key} cannot change when a network is retrained, {legal}")
    for searched, _ in space.hyperparameters:
        if f"{key}.".startswith(f"{searched}.") or f"{searched}.".startswith(f"{key}."):
            raise ConfigError(
                f"{key} cannot change: the space searches {searched}, of which every child has a "
                "value of its own"
            )


def _check_exists(tree: Any, key: str) -> None:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent)
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"there is no key {key!r}: {parent} holds no keys in this study")
    if name not in node:
        legal = suggest(name, [str(each) for each in node if not str(each).startswith("_")])
        raise ConfigError(f"there is no key {key!r}, {legal}")


def _let_cosine_follow(tree: Any, keys: Sequence[str]) -> None:
    """``T_max: ${trainer.max_epochs}`` again, which a saved configuration holds as a number."""
    known = OmegaConf.select(tree, "scheduler.T_max")
    is_given = bool({"scheduler", "scheduler.T_max"} & set(keys))
    ends_with_epochs = known == OmegaConf.select(tree, "trainer.max_epochs")
    if known is not None and ends_with_epochs and not is_given:
        OmegaConf.update(tree, "scheduler.T_max", "${trainer.max_epochs}")


def option(group: str, name: object, paths: Sequence[Override], primary: str = "config") -> Any:
    """An option of a group as it stands in ``conf/``, with what it refers to left open.

    Args:
        group: the group.
        name: the option.
        paths: overrides that say where else options may lie.
        primary: the primary configuration that the group belongs to.

    Raises:
        HydraException: there is no such option.
    """
    skeleton.register()
    lines = [f"{group}={name}", *(str(each.input_line) for each in paths)]
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        return compose(primary, overrides=lines)._get_node(group)
