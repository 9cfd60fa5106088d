"""Overrides of the command line where decisions are involved: Hydra would merge their mappings."""

import contextlib
import dataclasses
import itertools
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import GroupDefault, InputDefault, ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

from nasrunner.core.errors import ConfigError
from nasrunner.core.language.leaves import LEAVES, hint_of_decision, leaf_of, written
from nasrunner.core.search_space import CHILD_GROUPS

_NOT_HERE = (
    "{key}: {leaf} is a decision, which only the space and the child's configuration have "
    "({groups}); a study for each value is --multirun {key}=value1,value2"
)

_NOT_SPREAD = (
    f"an interval is searched only in the space and in {', '.join(CHILD_GROUPS)}; a study for each "
    "of some values is --multirun key=value1,value2"
)

_MAX_MERGED = 64
"""Defaults lists of which the merged files are kept."""

_WHOLE = ("objectives", "scalarization")
"""Mappings of the top level that are not merged with those of an experiment, as decisions."""


def register() -> None:
    """Makes Hydra replace a decision as a whole, for every command that composes.

    Hydra has no hook there, and its versions are pinned: those of its functions that merge are
    wrapped. So are the one that reads files, which does not name one that is no text, and those
    that read and merge all of them again for each composition: those of a multirun are many.
    """
    if not hasattr(ConfigLoaderImpl, "_nasrunner"):
        ConfigLoaderImpl._nasrunner = True  # type: ignore[attr-defined]
        _wrap("_apply_overrides_to_config", _apply_each)
        ConfigRepository.load_config = _load_once(  # type: ignore[method-assign]
            _load_utf8(ConfigRepository.load_config)
        )
        _wrap("validate_sweep_overrides_legal", _check_sweeps)
        ConfigLoaderImpl._load_configuration_impl = _leave_to_studies(  # type: ignore[method-assign]
            _name_own(ConfigLoaderImpl._load_configuration_impl)
        )
        ConfigLoaderImpl._compose_config_from_defaults_list = _merge_files(  # type: ignore[method-assign]
            ConfigLoaderImpl._compose_config_from_defaults_list
        )
        defaults_list._create_interpolation_map = _map_if_needed(
            defaults_list._create_interpolation_map
        )
        # Each composition copies its sources, and with them the store, which copies what it gives.
        ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]


def check_place(key: str, value: object) -> None:
    """Refuses a decision where no child's configuration is.

    Raises:
        ConfigError: names the key.
    """
    leaf = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else None
    if leaf in LEAVES and key.split(".")[0] not in (*CHILD_GROUPS, "space", "hydra"):
        raise ConfigError(_NOT_HERE.format(key=key, leaf=leaf, groups=", ".join(CHILD_GROUPS)))


def _wrap(name: str, wrapper: Callable[..., None]) -> None:
    original = getattr(ConfigLoaderImpl, name)
    setattr(
        ConfigLoaderImpl,
        name,
        staticmethod(lambda *args, **named: wrapper(original, *args, **named)),
    )


def _load_utf8(original: Callable[..., Any]) -> Callable[..., Any]:
    def load_config(repository: ConfigRepository, config_path: str) -> Any:
        try:
            result = original(repository, config_path)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{config_path}.yaml must be text in UTF-8: {error}") from error
        if result is not None and OmegaConf.is_list(result.config):
            raise ConfigError(
                f"{config_path}.yaml must hold keys, got a list; modules in series are concat: […]"
            )
        return result

    return load_config


def _load_once(original: Callable[..., Any]) -> Callable[..., Any]:
    """Reads a file once for as long as it is the same; callers change what they get."""
    read: dict[tuple[Any, ...], bytes] = {}

    def load_config(repository: ConfigRepository, config_path: str) -> Any:
        source = repository._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            return None
        key: tuple[Any, ...] = (source.provider, source.path, config_path)
        if source.scheme() == "file":
            name = source._normalize_file_name(config_path)
            state = os.stat(os.path.join(source.path.removeprefix("file://"), name))
            key = (*key, state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
        elif source.scheme() == "structured":  # who composes looks at all of the store
            result = original(repository, config_path)
            result.state = key
            return result
        elif source.full_path() != "pkg://hydra.conf":
            return original(repository, config_path)
        if key not in read:
            read[key] = pickle.dumps(original(repository, config_path), pickle.HIGHEST_PROTOCOL)
        result = pickle.loads(read[key])
        result.state = key
        return result

    return load_config


def _map_if_needed(original: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Collects the options chosen so far only for a defaults list that refers to one of them."""

    def create(overrides: Any, defaults: list[InputDefault], self_added: bool) -> DictConfig:
        if any(each.is_interpolation() for each in defaults):
            return original(overrides, defaults, self_added)
        return OmegaConf.create()

    return create


def _name_own(original: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Names what was given in the place of the options that a study is called after."""

    def load(*args: Any, **named: Any) -> DictConfig:
        composed = original(*args, **named)
        choices = composed.hydra.runtime.choices
        for group in ("searcher", "space"):
            if group not in choices and isinstance(_node(composed, group), DictConfig):
                OmegaConf.update(choices, group, "own", force_add=True)
        return composed

    return load


def _leave_to_studies(original: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Lets a multirun have overrides of what only the options that it sweeps have.

    Hydra composes a multirun without these options first, and would refuse such an override for
    the default ones. It is checked with each of the options instead.
    """

    def load(loader: ConfigLoaderImpl, **named: Any) -> DictConfig:
        try:
            return original(loader, **named)
        except ConfigCompositionException:
            if named["run_mode"] != RunMode.MULTIRUN:
                raise
            given = OverridesParser.create(loader).parse_overrides(named["overrides"])
            composed = _without_refused(original, loader, given, named)
            composed.hydra.overrides.task = [
                each.input_line for each in given if not each.is_hydra_override()
            ]
            studies = list(_studies_of_options(loader, composed))
            if len(studies) <= 1:
                raise
            for overrides in studies:
                loader.load_sweep_config(composed, overrides)
            return composed

    return load


def _without_refused(
    original: Callable[..., DictConfig],
    loader: ConfigLoaderImpl,
    given: Sequence[Override],
    named: dict[str, Any],
) -> DictConfig:
    """Composes without those overrides of values inside groups that are refused."""
    inside = [each for each in given if _is_inside(each)]
    kept = [str(each.input_line) for each in given if each not in inside]
    composed = original(loader, **{**named, "overrides": kept})
    for each in inside:
        with contextlib.suppress(ConfigCompositionException):
            more = [*kept, str(each.input_line)]
            composed, kept = original(loader, **{**named, "overrides": more}), more
    return composed


def _is_inside(override: Override) -> bool:
    is_plain = not (override.is_hydra_override() or override.is_sweep_override())
    return is_plain and (override.package is not None or "." in override.key_or_group)


def _studies_of_options(loader: ConfigLoaderImpl, composed: DictConfig) -> Iterator[list[str]]:
    """The overrides of a study of a multirun for each combination of the options that it sweeps."""
    swept = composed.hydra.sweeper.get("params") or {}
    typed = [*(f"{key}={value}" for key, value in swept.items()), *composed.hydra.overrides.task]
    values: dict[str, list[str]] = {}
    for each in OverridesParser.create(loader).parse_overrides(typed):
        key = each.get_key_element()
        if not each.is_sweep_override():
            values[key] = [str(each.input_line)]
        elif each.is_discrete_sweep():
            found = [f"{key}={value}" for value in each.sweep_string_iterator()]
            is_option = loader.repository.group_exists(each.key_or_group)
            values[key] = found if is_option else found[:1]
    for study in itertools.product(*values.values()):
        yield list(study)


def _merge_files(original: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Merges the files of a defaults list; a decision in one replaces what others have there.

    A file that selects a searcher, as an experiment does, has settings of that searcher alone:
    they go where it stands, which may be inside another one, or are left out.

    What files that are the same were merged to is kept: overrides of values are applied to it.
    """
    merged: dict[tuple[Any, ...], bytes] = {}

    def compose(loader: Any, defaults: Any, repo: Any) -> DictConfig:
        key = _state(defaults, repo)
        if key is None:
            return merge(loader, defaults, repo)
        if key in merged:
            merged[key] = merged.pop(key)  # the last of those to be forgotten
            kept: DictConfig = pickle.loads(merged[key])
            return kept
        config = merge(loader, defaults, repo)
        merged[key] = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
        if len(merged) > _MAX_MERGED:
            del merged[next(iter(merged))]
        return config

    def merge(loader: Any, defaults: Any, repo: Any) -> DictConfig:
        decisions: dict[tuple[Any, ...], Any] = {}
        load = loader._load_single_config
        # An option with defaults of its own has no override_key here.
        searchers = [d for d in defaults if str(d.config_path).startswith("searcher/")]
        searchers.sort(
            key=lambda d: len(str(d.package)), reverse=True
        )  # the outer one last: it wins
        places = {d.config_path: str(d.package) for d in searchers}

        def load_and_note(**named: Any) -> Any:
            loaded = load(**named)
            if (selected := _selected(loaded)) is not None and "searcher" in loaded.config:
                _move_settings(loaded.config, places.get(selected))
            _note_decisions(loaded.config, (), decisions)
            return loaded

        loader._load_single_config = load_and_note
        try:
            config = original(loader, defaults=defaults, repo=repo)
        finally:
            del loader._load_single_config
        for (*above, last), decision in decisions.items():
            holder: Any = config
            for name in above:
                holder = holder._get_node(name) if isinstance(holder, DictConfig) else None
            if isinstance(holder, DictConfig) and isinstance(holder._get_node(last), DictConfig):
                holder[last] = decision
        return config

    return compose


def _state(defaults: Sequence[ResultDefault], repo: Any) -> tuple[Any, ...] | None:
    """All that a merged defaults list follows from; None: one of its files has no known state."""
    stored = pickle.dumps(ConfigStore.instance().repo, pickle.HIGHEST_PROTOCOL)
    states: list[Any] = [stored]
    for default in defaults:
        loaded = repo.load_config(config_path=default.config_path)
        state = getattr(loaded, "state", None)
        if state is None:
            return None
        states.append((*dataclasses.astuple(default), state))
    return tuple(states)


def _move_settings(config: DictConfig, place: str | None) -> None:
    """Moves a file's settings of its searcher to where that stands; None: it stands nowhere."""
    with flag_override(config, ["struct", "readonly"], False):
        settings = config.pop("searcher")
        if place is not None:
            OmegaConf.update(config, place, settings, force_add=True)


def _selected(loaded: Any) -> str | None:
    """The searcher that a file's defaults list selects, as the path of its option."""
    for each in loaded.defaults_list or ():
        is_override = isinstance(each, GroupDefault) and each.override and each.package is None
        if is_override and str(each.group).lstrip("/") == "searcher":
            return f"searcher/{each.value}"
    return None


def _note_decisions(
    node: Any, place: tuple[Any, ...], decisions: dict[tuple[Any, ...], Any]
) -> None:
    """Notes the decisions of a file, and forgets those that it changes."""
    decisions.pop(place, None)
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return
    if node._is_interpolation():
        return
    if _is_leaf(node) and place:
        decisions[place] = node
        return
    for name in node:
        _note_decisions(node._get_node(name), (*place, name), decisions)


def _apply_each(
    original: Callable[..., None], overrides: Sequence[Override], cfg: DictConfig
) -> None:
    for override in overrides:
        if override.is_delete() or override.is_hydra_override() or not _replaced(override, cfg):
            original([override], cfg)


def _replaced(override: Override, cfg: DictConfig) -> bool:
    """Whether a value was set here, in the place of a decision or by one."""
    key, value = str(override.key_or_group), override.value()
    parent, _, last = key.rpartition(".")
    if last in LEAVES and _is_leaf(_node(cfg, parent)):  # space.….units.range=[8,16,4]
        key, value = parent, {last: value}
    check_place(key, value)
    before = _node(cfg, key)
    if key in _WHOLE and isinstance(before, DictConfig):
        OmegaConf.update(cfg, key, value, merge=False)
        return True
    is_object = isinstance(value, dict) and "_target_" in value
    if is_object and isinstance(before, DictConfig) and not _is_leaf(before):
        # Its class may take what the one before does not; construct() checks the names.
        OmegaConf.update(cfg, key, value, merge=True, force_add=True)
        return True
    if isinstance(value, dict) and leaf_of(value, key) is not None:
        if before is None:
            return False
    elif not _is_leaf(before):
        return False
    elif isinstance(value, dict | list):
        given = hint_of_decision(value)
        if isinstance(value, list):
            given = f"; for these values: {{oneof: {value}}}"
        raise ConfigError(
            f"{key} is a decision, to be replaced by a value or another one ({', '.join(LEAVES)}), "
            f"got {value}{given}"
        )
    OmegaConf.update(cfg, key, value, merge=False)
    return True


def _node(cfg: DictConfig, key: str) -> Any:
    return OmegaConf.select(cfg, key, throw_on_missing=False, throw_on_resolution_failure=False)


def _is_leaf(node: object) -> bool:
    return isinstance(node, DictConfig) and len(node) > 0 and next(iter(node)) in LEAVES


def _check_sweeps(
    original: Callable[..., None], overrides: Sequence[Override], run_mode: RunMode, **named: Any
) -> None:
    has_sweeper = any(each.key_or_group == "hydra/sweeper" for each in overrides)
    for override in overrides:
        is_interval = override.is_interval_sweep() and not has_sweeper
        is_call = "(" in str(override.input_line) and override.is_sweep_override()
        if is_interval or (is_call and run_mode == RunMode.RUN):
            word = str(override.value_type.name).split("_")[0].lower()  # type: ignore[union-attr]
            key = str(override.key_or_group)
            told = []
            if key.split(".")[0] in (*CHILD_GROUPS, "space"):
                form = written(word) or written("oneof")
                told.append(f"what one study searches is written {key}={form}")
            if not is_interval:
                told.append(f"a study for each: --multirun {override.input_line}")
            raise ConfigError(f"{override.input_line}: {'; '.join(told) or _NOT_SPREAD}")
    original(overrides, run_mode, **named)
