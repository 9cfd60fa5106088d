"""Configurations saved by an earlier version: what they lack is filled in, and told."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from hydra.utils import get_object
from omegaconf import OmegaConf

from nasrunner.compose.config import config_dir, shipped_option
from nasrunner.core.annotations import takes
from nasrunner.core.language.moved import with_present_targets

_MOVED: Mapping[str, Mapping[str, Any]] = {
    "nasrunner.searchers.reinforce.Reinforce": {
        "_target_": "nasrunner.searchers.policy.policy_gradient.PolicyGradient",
        "objective": {
            "_target_": "nasrunner.searchers.policy.objectives.Reinforce",
            "num_steps": 1,
        },
    }
}
"""What a configuration with a former ``_target_`` says now."""

_RENAMED = {"nasrunner.searchers.reinforce.Reinforce": {"batch_size": "children_per_replica"}}
"""Former ``_target_`` -> arguments that have another name now."""


_ADDED = {
    "max_epochs_total": None,
    "max_fruitless": 10000,
    "evaluation": {"repeats": 1, "folds": None},
    "keep_weights": "all",
    "pack_children_above": None,
    "objectives": None,
    "scalarization": None,
}
"""Keys of the top level that earlier versions lacked."""


def upgraded(
    config: Mapping[str, Any],
    groups: Collection[str],
    tell: Callable[[str], object] = lambda sentence: None,
) -> dict[str, Any]:
    """Returns a study's saved configuration, for the classes of the groups as they are now.

    Arguments that the class of a group requires by now are those of its shipped option with the
    same ``_target_``. Classes nested in it are not looked at.

    Args:
        config: the configuration, resolved.
        groups: those something is built from.
        tell: is given a sentence for each argument that is filled in.
    """
    config = {**_ADDED, **with_present_targets(config)}
    config = {key: _moved(node) if key in groups else node for key, node in config.items()}
    tree = OmegaConf.create(dict(config))
    for group in (each for each in groups if each in config):
        for name, value in _lacking(group, config[group]):
            OmegaConf.update(tree, f"{group}.{name}", value, force_add=True)
            shown = tree[group][name]
            if OmegaConf.is_config(shown):
                shown = OmegaConf.to_container(shown, resolve=True)
            config[group] = {**config[group], name: shown}
            tell(f"its configuration lacks {group}.{name}: {shown} is taken, as shipped")
    return config


def as_built(config: dict[str, Any], *, may_import: bool) -> dict[str, Any]:
    """Returns a saved configuration that builds the networks and splits that it built when it was
    saved.

    Before ``limits.memory_gb`` and ``shortcut`` of ``residual`` were there, shortcuts were padded;
    before ``data.equal_inputs`` was there, each example was drawn for itself.

    Args:
        config: as it was saved.
        may_import: whether a class of the user's own may be looked at.
    """
    if "memory_gb" not in config.get("limits", {}):
        config = {**config, "space": _padded(config.get("space"))}
    data = config.get("data") or {}
    if _drew_each_apart(config, data, may_import=may_import):
        config = {**config, "data": {**data, "equal_inputs": "apart"}}
    return config


def _drew_each_apart(
    config: Mapping[str, Any], data: Mapping[str, Any], *, may_import: bool
) -> bool:
    """Whether a study is of a time when ``TensorDataModule`` knew no ``equal_inputs``."""
    if "equal_inputs" in data or "split_seed" not in data:
        return False
    if str(data.get("_target_")).startswith("nasrunner.data."):
        return True
    # What a user derives from it need not say equal_inputs; evaluation came with it.
    return may_import and "evaluation" not in config and takes(data, "equal_inputs")


def _padded(node: Any) -> Any:
    if isinstance(node, list):
        return [_padded(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    below = {name: _padded(item) for name, item in node.items()}
    if "residual" in below:
        body = below["residual"]
        own = body if isinstance(body, dict) and set(body) <= {"body"} else {"body": body}
        below["residual"] = {"shortcut": "pad", **own}
    return below


def _moved(node: Any) -> Any:
    """A group's configuration with the present names of its class and arguments."""
    former = str(node.get("_target_")) if isinstance(node, Mapping) else ""
    if former == "nasrunner.searchers.wrappers.filter.Filter":
        return _without_ranks_by(node)
    if former not in _MOVED:
        return node
    names = _RENAMED.get(former, {})
    return {names.get(name, name): value for name, value in node.items()} | dict(_MOVED[former])


def _without_ranks_by(node: Mapping[str, Any]) -> dict[str, Any]:
    """A filter's configuration of a time when ``ranks_by`` said whether its surrogate is used."""
    kept = {name: value for name, value in node.items() if name != "ranks_by"}
    return {**kept, "surrogate": None} if node.get("ranks_by") == "score" else kept


def _lacking(group: str, node: Any) -> Iterator[tuple[str, Any]]:
    """The arguments that a group's class requires, and its configuration has not: with values."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return
    shipped = _shipped(group, node)
    if all(name in node for name in shipped):
        return
    required = _required(str(node["_target_"]))
    for name, value in shipped.items():
        if name not in node and name in required:
            yield name, value


def _shipped(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped option of this class that is most like the one saved; empty without one.

    What refers to other keys still does.
    """
    best: dict[str, Any] = {}
    num_same = -1
    for path in sorted((config_dir() / group).glob("*.yaml")):
        plain = shipped_option(group, path.stem)
        if plain.get("_target_") != node["_target_"]:
            continue
        same = sum(name in node and node[name] == value for name, value in plain.items())
        if same > num_same:
            best, num_same = plain, same
    return best


def _required(target: str) -> set[str]:
    try:
        parameters = inspect.signature(get_object(target)).parameters.values()
    except Exception:  # told where the object is built
        return set()
    return {p.name for p in parameters if p.default is p.empty}
