"""Says what of a child's settings may end the training of a supernet before its schedules."""

from collections.abc import Collection

from nasrunner.children.recipe import Recipe
from nasrunner.children.settings.searched import Config
from nasrunner.core.relaxation import Relaxation


def cut_short(recipe: Recipe, config: Config, given: Collection[str]) -> list[str]:
    """Returns a sentence for each setting that ends a supernet's training by time or patience.

    What goes by its epochs, as a schedule of the learning rate and the temperature of options that
    are drawn, does not come to its end then, and the best validation of a supernet, which is of few
    of its networks, is a matter of chance.

    Args:
        recipe: how the study's children are made.
        config: the supernet's.
        given: the keys that the supernet has numbers of its own for, which say what they mean.
    """
    trainer = config["trainer"]
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
    if not (isinstance(epochs, int) and epochs > 0) or steps not in (None, -1):
        return []
    is_drawn = isinstance(recipe.policy, Relaxation) and recipe.policy.weighs == "gumbel"
    what = "its schedules, the temperature of its options too," if is_drawn else "its schedules"
    told = f"may end the training of a supernet before its {epochs} epochs, and {what} with it"
    found: list[str] = []
    patience, max_time = trainer.get("stop_patience"), trainer.get("max_time")
    if patience is not None and patience < epochs and "trainer.stop_patience" not in given:
        legal = f"searcher.supernet='{{trainer.stop_patience: {epochs}}}'"
        found.append(f"trainer.stop_patience={patience} {told}: {legal} prevents that")
    is_own = any(key.startswith("trainer.max_time.") for key in given)
    if max_time is not None and not is_own:
        found.append(f"trainer.max_time={max_time} {told}: trainer.max_time=null prevents that")
    return found
