"""Identities of networks as a study finds them."""

from collections import defaultdict
from collections.abc import Hashable, Iterable

from nasrunner.children.inputs import InDtype
from nasrunner.children.networks import SpaceNetworks
from nasrunner.core import Genotype, InShape, SearchSpace, Space
from nasrunner.spaces import Empty

IMAGE = (4, 6, 6)


def identity(
    network: Space,
    in_shape: InShape = IMAGE,
    genotype: Genotype | None = None,
    in_dtype: InDtype = "float32",
) -> str:
    """The identity of one network of a space; of a frozen module without a genotype."""
    inputs = in_shape if isinstance(in_shape, tuple) else tuple(in_shape.items())
    networks = _networks.setdefault(
        (inputs, str(in_dtype)),
        SpaceNetworks(SearchSpace((), Empty()), in_shape, in_dtype, identifies=True),
    )
    is_space = isinstance(network, SearchSpace)
    networks.space = network if is_space else SearchSpace((), network)
    return networks.identity(genotype or {})


_networks: dict[Hashable, SpaceNetworks] = {}
"""Those for inputs of each shape, which have measured what stands in most networks."""


def classes(keys: Iterable[Hashable]) -> set[tuple[int, ...]]:
    """Which of them are equal: the positions of each."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        found[key].append(position)
    return {tuple(each) for each in found.values()}
