"""The channels of a parent's network, numbered, and which of them a child's are."""

from collections.abc import Sequence

import numpy as np

from nasrunner.children.inheritance.graph import OPERATION, LayerNode
from nasrunner.core import InShape
from nasrunner.core.network.graph import CONCATENATION, SUM, ZERO

# C = channels of a value

NEW = -1
"""In the place of a parent's channel: there is none."""

_MOST_CHANNELS = 1 << 32


class NotMorphismError(Exception):
    """There are no weights with which a network surely computes what another one does."""


class Parent:
    """The parent's network, its channels numbered.

    Args:
        nodes: its values.
        out: the number of what goes out.
    """

    def __init__(self, nodes: Sequence[LayerNode], out: int) -> None:
        self.nodes = nodes
        self.operations = {n.name: i for i, n in enumerate(nodes) if n.kind == OPERATION}
        self.sums: dict[tuple[bytes, ...], int] = {}
        self.channels: list[np.ndarray] = []
        for number, node in enumerate(nodes):
            self.channels.append(self._channels(number, node))
        self.out_C = self.channels[out]
        self.out_shape = nodes[out].shape

    def own(self, number: int) -> np.ndarray:
        """Numbers the channels of a value that is made of no other's as it is."""
        return number * _MOST_CHANNELS + np.arange(size_of(self.nodes[number].shape))

    def _channels(self, number: int, node: LayerNode) -> np.ndarray:
        if node.kind == CONCATENATION:
            return np.concatenate([self.channels[each] for each in node.inputs])
        if node.kind == SUM:
            terms = [each for each in node.inputs if self.nodes[each].kind != ZERO]
            if any(self.nodes[each].shape != node.shape for each in node.inputs):
                return self.own(number)
            if len(terms) == 1:
                return self.channels[terms[0]]
            self.sums[terms_of([self.channels[each] for each in terms])] = number
        return self.own(number)


def flattened(sources_C: np.ndarray, pixels: int) -> np.ndarray:
    """Returns the same for images whose pixels have become channels."""
    spread = sources_C[:, None] * pixels + np.arange(pixels)
    return np.where(sources_C[:, None] < 0, NEW, spread).ravel()


def size_of(shape: InShape) -> int:
    """Counts the channels of a value; several inputs by name have none."""
    return shape[0] if isinstance(shape, tuple) else 0


def rest_of(shape: InShape) -> tuple[int, ...]:
    """Returns the height and width of a value, or what else a channel of it has."""
    return shape[1:] if isinstance(shape, tuple) else ()


def terms_of(channels: Sequence[np.ndarray]) -> tuple[bytes, ...]:
    """Returns what is equal for the same values in any order."""
    return tuple(sorted(each.tobytes() for each in channels))


def places_in(own_C: np.ndarray, given_C: np.ndarray) -> np.ndarray:
    """Finds where each channel stands among the parent's; ``NEW``: nowhere.

    Raises:
        NotMorphismError: the parent takes a channel twice.
    """
    order = np.argsort(given_C, kind="stable")
    ordered = given_C[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise NotMorphismError("a channel is taken twice")
    found = np.searchsorted(ordered, own_C).clip(0, len(ordered) - 1)
    return np.where(ordered[found] == own_C, order[found], NEW)
