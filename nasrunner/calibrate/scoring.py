"""What zero-cost proxies say of children, each with the weights that its training began with."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from nasrunner.calibrate.agreement import PartScores
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.compose.construct import construct
from nasrunner.core.errors import ConfigError, SpaceError
from nasrunner.core.records import Proposal
from nasrunner.core.search_space import CHILD_GROUPS, SearchSpace
from nasrunner.core.shapes import InShape


def scored(
    config: dict[str, Any],
    space: SearchSpace,
    in_shape: InShape,
    folder: Path,
    children: Sequence[Proposal],
    tell: Callable[[str], object],
) -> dict[str, CheapRanking]:
    """Returns the scores of all proxies on the first training batch, as ``trainer.proxies`` has
    them.

    Args:
        config: the study's configuration.
        space: what it searches.
        in_shape: of one example.
        folder: the study's.
        children: those that are scored.
        tell: is given a sentence for each proxy that says nothing of some child.

    Raises:
        ConfigError: networks of the space cannot be built for these data.
    """
    from nasrunner.children.fit.assembling import first_network  # imports Lightning
    from nasrunner.children.muted import without_messages
    from nasrunner.children.progress.lineage import lineage
    from nasrunner.children.proxies.batch import first_batch
    from nasrunner.children.proxies.scores import Proxy, scores
    from nasrunner.children.recipe import Recipe

    child = {group: config[group] for group in CHILD_GROUPS}
    recipe = Recipe(space, child, in_shape, construct, folder, int(config["seed"]))
    names = get_args(Proxy)
    values: dict[str, dict[int, float]] = {name: {} for name in names}
    seconds = dict.fromkeys(names, 0.0)
    reasons: dict[str, str] = {}
    batches: dict[str, Any] = {}
    for place, proposal in enumerate(children):
        stage = lineage(recipe, proposal)[-1]
        data = repr([stage.config["data"], stage.config["task"]])
        if data not in batches:
            with without_messages():
                batches = {data: first_batch(stage.config, recipe.seed, construct)}
        batch = batches[data]
        try:
            network = first_network(stage.frozen, in_shape, stage.seed, stage.config)
            network = network.to(batch.device)
        except SpaceError as error:
            raise ConfigError(
                f"what=proxies scores networks, and that of child {proposal.index} cannot be "
                f"built, as of a space that only a table knows: {error}"
            ) from error
        if not place:  # what is loaded and compiled when it is called first is no proxy's cost
            scores(network, batch.x, batch.loss, names)
        for name in names:
            start_s = time.process_time()
            found = scores(network, batch.x, batch.loss, [name])
            seconds[name] += time.process_time() - start_s
            if name in found.values and math.isfinite(found.values[name]):
                values[name][place] = found.values[name]
            else:
                reasons.setdefault(name, found.reasons.get(name, "it is no finite number"))
    for name, reason in reasons.items():
        missing = len(children) - len(values[name])
        tell(f"{name} says nothing of {missing} of {len(children)} children: {reason}")
    return {
        name: CheapRanking(
            [PartScores(list(own), list(own.values()))],
            seconds[name] / len(children),
            len(children) - len(own),
        )
        for name, own in values.items()
    }
