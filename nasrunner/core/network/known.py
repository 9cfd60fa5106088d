"""What is known of a space's networks before any is trained, for who chooses among them."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from nasrunner.core.decision import Genotype

# N = networks, F = features


NETWORK = "network:"
"""What an identity of a network begins with, and with it that of a child trained to its end."""


EXACT = "exact/"
"""What the names of features begin with that tell operations of a kind apart by their arguments."""


@dataclass(frozen=True)
class Description:
    """Networks as rows of numbers.

    Attributes:
        names: of the features; networks described together have the same.
        rows_NF: their values; NaN where a network has nothing that the number is of, and in the
            whole row of a network that is impossible.
        is_possible_N: whether the network can be built for the study's inputs.
    """

    names: tuple[str, ...]
    rows_NF: np.ndarray
    is_possible_N: np.ndarray

    @functools.cached_property
    def of_kinds(self) -> "Description":
        """Without the features that tell operations of a kind apart by their arguments."""
        kept = [place for place, name in enumerate(self.names) if not name.startswith(EXACT)]
        names = tuple(self.names[place] for place in kept)
        return Description(names, self.rows_NF[:, kept], self.is_possible_N)


class Bigram(NamedTuple):
    """An operation and the one before it: the survey's key of weights that networks share.

    Attributes:
        module: with all of its arguments but those that are modules.
        in_shape, out_shape: of one example.
        before: what the operation takes: the module whose output it is, a merge, or the network's
            input. What only adds chance while training, as dropout, is passed over.
        occurrence: 0, 1, … of those of a network that are otherwise equal.
    """

    module: str
    in_shape: str
    out_shape: str
    before: str
    occurrence: int


class Networks(Protocol):
    """Looks at the networks of a space, in microseconds, without building them.

    Attributes:
        identifies: whether the study takes networks of one identity for the same; else it tells
            them apart by their genotypes.
    """

    identifies: bool

    def describe(self, genotypes: Sequence[Genotype]) -> Description:
        """Returns statistics of the networks that these genotypes make, searched settings among
        them.
        """

    def bigrams(self, genotype: Genotype) -> Mapping[Bigram, int]:
        """Returns what the operations of a network are known by in others, with their parameters'
        numbers.

        In the order in which they are applied. An operation that was given modules stands there
        once more for each of them.

        Raises:
            SpaceError: the network is impossible.
        """

    def morphism(self, parent: Genotype, child: Genotype) -> Collection[str]:
        """Returns what of ``wider``, ``deeper`` and ``skip`` a network is beside another, whose
        weights can be changed so that it begins with computing the same; nothing: they cannot.

        Raises:
            SpaceError: one of the networks is impossible.
        """

    def identity(self, genotype: Genotype) -> str:
        """Returns a text that is equal for genotypes that make the same network with the same
        settings.

        It begins with ``NETWORK``.

        Raises:
            SpaceError: the network is impossible.
        """
