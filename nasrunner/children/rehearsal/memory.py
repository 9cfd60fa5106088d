"""Refuses supernets that are too large for the memory before their study begins."""

from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.resolution import at_resolution
from nasrunner.children.supernets.covering import MemoryLimit, cover, numbers_remembered
from nasrunner.children.supernets.growing.supernet import check_grows
from nasrunner.children.supernets.relaxed.supernet import grown
from nasrunner.children.supernets.shared_weights import SharedWeights
from nasrunner.core.relaxation import ForwardGrowth, Relaxation
from nasrunner.core.space import relaxed

_MOST_S = 5.0
"""How long architectures are visited: those of the largest numbers come first."""


def check_memory(recipe: Recipe) -> None:
    """Refuses a supernet whose training takes too much memory, where it is to be trained.

    Of a space of very many weights, some of them are counted here, and all when it is made.

    Args:
        recipe: how the study's children are made; without a policy there is no supernet.

    Raises:
        SpaceError: it takes more than it may, or than this machine has.
    """
    config, space, policy = recipe.config, recipe.space, recipe.policy
    if policy is None:
        return
    memory = MemoryLimit(recipe.max_memory_gb, numbers_remembered(config, recipe.construct))
    in_shape, widths = (
        at_resolution(recipe.in_shape, config["data"]),
        config["trainer"]["shared_widths"],
    )
    if isinstance(policy, ForwardGrowth):
        check_grows(space, in_shape, policy, widths, memory)
        return
    weights = SharedWeights(space, in_shape, widths=widths, device="meta")
    if isinstance(policy, Relaxation):
        grown(weights, relaxed(space), affine=policy.affine)
        memory.check(weights.num_parameters)
    else:
        cover(weights, 0, _MOST_S, memory)
