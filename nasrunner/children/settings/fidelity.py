"""Cheaper trainings: numbers of the child's configuration that a proposal changes."""

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from nasrunner.children.settings.ranges import check_ranges
from nasrunner.children.settings.resolution import resizes_images
from nasrunner.children.settings.searched import Config, applied
from nasrunner.core import ConfigError, SearchSpace
from nasrunner.core.annotations import Within, takes
from nasrunner.core.errors import suggest_among
from nasrunner.core.shapes import as_in_shape
from nasrunner.core.space import declares_widths, narrowed

NAMES: Mapping[str, str] = {
    "epochs": "trainer.max_epochs",
    "data": "data.train_share",
    "resolution": "data.resolution",
    "width": "width",
}
"""What a fidelity may name -> the key whose number that is; ``width`` is the network's."""

_NAMED = ("width", "data.train_share", "data.resolution")
"""What has rules of its own."""

_SHARE = Within("(0, 1]")

_SAME_FOR_ALL = ("trainer.devices", "trainer.num_nodes", "data.in_shape", "data.num_outputs")
"""What workers, jobs and networks are made for."""


def reduced(config: Config, fidelity: Mapping[str, float]) -> Config:
    """Returns the configuration with the numbers of a fidelity in the place of its own.

    It is a copy, made before the hyperparameters that a space searches; integers stay integers.

    Args:
        config: the child's configuration.
        fidelity: names, or dotted keys of it -> numbers, see ``check_fidelity``.
    """
    settings = [(key, n) for key, n in _numbers(config, fidelity).items() if key != "width"]
    return applied(config, settings) if settings else config


def thinned(frozen: SearchSpace, fidelity: Mapping[str, float]) -> SearchSpace:
    """Returns an architecture with the share of its widths that a fidelity asks for; see
    ``narrowed``.
    """
    share = fidelity.get("width", 1)
    if share == 1:
        return frozen
    return dataclasses.replace(frozen, network=narrowed(frozen.network, share))


def effective(config: Config, fidelity: Mapping[str, float]) -> dict[str, float]:
    """Returns what of a fidelity changes the configuration, by dotted keys, integers as integers.

    Args:
        config: the child's configuration.
        fidelity: as of ``reduced``.
    """
    values = {"width": 1, **dict(_entries(config)), "data.train_share": _train_share(config)}
    if values.get("data.resolution") is None and resizes_images(config["data"]):
        sides = set(_image_sides(config["data"]))
        values["data.resolution"] = sides.pop() if len(sides) == 1 else None
    return {
        key: number
        for key, number in _numbers(config, fidelity).items()
        if number != values.get(key)
    }


def keyed(fidelity: Mapping[str, float]) -> dict[str, float]:
    """Returns the same fidelity with the key in the place of each name."""
    return {NAMES.get(key, key): number for key, number in fidelity.items()}


def check_fidelity(
    config: Config, fidelity: Mapping[str, float], searched: Collection[str], space: SearchSpace
) -> None:
    """Refuses a fidelity that cannot be trained at.

    Args:
        config: the child's configuration, before any hyperparameters.
        fidelity: names, or dotted keys of it -> numbers.
        searched: the keys that the space searches.
        space: whose networks ``width`` makes narrower.

    Raises:
        ConfigError: names the key and what is legal.
    """
    values = dict(_entries(config))
    numbers = {key for key, value in values.items() if _is_number(value)}
    legal = {key for key in numbers if not _is_below(key, (*_SAME_FOR_ALL, *searched))}
    keys = [NAMES.get(key, key) for key in fidelity]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ConfigError(f"fidelity: {dict(fidelity)} gives the number of {twice} twice")
    for name, number in fidelity.items():
        if not _is_number(number) or not math.isfinite(number):
            raise ConfigError(f"fidelity: {name} must be a number, got {number!r}")
        key = NAMES.get(name, name)
        if _is_below(key, searched):
            told = _legal(key, config, legal, searched, space)
            raise ConfigError(f"fidelity: {name} is searched; {told}")
        if key in _NAMED:
            _check_named(config, name, number, space)
            continue
        told = _legal(key, config, legal, searched, space)
        if key not in values:
            raise ConfigError(f"fidelity: the child's configuration has no {key!r}; {told}")
        if key not in numbers:
            raise ConfigError(f"fidelity: {key} is {_written(values[key])} and no number; {told}")
        if key not in legal:
            raise ConfigError(f"fidelity: {key} must be the same for all children; {told}")
        if isinstance(values[key], int) and number != int(number):
            raise ConfigError(f"fidelity: {key} must be a whole number, got {number!r}")
        if key == "trainer.max_epochs" and number < 0:  # Lightning's -1 trains without end
            raise ConfigError(f"fidelity: {name} must be int >= 1, got {number!r}")
    if fidelity:
        check_ranges(reduced(config, fidelity)["trainer"])


def _legal(
    key: str,
    config: Config,
    keys: Collection[str],
    searched: Collection[str],
    space: SearchSpace,
) -> str:
    """The end of an error message: the names whose numbers can be given here, and a further key.

    Args:
        key: what was asked for.
        keys: those of the configuration's numbers that may change.
        config, searched, space: as of ``check_fidelity``.
    """
    names = [
        name
        for name, named in NAMES.items()
        if named in keys or (not _is_below(named, searched) and _can_give(config, name, space))
    ]
    others = [each for each in sorted(keys) if each not in NAMES.values()]
    examples = [each for each in ("data.batch_size", "optimizer.lr") if each in others]
    further = [f"or the key of another number, such as {(examples or others)[0]}"] if others else []
    return suggest_among(key, {*keys, *names}, ", ".join([*names, *further]) or "none")


def _can_give(config: Config, name: str, space: SearchSpace) -> bool:
    if NAMES[name] not in _NAMED:
        return False
    try:
        _check_named(config, name, 1, space)
    except ConfigError:
        return False
    return True


def _check_named(config: Config, name: str, number: float, space: SearchSpace) -> None:
    """Refuses a share, width or resolution that data and space cannot give."""
    data, key = config["data"], NAMES.get(name, name)
    target = str(data.get("_target_")).rpartition(".")[2]
    if key == "data.resolution":
        _check_resolution(data, name, number, target)
    elif number not in _SHARE:
        raise ConfigError(f"fidelity: {name} must be a share in (0, 1], got {number!r}")
    elif key == "width" and not declares_widths(space.network):
        raise ConfigError(
            "fidelity: width scales what modules declare as widths, such as units of affine and "
            "filters of conv2d, and no module of the space declares one"
        )
    elif key == "data.train_share" and not takes(data, "train_share"):
        raise ConfigError(
            f"fidelity: {name} is the share data.train_share of the training examples, which "
            f"{target} does not take"
        )
    elif name == "data" and not _is_number(share := _train_share(config)):
        raise ConfigError(
            f"fidelity: data is a share of data.train_share, which must be a number or null, got "
            f"{share!r}"
        )


def _check_resolution(data: Mapping[str, Any], name: str, number: float, target: str) -> None:
    if not resizes_images(data):
        raise ConfigError(
            f"fidelity: {name} resizes images by data.resolution, which {target} does not take"
        )
    sides = _image_sides(data)
    if not sides:
        raise ConfigError(
            f"fidelity: {name} resizes images, (channels, height, width), but data.in_shape is "
            f"{data['in_shape']}"
        )
    if number != int(number) or not 1 <= number <= min(sides):
        raise ConfigError(
            f"fidelity: {name} must be a whole number of pixels from 1 to {min(sides)}, an image's "
            f"side, got {number!r}"
        )


def _image_sides(data: Mapping[str, Any]) -> tuple[int, ...]:
    """Height and width of the images as they are read; none where the data are no images."""
    shape = as_in_shape(data["in_shape"])
    return shape[1:] if isinstance(shape, tuple) and len(shape) == 3 else ()


def _train_share(config: Config) -> float:
    """The share of the training examples that is trained on; all where data say nothing of it."""
    share: float | None = config["data"].get("train_share")
    return 1.0 if share is None else share


def _numbers(config: Config, fidelity: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a fidelity by dotted keys: of shares those of what is configured."""
    values = dict(_entries(config))
    found: dict[str, float] = {}
    for name, number in fidelity.items():
        key = NAMES.get(name, name)
        if name == "data":
            found[key] = _train_share(config) * number
        elif key in ("width", "data.train_share"):
            found[key] = float(number)
        elif key == "data.resolution" or isinstance(values[key], int):
            found[key] = int(number)
        else:
            found[key] = float(number)
    return found


def _entries(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key below a part of a configuration, and what stands there."""
    parts = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in parts:
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping | list):
            yield from _entries(value, f"{prefix}{name}.")


def _written(value: Any) -> str:
    return "null" if value is None else repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_below(key: str, others: Collection[str]) -> bool:
    return any(key == other or key.startswith(f"{other}.") for other in others)
