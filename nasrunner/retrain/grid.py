"""The grid that ``grid=`` asks for: training settings, each with the values to try."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import OmegaConf

from nasrunner.children.fit.batch_norm import batch_norms
from nasrunner.children.settings.searched import check_settings, variants
from nasrunner.compose.changes import option, parse_overrides
from nasrunner.compose.config import GRID
from nasrunner.core.decision import OneOf
from nasrunner.core.errors import ConfigError
from nasrunner.core.search_space import CHILD_GROUPS, SearchSpace
from nasrunner.core.shapes import InShape
from nasrunner.retrain.request import check_may_change
from nasrunner.spaces.language.parsing import parse_settings

Grid = tuple[tuple[str, OneOf], ...]
"""(Dotted key of the child's configuration, its values) pairs."""


def read_grid(
    text: str, config: Mapping[str, Any], overrides: Sequence[str], space: SearchSpace
) -> Grid:
    """Returns the grid that a text describes.

    Args:
        text: an option of ``conf/grid``, or a mapping as Hydra reads it.
        config: the configuration that networks are retrained with.
        overrides: the changes that were asked for, which are part of it.
        space: the study's.

    Raises:
        NasRunnerError: it is empty, a key does not exist or may not change, a key was given a
            value as well, or its values cannot be read.
        HydraException: there is no such option, or the text cannot be read.
    """
    (own, *changes), paths = parse_overrides([f"grid={text}", *overrides])
    value = own.value()
    if isinstance(value, str):
        value = option("grid", value, paths, primary=GRID)
    tree = OmegaConf.create(dict(config))
    OmegaConf.update(tree, "grid", value, merge=False, force_add=True)
    grid = _parsed(OmegaConf.to_container(tree, resolve=True)["grid"])  # type: ignore[index,call-overload]
    for key, _ in grid:
        _check_key(key, space)
        for given in (each.key_or_group for each in changes):
            if _is_in(given, key):
                raise ConfigError(f"grid: {key} is in the grid, so {given} cannot be given as well")
    check_settings({group: config[group] for group in CHILD_GROUPS}, grid, where="grid")
    return grid


def unreached(config: Mapping[str, Any], grid: Grid) -> list[list[int]]:
    """Returns the milestones of the grid's schedules where training ends before all of them."""
    found: list[list[int]] = []
    for _, variant in variants({group: config[group] for group in CHILD_GROUPS}, grid):
        epochs = variant["trainer"]["max_epochs"]
        milestones = variant["scheduler"].get("milestones")
        if not isinstance(epochs, int) or epochs < 1 or not isinstance(milestones, list):
            continue
        is_late = all(isinstance(each, int) and each >= epochs for each in milestones)
        if milestones and is_late and milestones not in found:
            found.append(milestones)
    return found if grid else []


def epsilon_is_idle(space: SearchSpace, in_shape: InShape, grid: Grid) -> bool:
    """Tells whether the grid has an epsilon for an architecture without batch normalization.

    Args:
        space: the architecture, with no decision left in its network.
        in_shape: shape of one example.
        grid: what is searched for it.
    """
    if "trainer.batch_norm_epsilon" not in dict(grid):
        return False
    with torch.device("meta"):
        network, _ = space.network.build(in_shape)
    return not any(batch_norms(network))


def _parsed(given: object) -> Grid:
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            f"grid must be an option of conf/grid, or map keys to lists of values, got {given!r}"
        )
    listed = {k: {"oneof": v} if isinstance(v, list) else v for k, v in given.items()}
    grid = []
    for key, values in parse_settings(listed, "grid"):
        if not isinstance(values, OneOf):
            raise ConfigError(
                f"grid.{key} must be a list of values, or oneof, range, linspace or logspace, got "
                f"{values!r}"
            )
        grid.append((key, values))
    return tuple(grid)


def _check_key(key: str, space: SearchSpace) -> None:
    try:
        check_may_change(key, space)
    except ConfigError as error:
        raise ConfigError(f"grid: {error}") from error


def _is_in(key: str, other: str) -> bool:
    """Whether a key is another one, or below it."""
    return f"{key}.".startswith(f"{other}.")
