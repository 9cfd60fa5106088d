"""Says which decisions of a space would be mixtures in one supernet."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from nasrunner.children.settings.searched import check_not_searched
from nasrunner.children.supernets.relaxed.mixtures import Mix, Mixture, mixed
from nasrunner.children.supernets.shared_weights import SharedWeights, Widths
from nasrunner.core import ConfigError, InShape, SearchSpace, SpaceError
from nasrunner.core.space import relaxed


@dataclass(frozen=True)
class MixedDecision:
    """A decision whose options are added up.

    Attributes:
        path: where it stands.
        num_options: how many there are.
        num_places: in how many places of the network they are added up.
    """

    path: str
    num_options: int
    num_places: int


@dataclass(frozen=True)
class MixtureSize:
    """What one network that runs all options of a space at once would be.

    Attributes:
        decisions: in the order asked.
        num_mixtures: how many sums of options there are, a layer of recurrent cells being one;
            several decisions may select the options of one.
        parameters: numbers in all weights, those of batch normalizations inside of options left
            out.
        refused: why there is no such network; None: there is.
    """

    decisions: tuple[MixedDecision, ...] = ()
    num_mixtures: int = 0
    parameters: int = 0
    refused: str | None = None


def mixture_size(space: SearchSpace, in_shape: InShape, widths: Widths) -> MixtureSize:
    """Keeps all decisions of a space open, without making any weights.

    Args:
        space: what is searched.
        in_shape: of one example.
        widths: see ``Widths``.
    """
    if next(iter(space.schedules()), None) is not None:
        return MixtureSize(refused="the space has a schedule, and all of it is searched at once")
    weights = SharedWeights(space, in_shape, widths=widths, device="meta")
    try:
        check_not_searched(space.hyperparameters)
        found = relaxed(space)
        network, _ = mixed(weights, found.network, Mix(), affine=False)
    except (ConfigError, SpaceError) as error:
        return MixtureSize(refused=str(error))
    if not found.decisions:
        return MixtureSize(refused="it has one architecture")
    mixtures = [layer for layer in network.modules() if isinstance(layer, Mixture)]
    layers: list[Any] = [layer for layer in network.modules() if hasattr(layer, "weigh")]
    places = Counter(path for each in mixtures for path in each.paths)
    places.update(path for each in layers for row in each.rows for path in row)
    decisions = (
        MixedDecision(each.path, len(each.options), places[each.path]) for each in found.decisions
    )
    total = weights.num_parameters
    return MixtureSize(tuple(decisions), len(mixtures) + len(layers), total)
