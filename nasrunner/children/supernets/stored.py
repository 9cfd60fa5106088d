"""Reads the weights that a supernet has left in its folder, and says whose they are."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core import Proposal, SpaceError
from nasrunner.core.order import rollout
from nasrunner.core.search_space import CHILD_GROUPS

Facts = tuple[tuple[str, Any], ...]
"""(name, what JSON has as it is) pairs."""

_SHARED = "shared.weights."
"""What the names of the shared weights begin with in a supernet."""

_STATE = "_extra_state"
"""The name of what a supernet remembers beside them."""

_OF_TRAINER = ("max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val")
"""What of the trainer trained weights depend on; other settings say how and when files are kept."""

_NUM_LOOKED_AT = 5
"""So many architectures of a space are looked at to tell it from another."""


def stored_weights(
    stored: Mapping[str, torch.Tensor], recipe: Recipe, config: Config
) -> SharedWeights:
    """Returns the weights that a supernet's networks share; those that need others are refused.

    Args:
        stored: by their names in the supernet.
        recipe: how the study's children are made.
        config: of the network that takes them.
    """
    in_shape = at_resolution(recipe.in_shape, config["data"])
    weights = SharedWeights(recipe.space, in_shape, widths=config["trainer"]["shared_widths"])
    named = ((n.removeprefix(_SHARED), v) for n, v in stored.items() if n.startswith(_SHARED))
    weights.restore(dict(named))
    return weights


def space_known_by(weights: SharedWeights) -> str:
    """Returns digits that differ between spaces, as far as their networks differ in weights.

    They are made of all decisions with their options, and of the shapes that the weights of some
    architectures have: spaces that differ in neither can take one another's weights.

    Args:
        weights: that the networks of the space share.
    """
    rng = np.random.default_rng(0)
    shapes: list[dict[str, list[int]] | None] = []
    for _ in range(_NUM_LOOKED_AT):
        try:
            values = weights.values(rollout(weights.space, rng))
        except SpaceError:  # an impossible one, or one that lacks a weight
            shapes.append(None)
        else:
            shapes.append({name: list(each.shape) for name, each in values.items()})
    return _digits([weights.space.signature(), shapes])


def training_known_by(recipe: Recipe, config: Config, seed: int) -> Facts:
    """Returns what tells the training of a supernet from others of the same space.

    That is who draws its architectures, how, and the numbers and classes of its settings that its
    weights depend on; names of files and folders, which may change between machines, are none.

    Args:
        recipe: how the study's children are made.
        config: the supernet's.
        seed: of its first weights.
    """
    groups = {name: config[name] for name in CHILD_GROUPS if name in config}
    groups["trainer"] = {n: v for n, v in config["trainer"].items() if n in _OF_TRAINER}
    found = {**_learner(recipe), "seed": seed, **_plain(groups)}
    return tuple(found.items())


def supernet_known_by(recipe: Recipe, proposal: Proposal) -> Facts:
    """Returns what a supernet must have in common with one whose training it goes on from.

    Its configuration, index and seed are compared beside them. The space is known by all that it
    says of itself, as no weights are there yet whose shapes ``space_known_by`` could look at.

    Args:
        recipe: how the study's children are made.
        proposal: the supernet; any other child is known by nothing here.
    """
    if proposal.kind != "supernet":
        return ()
    space = _digits([recipe.space.signature(), recipe.space.text()])
    found = {"space": space, **_learner(recipe), "child": proposal.hash}
    return tuple(found.items())


def why_foreign(
    stored: Mapping[str, torch.Tensor], weights: SharedWeights, whose: Facts
) -> str | None:
    """Says whose the weights in a supernet's folder are, if not its own; None: they are.

    What a checkpoint of an earlier version does not tell is not looked at.

    Args:
        stored: by their names in the supernet.
        weights: made of these for the space of the study.
        whose: as of ``training_known_by``, of the study's supernet.
    """
    if any(not name.startswith(_SHARED) and name != _STATE for name in stored):
        return "a network that no architectures are drawn in"
    state = stored.get(_STATE)
    told = {} if state is None else json.loads(state.cpu().numpy().tobytes())
    there = {"space": told.get("space"), **told.get("whose", {})}
    return why_another(there, (("space", space_known_by(weights)), *whose))


def why_another(there: Mapping[str, Any], here: Facts) -> str | None:
    """Says which supernet one is by what it is known by, if not this one; None: it is.

    Args:
        there: what is known of it; what is None or not there is not looked at.
        here: the same of this one.
    """
    for name, value in here:
        if there.get(name) is None or there[name] == value:
            continue
        if name == "space":
            return "a supernet of another space"
        return f"another supernet of this space ({name}: {there[name]} there, {value} here)"
    return None


def _digits(facts: Any) -> str:
    told = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _learner(recipe: Recipe) -> dict[str, Any]:
    """Who draws a supernet's architectures, or learns its options, and how."""
    policy = recipe.policy
    own = {n: getattr(policy, n, None) for n in inspect.signature(type(policy)).parameters}
    words = {name: value for name, value in own.items() if isinstance(value, bool | str)}
    return {"searcher": type(policy).__name__, **_plain(own), **words}


def _plain(node: Any, prefix: str = "") -> dict[str, Any]:
    """The numbers and classes of a configuration, by dotted keys."""
    found: dict[str, Any] = {}
    parts = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in parts:
        if isinstance(value, Mapping | list | tuple):
            found |= _plain(value, f"{prefix}{name}.")
        elif _is_number(value) or name == "_target_":
            found[f"{prefix}{name}"] = value
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
