"""Recurrent cells as trees. Zoph & Le 2017, arXiv:1611.01578, section 3.4 and figure 5."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from nasrunner.core.decision import Address, Choose, Decision
from nasrunner.core.errors import SpaceError, suggest
from nasrunner.core.questions import Asked, Question
from nasrunner.core.space import Shape, Space
from nasrunner.spaces.recurrent.program import Operation, Program
from nasrunner.spaces.recurrent.recurrence import RecurrentLayer
from nasrunner.spaces.recurrent.stateful import StatefulLayer

Combination = Literal["add", "elem_mult", "max"]
Activation = Literal["identity", "tanh", "sigmoid", "relu", "sin"]
Label = tuple[Combination, Activation]
"""How two values become one."""

NO_LAYER = "it is what one layer does in a time step: write recurrent: {cell: …}"


class StepCell(Space):
    """What a ``recurrent`` layer does in one time step."""

    def layer(self, in_units: int, units: int, state_dropout: float) -> StatefulLayer:
        """Makes a layer of the frozen cell.

        Args:
            in_units: size of a vector that comes in.
            units: size of h.
            state_dropout: as of ``StatefulLayer``.

        Raises:
            SpaceError: the cell is still open.
        """
        raise SpaceError(f"{self.name()!r} is still open: freeze it first")

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError(NO_LAYER)


class ProgramCell(StepCell):
    """A cell that is a list of operations."""

    @abstractmethod
    def program(self) -> Program:
        """Returns the frozen cell as operations."""

    def layer(self, in_units: int, units: int, state_dropout: float) -> RecurrentLayer:
        return RecurrentLayer(in_units, units, self.program(), state_dropout)


@dataclass(frozen=True)
class RecurrentCell(StepCell):
    """All cells whose steps form a binary tree over x_t and h_{t-1}.

    The nodes are numbered leaves first, level by level: with base 2, leaves 0 and 1 and the root
    2. Asked in the order of the paper's controller: for each node how two values are combined
    and what activation follows, the same for the injection of c_{t-1} ("cell inject"), which node
    gives c_t and into which c_{t-1} is injected ("cell indices"). ``TreeCell`` says what is
    computed. Base 8 with two combinations and four activations has 8^16 * 15^2 = 6.3e16 cells.

    Args:
        base: number of leaves, a power of two, >= 2; the paper's is 8.
        combinations: add, elem_mult, max.
        activations: identity, tanh, sigmoid, relu, sin.

    Raises:
        SpaceError: ``base`` is no power of two, or a list is empty or repeats an option.
    """

    base: int
    combinations: tuple[Combination, ...]
    activations: tuple[Activation, ...]

    def __post_init__(self) -> None:
        _check_base(self.base, f"base of {self.name()}")
        for name in ("combinations", "activations"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise SpaceError(f"{name} of {self.name()} must be different ones, got {given}")

    def resolve(self, ask: Choose, at: Address) -> Space:
        def label(place: Address) -> Label:
            combination, activation = (each.options[ask(each)] for each in self._label(place))
            return combination, activation

        nodes = tuple(label(at.repetition(node)) for node in range(self._num_nodes))
        inject = label(at / "inject")
        memory, injected = (ask(decision) for decision in self._indices(at))
        return TreeCell(nodes, inject, memory, injected, path=at.path)

    def questions(self, at: Address) -> Iterator[Question]:
        for node in range(self._num_nodes):
            yield from map(Asked, self._label(at.repetition(node)))
        yield from map(Asked, self._label(at / "inject"))
        yield from map(Asked, self._indices(at))

    def size(self) -> int:
        labels = len(self.combinations) * len(self.activations)
        return int(labels ** (self._num_nodes + 1)) * self._num_nodes**2

    def most_modules(self) -> int:
        return self._num_nodes

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from self._label(at.repetition(0))
        yield from self._label(at / "inject")
        yield from self._indices(at)

    @property
    def _num_nodes(self) -> int:
        return 2 * self.base - 1

    def _label(self, at: Address) -> Iterator[Decision]:
        for name, options in (
            ("combination", self.combinations),
            ("activation", self.activations),
        ):
            place = at / name
            yield Decision(place.path, place.kind, options, is_ordered=False)

    def _indices(self, at: Address) -> Iterator[Decision]:
        for place in (at / "memory", at / "injected"):
            nodes = tuple(range(self._num_nodes))  # names, not amounts: they are in no order
            yield Decision(place.path, place.kind, nodes, is_ordered=False)


@dataclass(frozen=True)
class TreeCell(ProgramCell):
    """One cell of the tree space: what ``recurrent_cell`` becomes when it is frozen.

    Leaf i is a_i = f_i(W_i x_t ∘_i U_i h_{t-1}); an inner node is f(a ∘ b) of its two children,
    without weights. c_{t-1} joins node ``injected`` after its activation, a_new = f(a ∘ c_{t-1}),
    and c_t is what node ``memory`` is before its activation. The root's value is h_t.

    Args:
        nodes: [combination, activation] of each, leaves first, level by level, the root last.
        inject: [combination, activation] for c_{t-1}.
        memory: the node that gives c_t.
        injected: the node that c_{t-1} is injected into.

    Raises:
        SpaceError: the nodes are no whole tree, or one of them does not exist.

    Differs from the paper: it leaves open what c_t is where the two nodes are the same; here it
    is what comes before the activation, and so before the injection, as everywhere else.
    """

    nodes: Sequence[Sequence[str]]
    inject: Sequence[str]
    memory: int
    injected: int

    def __post_init__(self) -> None:
        nodes = tuple(map(_label_of, self.nodes))
        object.__setattr__(self, "nodes", nodes)  # YAML has lists
        object.__setattr__(self, "inject", _label_of(self.inject))
        num_leaves, is_odd = divmod(len(nodes) + 1, 2)
        if is_odd:
            raise SpaceError(
                f"nodes of tree_cell must be as many as a whole tree has (3, 7, 15, …), got "
                f"{len(nodes)}"
            )
        _check_base(num_leaves, "leaves of tree_cell, half of the nodes and one")
        for name in ("memory", "injected"):
            if not 0 <= getattr(self, name) < len(nodes):
                raise SpaceError(
                    f"{name} of tree_cell must be a node from 0 to {len(nodes) - 1}, got "
                    f"{getattr(self, name)}"
                )

    @property
    def base(self) -> int:
        """How many leaves there are."""
        return (len(self.nodes) + 1) // 2

    def children(self, node: int) -> tuple[int, int]:
        """Returns the two nodes that an inner node combines, the left one first."""
        first = 2 * (node - self.base)
        return first, first + 1

    def program(self) -> Program:
        operations: list[Operation] = []
        num_inputs = 2 + 2 * self.base

        def add(operation: str, first: int, second: int) -> int:
            if operation == "identity":
                return first
            operations.append((operation, first, second))
            return num_inputs + len(operations) - 1

        outputs: list[int] = []
        memory = 1
        for node, (combination, activation) in enumerate(self.nodes):
            if node < self.base:
                before = add(combination, 2 + node, 2 + self.base + node)
            else:
                first, second = self.children(node)
                before = add(combination, outputs[first], outputs[second])
            after = add(activation, before, before)
            if node == self.memory:
                memory = before
            if node == self.injected:
                joined = add(self.inject[0], after, 1)
                after = add(self.inject[1], joined, joined)
            outputs.append(after)
        return Program(self.base, tuple(operations), outputs[-1], memory, has_bias=False)

    def text(self) -> str:
        hidden = self._text_of(len(self.nodes) - 1)
        return f"h = {hidden}, c = {self._text_of(self.memory, is_before=True)}"

    def _text_of(self, node: int, *, is_before: bool = False) -> str:
        combination, activation = self.nodes[node]
        if node < self.base:
            operands = (f"W{node}x", f"U{node}h")
        else:
            first, second = self.children(node)
            operands = self._text_of(first), self._text_of(second)
        text = combined(combination, *operands)
        if is_before:
            return text
        text = applied(activation, text)
        if node == self.injected:
            text = applied(self.inject[1], combined(self.inject[0], text, "c"))
        return text


def combined(combination: str, one: str, other: str) -> str:
    """Returns ``(a + b)``, ``(a · b)`` or ``max(a, b)``."""
    sign = {"add": "+", "elem_mult": "·"}.get(combination)
    return f"({one} {sign} {other})" if sign else f"{combination}({one}, {other})"


def applied(activation: str, text: str) -> str:
    """Returns ``tanh(…)``; the identity leaves the text as it is."""
    if activation == "identity":
        return text
    return f"{activation}{text}" if text.startswith("(") else f"{activation}({text})"


def _check_base(base: object, what: str) -> None:
    if not isinstance(base, int) or isinstance(base, bool) or base < 2 or base & (base - 1):
        raise SpaceError(f"{what} must be a power of two, 2, 4, 8, …, got {base!r}")


def _label_of(given: object) -> tuple[str, str]:
    """A combination and an activation that exist."""
    legal = (get_args(Combination), get_args(Activation))
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise SpaceError(f"a node of tree_cell is [combination, activation], got {given!r}")
    for name, value, options in zip(("combination", "activation"), given, legal, strict=True):
        if value not in options:
            raise SpaceError(f"there is no {name} {value!r}, {suggest(str(value), options)}")
    return str(given[0]), str(given[1])
