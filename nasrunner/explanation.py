"""Puts into words what Hydra says of a key that does not exist: the nearest legal ones."""

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, OmegaConf

from nasrunner.arguments import CommandArguments, options_of, read_arguments
from nasrunner.command_line import sentence
from nasrunner.compose import config as skeleton
from nasrunner.core.annotations import takes
from nasrunner.core.errors import ConfigError, suggest
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.search_space import CHILD_GROUPS


def explain(
    error: Exception, overrides: Sequence[str] | None = None, own_dir: Path | None = None
) -> str:
    """Returns an error as one sentence, with the legal keys where one was misspelt.

    Args:
        error: what a user caused.
        overrides: that were given; None: those of ``nasrunner``'s command line.
        own_dir: the user's own configuration folder, where overrides are given.
    """
    text = sentence(error, overrides)
    if overrides is None:
        with contextlib.suppress(ConfigError, HydraException):  # it is what is told
            called = read_arguments(sys.argv[1:])
            overrides = (*_swept_by_file(called), *called.overrides)
            own_dir = called.own_dir
    given = overrides or ()
    text = re.sub(r" (reference_type|object_type)=\S+| Config search path:.*", "", text)
    unknown = re.search(r"not in \S+ full_key: (\S+)|Could not override '(\S+)'\.", text)
    if isinstance(error, ConfigCompositionException) and unknown:
        key = re.sub(r"\[(\d+)\]", r".\1", unknown.group(1) or unknown.group(2))
        if key.split(".")[0] == "experiment":
            return (
                "the experiment's file must begin with the line '# @package _global_', or its keys "
                f"are read as {key}.…"
            )
        if (takers := _takers_of(key, given)) is not None:
            return takers
        composed, options = _composed(given, own_dir, key)
        while (parent := key.rpartition(".")[0]) and _is_missing(composed, parent):
            key = parent  # trainer.callbacks.tel of trainer.callbacks.tel.every
        name = key.rpartition(".")[2]
        found = OmegaConf.select(composed, parent) if parent else composed
        node = found if isinstance(found, DictConfig) else {}
        if parent and found == {}:  # baseline: none
            on = "|".join(each for each in options_of(parent, own_dir) if each != "none")
            return (
                f"there is no key {key!r}, as {parent} is off: {parent}={on} comes first, and "
                f"+{key}=… where that has none"
            )
        if isinstance(found, str | int | float):
            return f"there is no key {key!r}: {parent} is {found}"
        parents = {each: _inside(of, parent) for each, of in options.items()}
        lacking = {each: of for each, of in parents.items() if name not in of}
        refusing = {each: of for each, of in lacking.items() if not takes(of, name)}
        if _is_argument(key) or (not refusing if lacking else takes(node, name)):
            return _how_to_add(key, given, [] if len(lacking) == len(options) else [*lacking])
        keys = [each for each, _ in skeleton.leaves(OmegaConf.to_container(composed))]
        # Wherever in the groups it stands: lr is optimizer.lr.
        if elsewhere := [k for k in keys if k.count(".") == 1 and k.endswith(f".{name}")]:
            return f"there is no key {key!r}, did you mean {' or '.join(map(repr, elsewhere))}?"
        if "." not in key and (holders := _holders_of(name)):
            meant = [f"{group}.{name} (with {' or '.join(of)})" for group, of in holders.items()]
            return f"there is no key {key!r}, did you mean {' or '.join(meant)}?"
        if legal := [*{str(each): None for of in refusing.values() or [node] for each in of}]:
            of_those = f" with {' or '.join(refusing)}" if refusing else ""
            return f"there is no key {key!r}{of_those}, {suggest(name, legal)}"
    return text


def _how_to_add(key: str, given: Sequence[str], lacking: Sequence[str]) -> str:
    """Says how a key is added that what holds it takes: only with the options that lack it."""
    typed = next((each for each in given if each.startswith(f"{key}=")), f"{key}=…")
    if lacking:
        told = f"there is no key {key!r} with {' or '.join(lacking)} yet"
        return f"{told}: ++{typed} sets it with all"
    return f"the configuration has no {key!r} yet: +{typed} adds it"


def _swept_by_file(called: CommandArguments) -> list[str]:
    """What the user's own configuration has a multirun sweep, and the command line does not."""
    name = get_args_parser().parse_args(called.flags).config_name
    path = (called.own_dir or skeleton.config_dir()) / f"{name}.yaml"
    if name is None or not path.is_file():
        return []
    typed = {each.partition("=")[0] for each in called.overrides}
    swept = OmegaConf.select(OmegaConf.load(path), "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in swept.items() if key not in typed]


def _takers_of(key: str, given: Sequence[str]) -> str | None:
    """Says which shipped options hold one of a group, for ``group@package``; None: none do."""
    group, has_package, package = key.partition("@")
    takers, around = [], package.partition(".")[0]
    for path in sorted((skeleton.config_dir() / around).glob("*.yaml")) if has_package else ():
        inside = OmegaConf.select(OmegaConf.load(path), "defaults") or ()
        names = [str(name) for each in inside if isinstance(each, DictConfig) for name in each]
        held = [n.replace("@", f"@{around}.")[1:] for n in names if n.startswith(f"/{group}@")]
        takers += [f"{around}={path.stem} ({', '.join(held)})"] if held else []
    if not takers:
        return None
    swept = next((each for each in given if each.startswith(f"{around}=")), "")
    held_by = [each.split()[0] for each in takers]
    lacking = [each for each in _values(swept) if each and each not in held_by]
    of_those = f" with {' or '.join(lacking)}" if lacking else ""
    told = f"there is no {group} at {package!r}{of_those} to exchange"
    return f"{told}; one is in {', '.join(takers)}"


def _holders_of(name: str) -> dict[str, list[str]]:
    """The shipped options that have a key, by their groups."""
    holders: dict[str, list[str]] = {}
    for group in (*CHILD_GROUPS, "searcher", "executor", "tracker"):
        for path in sorted((skeleton.config_dir() / group).glob("*.yaml")):
            if name in OmegaConf.load(path):
                holders.setdefault(group, []).append(f"{group}={path.stem}")
    return holders


def _is_argument(key: str) -> bool:
    """Whether a key is an argument that a module of the space language takes."""
    module, _, name = key.rpartition(".")
    module = module.rpartition(".")[2]
    if not key.startswith("space."):
        return False
    from nasrunner.core.space import argument_names  # imports torch, where it is needed
    from nasrunner.spaces.language.parsing import MODULES

    return module in MODULES and name in argument_names(MODULES[module])


def _is_missing(composed: DictConfig, key: str) -> bool:
    """Whether nothing stands there, not even null."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(composed, parent) if parent else composed
    return node is None or (isinstance(node, DictConfig) and name not in node)


def _inside(composed: DictConfig, key: str) -> DictConfig:
    """What stands there; empty if that holds no keys."""
    node = OmegaConf.select(composed, key) if key else composed
    return node if isinstance(node, DictConfig) else OmegaConf.create()


def _composed(
    given: Sequence[str], own_dir: Path | None, key: str
) -> tuple[DictConfig, dict[str, DictConfig]]:
    """The configuration composed from the overrides that are legal.

    Of the values of a multirun the first is taken with which the key is missing, as in the study
    that cannot be composed. Modules that the configuration names can be imported from then on.

    Returns:
        it; and each of several options of the key's own group, or of several experiments, composed.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    overrides = [] if own_dir is None else [skeleton.search_path(own_dir)]
    options: dict[str, DictConfig] = {}
    with initialize_config_dir(str(skeleton.config_dir()), version_base="1.3"):
        # Options of groups come first, as Hydra takes them, wherever they were typed.
        given = sorted(given, key=lambda each: "." in each.partition("=")[0])
        others = [each for each in given if not f"{each.partition('=')[0]}.".startswith(f"{key}.")]
        composed: DictConfig | None = None
        left: Sequence[str] = ()
        if all(_values(each) == [each] for each in others):
            with contextlib.suppress(ConfigError, HydraException):  # another one is illegal, too
                composed = compose("config", overrides=[*overrides, *others])
        if composed is None:
            composed, left = compose("config", overrides=overrides), given
        for argument in left:
            legal = []
            values = _values(argument)
            is_swept = len(values) > 1
            is_told = argument.partition("=")[0] in (key.split(".")[0], "experiment")
            for each in values:
                try:
                    legal.append((compose("config", overrides=[*overrides, each]), each))
                except (ConfigError, HydraException):
                    continue  # the one to be told about, or one after it
                if not (is_swept and is_told) and _is_missing(legal[-1][0], key):
                    break
            if legal:
                missing = (each for each in legal if _is_missing(each[0], key))
                composed, chosen = next(missing, legal[-1])
                overrides.append(chosen)
                if is_swept and is_told:
                    options = {each: config for config, each in legal}
    find_user_modules(OmegaConf.to_container(composed, resolve=False), lambda: [Path.cwd()])
    return composed, options


def _values(argument: str) -> list[str]:
    """An override, or one for each value where a multirun has several."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        override = OverridesParser.create().parse_override(argument)
        if not override.is_sweep_override():
            return [argument]
        return [f"{override.get_key_element()}={each}" for each in override.sweep_string_iterator()]
    except HydraException:
        return [argument]
