"""The graph of a built network's operations, each with its layer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import nn

from nasrunner.children.inheritance.keys import Anatomy, place_of
from nasrunner.core import InShape, SearchSpace, Space
from nasrunner.core.network.graph import CONCATENATION, INPUT, PRODUCT, SUM, ZERO, spelt
from nasrunner.core.tracing import Traceable, Tracer, largest_shape, stacked_shape

OPERATION = "operation"


class LayerNode(NamedTuple):
    """A value of a network.

    Attributes:
        kind: ``OPERATION``, a merge, the network's input, or zeros.
        name: of an operation: where it stands in the open space, what it is called, and which of
            several there; equal for the operation that it is in another architecture.
        inputs: numbers of the values that it takes.
        shape: of one example.
        prefix: what the names of its weights begin with.
        layer: of an operation.
        module: of an operation, with all of its arguments.
    """

    kind: str
    name: tuple[str, str, int]
    inputs: tuple[int, ...]
    shape: InShape
    prefix: str = ""
    layer: nn.Module | None = None
    module: str = ""


class NoLayerError(Exception):
    """An operation has no layer of its own in the network."""


def graph_of(
    frozen: SearchSpace, in_shape: InShape, anatomy: Anatomy
) -> tuple[list[LayerNode], int]:
    """Finds the values of a network; what only adds chance while training is passed over.

    Args:
        frozen: its architecture.
        in_shape: of one example.
        anatomy: its layers.

    Returns:
        The values, inputs before those that take them, and the number of the one that goes out.

    Raises:
        NoLayerError: a user's module builds other layers than it traces.
    """
    tracer = _LayerTracer(anatomy)
    first = tracer.add_node(LayerNode(INPUT, ("", INPUT, 0), (), in_shape))
    return tracer.nodes, tracer.run(frozen.network, first)


class _LayerTracer(Tracer[int]):
    def __init__(self, anatomy: Anatomy) -> None:
        super().__init__()
        self.anatomy = anatomy
        self.nodes: list[LayerNode] = []
        self._placed: Counter[object] = Counter()
        self._named: Counter[tuple[str, str]] = Counter()

    def add_node(self, node: LayerNode) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def apply(self, part: Traceable, x: int) -> int:
        assert isinstance(part, Space)
        if part.is_chance:
            return x
        in_shape = self.nodes[x].shape
        place = place_of(part, in_shape)
        layers = self.anatomy.layers.get(place, ())
        if self._placed[place] >= len(layers):
            raise NoLayerError(f"{part.path or part.title()} has no layer of its own")
        prefix, layer = layers[self._placed[place]]
        self._placed[place] += 1
        name = part.path, part.title()
        self._named[name] += 1
        shape = self.anatomy.measure(part, in_shape).out_shape
        number = self._named[name] - 1
        node = LayerNode(OPERATION, (*name, number), (x,), shape, prefix, layer, spelt(part))
        return self.add_node(node)

    def zero(self, x: int) -> int:
        return self._merge(ZERO, (), self.nodes[x].shape)

    def pick(self, x: int, label: str) -> int:
        shape = self.nodes[x].shape
        assert isinstance(shape, Mapping)
        return self.add_node(LayerNode(INPUT, ("", f"{INPUT} {label}", 0), (), shape[label]))

    def add(self, values: Sequence[int]) -> int:
        shape = largest_shape([self.nodes[each].shape for each in values])
        return self._merge(SUM, values, shape)

    def multiply(self, values: Sequence[int]) -> int:
        shape = largest_shape([self.nodes[each].shape for each in values])
        return self._merge(PRODUCT, values, shape)

    def concatenate(self, values: Sequence[int]) -> int:
        shape = stacked_shape([self.nodes[each].shape for each in values])
        return self._merge(CONCATENATION, values, shape)

    def shape_of(self, value: int) -> InShape:
        return self.nodes[value].shape

    def _merge(self, kind: str, values: Sequence[int], shape: InShape) -> int:
        if len(values) == 1:
            return values[0]
        return self.add_node(LayerNode(kind, ("", kind, 0), tuple(values), shape))
