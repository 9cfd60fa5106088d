"""Says what the architectures of a space would share in one supernet."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from nasrunner.children.settings.searched import check_not_searched
from nasrunner.children.supernets.covering import Cover, cover
from nasrunner.children.supernets.shared_weights import SharedWeights, Widths
from nasrunner.core import ConfigError, InShape, SearchSpace

_BYTES = 4
"""Of a number in single precision."""


@dataclass(frozen=True)
class SharedOfModule:
    """What modules of one name share.

    Attributes:
        module: their name.
        whole: weights that all networks which have them take whole.
        sliced: weights of which some networks take a part.
        copied: weights that stand in one place with others of another size, each for itself.
        parameters: numbers in all of these.
    """

    module: str
    whole: int
    sliced: int
    copied: int
    parameters: int


@dataclass(frozen=True)
class SupernetSize:
    """What one network that holds all architectures of a space would be.

    Attributes:
        shared: by module, most parameters first.
        parameters: of all together.
        cover: how they were found.
        refused: why the space has no supernet; None: it has one.
    """

    shared: tuple[SharedOfModule, ...]
    parameters: int
    cover: Cover
    refused: str | None

    @property
    def megabytes(self) -> float:
        """Of the weights in single precision, in 10^6 bytes; training takes a multiple of it."""
        return self.parameters * _BYTES / 1e6


def supernet_size(
    space: SearchSpace, in_shape: InShape, widths: Widths, most_s: float
) -> SupernetSize:
    """Finds what the networks of a space would share, without making any weights.

    Args:
        space: what is searched.
        in_shape: of one example.
        widths: see ``Widths``.
        most_s: seconds of processor time after which no further architecture is looked at.
    """
    weights = SharedWeights(space, in_shape, widths=widths, device="meta")
    found = cover(weights, 0, most_s)
    shared = tuple(sorted(_by_module(weights), key=lambda each: -each.parameters))
    total = sum(each.parameters for each in shared)
    return SupernetSize(shared, total, found, _refused(space))


def _refused(space: SearchSpace) -> str | None:
    try:
        check_not_searched(space.hyperparameters)
    except ConfigError as error:
        return str(error)
    return None


def _by_module(weights: SharedWeights) -> Iterator[SharedOfModule]:
    places: defaultdict[str, int] = defaultdict(int)
    for key in weights.weights:
        places[_place(key)] += 1
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for key, weight in weights.weights.items():
        is_sliced = weights.shapes[key] != {tuple(weight.shape)}
        is_copied = places[_place(key)] > 1
        counts = found[weights.operations[key]]
        counts[1 if is_sliced else 2 if is_copied else 0] += 1
        counts[3] += weight.numel()
    for module, counts in found.items():
        yield SharedOfModule(module, *counts)


def _place(key: str) -> str:
    """Where a weight stands, without the size of a copy."""
    return key.partition("@")[0]
