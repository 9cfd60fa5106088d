"""Reads the weights that a supernet has left in its folder."""

from collections.abc import Mapping

import torch

from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.settings.searched import Config
from nasrunner.children.supernets.shared_weights import SharedWeights

_SHARED = "shared.weights."
"""What the names of the shared weights begin with in a supernet."""


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
