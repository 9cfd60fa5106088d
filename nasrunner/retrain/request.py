"""What the user asks ``nasrunner-retrain`` for, and the configuration that comes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from nasrunner.arguments import checked
from nasrunner.command_line import check_folder
from nasrunner.compose.changes import check_kind, override_config, parse_overrides
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.language.leaves import leaf_of
from nasrunner.core.search_space import SearchSpace
from nasrunner.rescoring.request import KEYS as REWARD_KEYS
from nasrunner.rescoring.request import Rescoring, is_of_reward, read_rescoring
from nasrunner.retrain.training.other_data import DATA, DATA_KEYS, chosen_data, is_of_data
from nasrunner.retrain.training.rebuilt import is_of_space
from nasrunner.retrain.training.recipe import On, Start

GROUPS = ("trainer", "optimizer", "scheduler", "executor", "tracker")
"""The groups that may change; everything else is what the study searched with."""


@dataclass(frozen=True)
class RetrainRequest:
    """What to retrain, and how.

    Attributes:
        source: the study: its folder, or its run in a tracker as ``runs:/<id>``.
        top: how many of its best architectures.
        seeds: how many networks of each.
        on: what they are trained on.
        folder: where they go; None: ``retrained`` in the study's folder.
        mlp_classifier: whether scikit-learn's MLPClassifier is trained too, where the space
            holds MLPs only.
        tracking_uri: where the tracker keeps the run of ``source``; None: where it usually does.
        grid: the training settings to search first: an option of ``conf/grid``, or a mapping as
            Hydra reads it; None: there is nothing to search.
        trust: whether a stranger's study is taken with all that its configuration names.
        overrides: changes of the study's configuration.
        start: what the networks' training begins with.
        rescoring: the reward by which architectures are the best; None: that of the search.
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
    start: Start = "scratch"
    rescoring: Rescoring | None = None

    @property
    def changes_space(self) -> bool:
        """Whether networks are built with other values than were searched, or for other data."""
        return bool(self.space_changes) or self.other_data is not None

    @property
    def space_changes(self) -> Sequence[str]:
        """The overrides of the space."""
        return [each for each in self.overrides if is_of_space(each.lstrip("+~"))]

    @property
    def other_data(self) -> str | None:
        """The data set that networks are trained on where it is not the study's; else None."""
        return chosen_data(parse_overrides(self.overrides)[0])

    def for_each_data(self) -> "list[RetrainRequest]":
        """Returns a request for each data set of ``data=a,b``; itself where one is chosen, or none.

        Raises:
            ConfigError: the networks of all would go to one folder.
        """
        parsed = parse_overrides(self.overrides)[0]
        swept = [each for each in parsed if each.key_or_group == DATA and each.is_sweep_override()]
        if not swept:
            return [self]
        if self.folder is not None:
            raise ConfigError("folder= is for one data set: those of data=a,b have a folder each")
        chosen = swept[0]
        if not chosen.is_discrete_sweep():
            raise ConfigError(
                f"{chosen.input_line}: legal are data=option and data=option1,option2"
            )
        return [
            replace(
                self,
                overrides=tuple(
                    f"{DATA}={value}" if each == chosen.input_line else each
                    for each in self.overrides
                ),
            )
            for value in chosen.sweep_string_iterator()
        ]


def parse(arguments: Sequence[str]) -> RetrainRequest:
    """Returns the request that a command line of ``key=value`` makes.

    Raises:
        ConfigError: an argument is no ``key=value``, a value is not legal, or ``from`` is missing.
    """
    of_reward = [each for each in arguments if is_of_reward(each.partition("=")[0])]
    request = RetrainRequest(source="", rescoring=read_rescoring(of_reward))
    for argument in arguments:
        if argument in of_reward:
            continue
        key, is_given, value = argument.partition("=")
        if argument in ("--multirun", "-m"):
            raise ConfigError(f"{argument} is not needed: data=a,b trains on each of these")
        if not is_given:
            raise ConfigError(f"arguments are written key=value, got {argument!r}; see --help")
        if key in _OWN:
            request = _OWN[key](request, value.strip("'\""))
        else:
            request = replace(request, overrides=(*request.overrides, *checked([argument], None)))
    if not request.source:
        raise ConfigError("from= is missing: a study's folder, or runs:/<id>, its run in a tracker")
    check_folder("folder", request.folder)
    if request.rescoring is not None and request.start == "child":
        raise ConfigError(
            "start=child goes on with the weights of the epoch that the search's reward is of, and "
            "another reward may be of another: legal with reward=, objectives= or scalarization= "
            "is start=scratch"
        )
    if request.start == "child" and _has_key(request, DATA):
        raise ConfigError(
            "start=child goes on with the weights of networks that were trained on the study's own "
            "data: legal with data=… is start=scratch, as the papers train the cells that they "
            "transfer"
        )
    if request.start == "child" and request.changes_space:
        raise ConfigError(
            "start=child goes on with the weights of the networks that were searched, and a "
            "changed space has others: legal with space.… is start=scratch"
        )
    return request


def _has_key(request: RetrainRequest, key: str) -> bool:
    return any(each.lstrip("+").partition("=")[0] == key for each in request.overrides)


def _counted(name: str) -> Callable[[RetrainRequest, str], RetrainRequest]:
    def take(request: RetrainRequest, text: str) -> RetrainRequest:
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"{name} must be a whole number >= 1, got {text!r}")
        return replace(request, **{name: int(text)})  # type: ignore[arg-type]

    return take


def _chosen(
    name: str, choices: Mapping[str, Any]
) -> Callable[[RetrainRequest, str], RetrainRequest]:
    def take(request: RetrainRequest, text: str) -> RetrainRequest:
        if text not in choices:
            raise ConfigError(f"{name}={text} is no choice, {suggest(text, choices)}")
        return replace(request, **{name: choices[text]})

    return take


_OWN: Mapping[str, Callable[[RetrainRequest, str], RetrainRequest]] = {
    "from": lambda request, text: replace(request, source=text),
    "top": _counted("top"),
    "seeds": _counted("seeds"),
    "on": _chosen("on", {name: name for name in ("train", "train_and_validation")}),
    "start": _chosen("start", {name: name for name in ("scratch", "child")}),
    "folder": lambda request, text: replace(request, folder=Path(text)),
    "tracking_uri": lambda request, text: replace(request, tracking_uri=text),
    "mlp_classifier": _chosen("mlp_classifier", {"true": True, "false": False}),
    "trust": _chosen("trust", {"true": True, "false": False}),
    "grid": lambda request, text: replace(request, grid=text),
}


def changed(
    config: Mapping[str, Any], overrides: Sequence[str], space: SearchSpace
) -> dict[str, Any]:
    """Returns a study's configuration with the user's changes, resolved.

    A group's option (``scheduler=cosine``) is read from ``conf/`` and may refer to the study's
    other values. Where the study's cosine schedule ends with its epochs, it still does.

    Raises:
        ConfigError: a key does not exist, may not change, or is searched by the space.
        HydraException: an override or an option of a group cannot be read.
    """
    tree = OmegaConf.create(dict(config))
    parsed, paths = parse_overrides(overrides)
    parsed = [each for each in parsed if not is_of_space(each.key_or_group)]  # see ``rebuilt``
    if chosen_data(parsed) is not None:  # so are these, and may all change
        for override in filter(is_of_data, parsed):
            check_unsearched(override.key_or_group, space)
        parsed = [each for each in parsed if not is_of_data(each)]
    for override in parsed:
        _check_key(override, space)
    keys = [each.key_or_group for each in parsed]
    _let_cosine_follow(tree, keys)
    for override in parsed:
        key, value = override.key_or_group, override.value()
        if leaf_of(value, key) is not None:
            raise ConfigError(
                f"{key} is a decision, and these are searched with 'grid={{{key}: {value}}}'"
            )
    return override_config(tree, parsed, paths, GROUPS)


def _check_key(override: Override, space: SearchSpace) -> None:
    check_kind(override)
    check_may_change(override.key_or_group, space)


def check_may_change(key: str, space: SearchSpace) -> None:
    """Refuses a key that is what the study searched with, or what its space searches.

    Raises:
        ConfigError: names the key, and those that may change.
    """
    top, _, rest = key.partition(".")
    if top not in GROUPS and not (top == DATA and rest in DATA_KEYS):
        own = [*(name for name in _OWN if name != "from"), *REWARD_KEYS]
        legal = suggest(key, [*own, *GROUPS, *(f"data.{name}" for name in DATA_KEYS), "space.…"])
        others = "; with data=option, of another data set, each data.… can" if top == DATA else ""
        raise ConfigError(f"{key} cannot change when a network is retrained, {legal}{others}")
    check_unsearched(key, space)


def check_unsearched(key: str, space: SearchSpace) -> None:
    """Refuses a key that the space searches, or one around or inside it.

    Raises:
        ConfigError: names the key.
    """
    for searched, _ in space.hyperparameters:
        if f"{key}.".startswith(f"{searched}.") or f"{searched}.".startswith(f"{key}."):
            raise ConfigError(
                f"{key} cannot change: the space searches {searched}, of which every child has a "
                "value of its own"
            )


def _let_cosine_follow(tree: Any, keys: Sequence[str]) -> None:
    """``T_max: ${trainer.max_epochs}`` again, which a saved configuration holds as a number."""
    known = OmegaConf.select(tree, "scheduler.T_max")
    is_given = bool({"scheduler", "scheduler.T_max"} & set(keys))
    ends_with_epochs = known == OmegaConf.select(tree, "trainer.max_epochs")
    if known is not None and ends_with_epochs and not is_given:
        OmegaConf.update(tree, "scheduler.T_max", "${trainer.max_epochs}")
