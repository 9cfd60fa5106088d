"""Recurrent cells of highway nodes: ENAS' and DARTS'.

Pham et al. 2018, arXiv:1802.03268, section 2.1; Liu et al. 2019, arXiv:1806.09055, section 3.2.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from nasrunner.core.annotations import AtLeast
from nasrunner.core.decision import Address, Choose, Decision
from nasrunner.core.errors import SpaceError, suggest
from nasrunner.core.questions import Asked, Question
from nasrunner.core.space import KeepsAll, Space
from nasrunner.spaces.recurrent.cells import StepCell
from nasrunner.spaces.recurrent.highway import Mean, Weights, Wiring
from nasrunner.spaces.recurrent.highway_layer import HighwayLayer
from nasrunner.spaces.recurrent.highway_mixture import HighwayMixture

HighwayActivation = Literal["tanh", "relu", "identity", "sigmoid"]


@dataclass(frozen=True)
class HighwayCell(StepCell):
    """One cell of highway nodes: what ``enas_cell`` and ``darts_rnn`` become when frozen.

    Node j is c f(s_i V) + (1 - c) s_i of an earlier node i, c = sigmoid(s_i U); the first, node
    0, does the same with h_{t-1} and adds x_t to its products. There are no biases. h_t is a
    mean of nodes.

    Args:
        first: the activation of node 0.
        nodes: [node that it takes, activation] of node 1, 2, …
        mean: whose mean h_t is: ``loose_ends``, the nodes that no other takes, or ``nodes``, all
            but node 0.
        weights: what has matrices U and V of its own: each ``edge`` from a node to another, or
            each ``node``, whichever it takes. It matters where networks share weights.

    Raises:
        SpaceError: there is no such activation, or a node takes none before it.
    """

    first: HighwayActivation
    nodes: Sequence[Sequence[int | str]]
    mean: Mean
    weights: Weights

    def __post_init__(self) -> None:
        if not self.nodes:
            raise SpaceError(f"nodes of {self.name()} must be at least one, got []")
        given = enumerate(self.nodes, 1)
        object.__setattr__(self, "nodes", tuple(_node(*each) for each in given))  # YAML has lists

    def wiring(self) -> Wiring:
        """Returns what it computes."""
        return Wiring(self.first, tuple(self._nodes()), self.mean, self.weights)

    def layer(self, in_units: int, units: int, state_dropout: float) -> HighwayLayer:
        return HighwayLayer(in_units, units, self.wiring(), state_dropout)

    def text(self) -> str:
        nodes = ", ".join(f"{name}({source})" for source, name in self._nodes())
        outputs = ", ".join(map(str, self.wiring().outputs()))
        return f"{self.name()}({self.first}(x, h), {nodes}; h = mean({outputs}))"

    def _nodes(self) -> Iterator[tuple[int, str]]:
        for source, name in self.nodes:
            yield int(source), str(name)


@dataclass(frozen=True)
class HighwayCells(StepCell):
    """All cells of highway nodes of which each takes one earlier node: a tree. Abstract.

    Asked node by node: which earlier one it takes, where there are several, and its activation.

    Args:
        nodes: how many, as the paper counts them.
        activations: tanh, relu, identity, sigmoid.

    Raises:
        SpaceError: the list of activations is empty or repeats one.
    """

    nodes: Annotated[int, AtLeast(2)]
    activations: tuple[HighwayActivation, ...]

    first: ClassVar[HighwayActivation | None]
    """The activation of node 0; None: it is chosen, and node 0 is counted among the nodes."""
    mean: ClassVar[Mean]
    weights: ClassVar[Weights]

    def __post_init__(self) -> None:
        if not self.activations or len(set(self.activations)) < len(self.activations):
            raise SpaceError(
                f"activations of {self.name()} must be different ones, got {self.activations}"
            )

    def resolve(self, ask: Choose, at: Address) -> Space:
        if isinstance(ask, KeepsAll) and ask.holds_all:
            return self._kept_open(ask, at)

        def node(number: int) -> tuple[int, HighwayActivation]:
            decisions = self._decisions_of(number, at)
            *source, activation = (each.options[ask(each)] for each in decisions)
            return (source[0] if source else 0), activation

        first = self.first
        if first is None:
            _, first = node(0)
        nodes = tuple(node(number) for number in range(1, self._count))
        return HighwayCell(first, nodes, self.mean, self.weights, path=at.path)

    def questions(self, at: Address) -> Iterator[Question]:
        yield from map(Asked, self._asked(at))

    def size(self) -> int:
        choices = len(self.activations) ** (self._count - (self.first is not None))
        return int(choices * math.factorial(self._count - 1))

    def most_modules(self) -> int:
        return self._count

    def decisions(self, at: Address) -> Iterator[Decision]:
        """Yields each kind once: all nodes ask for an activation in the same way."""
        kinds: dict[str, Decision] = {}
        for decision in self._asked(at):
            kinds.setdefault(decision.kind, decision)
        yield from kinds.values()

    def mixture(self, in_units: int, units: int, state_dropout: float) -> HighwayMixture:
        """Returns one layer that computes all of its cells at once, by weights of the choices."""
        return HighwayMixture(
            *(in_units, units, self._count, self.activations),
            *(self.first, self.mean, self.weights, state_dropout),
        )

    def _kept_open(self, ask: KeepsAll, at: Address) -> "AllHighwayCells":
        """All of its cells, with a decision for each pair of nodes: an activation, or zeros."""
        rows: list[tuple[str, ...]] = []
        if self.first is None:
            (activation,) = self._decisions_of(0, at)
            rows.append((ask.keep(activation),))
        for node in range(1, self._count):
            *sources, activation = self._decisions_of(node, at)
            options = (*self.activations, "zero")
            edges = []
            for source in range(node):
                place = at.repetition(node) / "from" / source / "activation"
                edges.append(ask.keep(Decision(place.path, place.kind, options, False)))
            rows.append(tuple(edges))
            for source_of in sources:
                ask.selections[source_of.path] = tuple((edge,) for edge in edges)
            said_by = sources[0].path if sources else ""
            ask.followed[activation.path] = said_by, tuple(edges)
        return AllHighwayCells(self, tuple(rows), path=at.path)

    @property
    def _count(self) -> int:
        """How many nodes there are, node 0 included."""
        return self.nodes + (self.first is not None)

    def _asked(self, at: Address) -> Iterator[Decision]:
        for node in range(0 if self.first is None else 1, self._count):
            yield from self._decisions_of(node, at)

    def _decisions_of(self, node: int, at: Address) -> Iterator[Decision]:
        """Which node a node takes, and its activation."""
        if node > 1:  # names, not amounts: they are in no order
            place, earlier = at / node / "source", tuple(range(node))
            yield Decision(place.path, place.kind, earlier, is_ordered=False)
        place = at.repetition(node) / "activation"
        yield Decision(place.path, place.kind, self.activations, is_ordered=False)


@dataclass(frozen=True)
class AllHighwayCells(StepCell):
    """All cells of a kind at once: what ``enas_cell`` and ``darts_rnn`` are while kept open.

    Args:
        cells: the kind.
        rows: of each node whose weights are learnt, the decisions of its earlier nodes.
    """

    cells: HighwayCells
    rows: tuple[tuple[str, ...], ...]

    @property
    def mixes(self) -> tuple[str, ...]:
        return tuple(path for row in self.rows for path in row)

    def layer(self, in_units: int, units: int, state_dropout: float) -> HighwayMixture:
        layer = self.cells.mixture(in_units, units, state_dropout)
        layer.rows = self.rows
        return layer

    def text(self) -> str:
        return f"all of {self.cells.name()}"


@dataclass(frozen=True)
class EnasCell(HighwayCells):
    """The recurrent cells of ENAS. Pham et al. 2018, arXiv:1802.03268, section 2.1.

    The first node, 1 in the paper and 0 here, takes x_t and h_{t-1}; h_t is the mean of the loose
    ends. Each pair of nodes has matrices of its own. 12 nodes and 4 activations make
    4^12 * 11! = 6.7e14 cells.

    Differs from the authors' code: there a pair has matrices for each activation, and batch
    normalization follows each product in the search; the paper has neither.
    """

    first = None
    mean = "loose_ends"
    weights = "edge"


@dataclass(frozen=True)
class DartsRnn(HighwayCells):
    """The recurrent cells of DARTS. Liu et al. 2019, arXiv:1806.09055, sections 2.1 and 3.2.

    Node 0 takes x_t and h_{t-1} with tanh, and is not counted; h_t is the mean of the ``nodes``
    others. Each node has matrices of its own, whichever it takes, as in the authors' code. 8
    nodes and 4 activations make 4^8 * 8! = 2.6e9 cells. The paper's zero is an option of its
    search alone, which no cell that is derived has: see ``HighwayMixture``.
    """

    first = "tanh"
    mean = "nodes"
    weights = "node"


def _node(number: int, given: object) -> tuple[int, str]:
    """[node that it takes, activation] that can be."""
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise SpaceError(f"a node of highway_cell is [node that it takes, activation], got {given}")
    source, name = given
    is_whole = isinstance(source, int) and not isinstance(source, bool)
    if not is_whole or not 0 <= source < number:
        earlier = "0" if number == 1 else f"from 0 to {number - 1}"
        raise SpaceError(f"node {number} of highway_cell must take node {earlier}, got {source!r}")
    legal = get_args(HighwayActivation)
    if name not in legal:
        raise SpaceError(f"there is no activation {name!r}, {suggest(str(name), legal)}")
    return source, str(name)
