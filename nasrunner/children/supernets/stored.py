"""Reads the weights that a supernet has left in its folder, and says which space they are of."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch

from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core import SpaceError
from nasrunner.core.order import rollout

_SHARED = "shared.weights."
"""What the names of the shared weights begin with in a supernet."""

_STATE = "_extra_state"
"""The name of what a supernet remembers beside them."""

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
    told = json.dumps([weights.space.signature(), shapes], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def is_of_another_space(stored: Mapping[str, torch.Tensor], weights: SharedWeights) -> bool:
    """Whether a supernet was trained for another space than its weights are now taken for.

    Args:
        stored: by their names in the supernet; one of an earlier version does not say.
        weights: made of these for the space of the study.
    """
    state = stored.get(_STATE)
    space = None if state is None else json.loads(state.cpu().numpy().tobytes()).get("space")
    return space is not None and space != space_known_by(weights)
