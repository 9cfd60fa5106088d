"""What of a study's configuration changes where its architectures are trained on other data."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrunner.compose import config as skeleton
from nasrunner.compose.changes import check_kind, override_config
from nasrunner.compose.trust import is_own
from nasrunner.core.decision import parts_of
from nasrunner.core.errors import ConfigError
from nasrunner.core.language.leaves import leaf_of
from nasrunner.core.machine.user_modules import find_user_modules
from nasrunner.core.search_space import CHILD_GROUPS

DATA = "data"

DATA_KEYS = ("batch_size", "eval_batch_size", "drop_last", "pad", "cutout", "root")
"""What may change of a study's own data: neither the examples nor their split."""

_OF_SPLIT = (
    *("validation_examples", "test_examples", "split_seed", "equal_inputs", "train_share"),
    *("resolution", "target_kind", "in_shape", "num_outputs", "vocabulary", "digest"),
)
"""What may differ between two configurations of one data set, beside ``DATA_KEYS``."""

_PLACES = ("root", "path", "test_path")
"""Where a user's own files are: other files are other data, while shipped data are the same
anywhere."""

_REFERRING = ("space", *(group for group in CHILD_GROUPS if group != DATA))
"""The groups whose values may refer to the data."""


class SameDataError(ConfigError):
    """The data that a study's architectures are to be rebuilt for are those that it searched on."""


def is_of_data(override: Override) -> bool:
    """Tells whether an override chooses a data set, or changes one."""
    return override.key_or_group.split(".")[0] == DATA


def chosen_data(overrides: Sequence[Override]) -> str | None:
    """Returns the option of the group ``data`` that overrides choose; None: the study's own stay.

    Raises:
        ConfigError: it is chosen twice, or in another place.
    """
    chosen = [each for each in overrides if each.key_or_group == DATA]
    if len(chosen) > 1 or any(each.package is not None for each in chosen):
        given = " ".join(str(each.input_line) for each in chosen)
        raise ConfigError(f"{given}: legal is one data=option")
    return str(chosen[0].value()) if chosen else None


def with_other_data(
    config: Mapping[str, Any],
    folder: Path,
    overrides: Sequence[Override],
    paths: Sequence[Override],
) -> tuple[dict[str, Any], str | None]:
    """Returns a study's configuration as if it had been composed with another data set.

    The data are the option's, with the changes that were asked for and nothing of the study's own;
    what refers to the data, such as ``units: ${data.num_outputs}``, is resolved with these.

    Args:
        config: the study's configuration, resolved.
        folder: where Hydra noted down what refers to what; of a study that lies elsewhere, or may
            be a stranger's, it is not known.
        overrides: those that choose the data, and change them.
        paths: overrides that say where else options may lie.

    Returns:
        The configuration, and what own data say of themselves and cannot be known, as sentences.

    Raises:
        SameDataError: the data set is the study's own.
        ConfigError: it lacks what something refers to, or as of ``complete_data``.
        DataError: as of ``complete_data``.
    """
    for override in overrides:
        check_kind(override)
        if leaf_of(override.value(), override.key_or_group) is not None:
            raise ConfigError(
                f"{override.key_or_group} is a decision, and what is trained on other data has one "
                "value for all"
            )
    name = chosen_data(overrides)
    tree = OmegaConf.create({DATA: config[DATA]})
    data = override_config(tree, overrides, paths, (DATA,))[DATA]
    find_user_modules({DATA: data}, lambda: [Path.cwd()])
    for key, value in skeleton.leaves(data, DATA):
        if value == "???":
            raise ConfigError(f"{key} must be given with data={name}: {key}=…")
    found = OmegaConf.create({**config, DATA: data})
    told = skeleton.complete_data(found)
    complete: Any = OmegaConf.to_container(found[DATA], resolve=True)
    _check_is_other(config[DATA], complete, name)
    noted = _noted(folder)
    referred = dict(config) if noted is None else _referred(config, noted, complete, name)
    if noted is None:
        unknown = (
            "what refers to the data of the search, beside their number of outputs, is not known "
            "of this study, which is not your own or was fetched, and stays as it was"
        )
        told = unknown if told is None else f"{told}; {unknown}"
    return {**referred, DATA: complete}, told


def _check_is_other(before: Mapping[str, Any], now: Mapping[str, Any], name: object) -> None:
    """Refuses the data of the search, other parts of them too: children learnt from their test."""
    target, digests = str(now.get("_target_")), (before.get("digest"), now.get("digest"))
    if None not in digests:
        is_same = digests[0] == digests[1]
    elif "digest" not in now and target.startswith("nasrunner."):
        is_same = True  # one set of files, wherever it lies and whatever is taken of it
    else:
        free = {*DATA_KEYS, *_OF_SPLIT} - (set(_PLACES) if "digest" in now else set())
        keys = [key for key in now if key in before and key not in free]
        is_same = all(_placed(key, before[key]) == _placed(key, now[key]) for key in keys)
    if is_same and before.get("_target_") == target:
        legal = ", ".join(f"data.{each}" for each in DATA_KEYS)
        raise SameDataError(
            f"data={name} is what the study searched on, and networks are tested on the examples "
            f"that the search left out: legal without data= are changes of {legal}"
        )


def _placed(key: str, value: Any) -> Any:
    return Path(value).absolute() if key in _PLACES and isinstance(value, str) else value


def _noted(folder: Path) -> Path | None:
    """What a study's configuration was resolved from; None: it is not there, or a stranger's, which
    could read the environment."""
    begun = folder.parent if folder.name == "baseline" else folder
    noted = begun / ".hydra" / "config.yaml"
    return noted if noted.is_file() and is_own(folder) else None


def _referred(
    config: Mapping[str, Any], noted: Path, data: Mapping[str, Any], name: object
) -> dict[str, Any]:
    """A configuration in which values that follow from the data follow from others.

    Raises:
        ConfigError: one refers to what these data lack.
    """
    found = copy.deepcopy(dict(config))
    before = OmegaConf.load(noted)
    raw: Any = OmegaConf.to_container(before)
    after = OmegaConf.create({**raw, DATA: data})
    for group in _REFERRING:
        for place, text in _references(raw.get(group), (group,)):
            holder, last = _holder(found, place)
            try:
                old = _value_at(before, place)
            except OmegaConfBaseException:
                continue  # only Hydra itself could resolve it
            if holder is None or holder[last] != old:
                continue  # it was written in another way, or changed since
            try:
                holder[last] = _value_at(after, place)
            except OmegaConfBaseException as error:
                key = ".".join(map(str, place))
                raise ConfigError(
                    f"{key} refers to {text}, which data={name} lacks: these networks cannot be "
                    "trained on it"
                ) from error
    return found


def _references(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The places of values that refer to others, with what is written there."""
    if isinstance(value, str) and "${" in value:
        yield place, value
    for name, part in list(parts_of(value)):
        yield from _references(part, (*place, name))


def _value_at(tree: Any, place: Sequence[Any]) -> Any:
    for name in place:
        tree = tree[name]
    return OmegaConf.to_container(tree, resolve=True) if OmegaConf.is_config(tree) else tree


def _holder(tree: Any, place: Sequence[Any]) -> tuple[Any, Any]:
    """The mapping or list in which a value stands, and its name there; None: there is none."""
    *above, last = place
    for name in [*above, last]:
        holder = tree
        try:
            tree = tree[name]
        except (KeyError, IndexError, TypeError):
            return None, last
    return holder, last
