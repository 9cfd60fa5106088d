"""Cells whose blocks choose what they take, and what they do with it."""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from nasrunner.core.annotations import Count
from nasrunner.core.decision import Address, Choose, Decision, most, options_of, values_of
from nasrunner.core.errors import SpaceError
from nasrunner.core.questions import Asked, Question
from nasrunner.core.space import (
    Choice,
    KeepsAll,
    Shape,
    Space,
    decisions_of_value,
    enter,
    opened,
    questions_of,
    questions_of_value,
    questions_opened,
    resolve_module,
    resolve_value,
    size_of_value,
)
from nasrunner.spaces.cells.block_graph import NUM_INPUTS, BlockGraph, Combine
from nasrunner.spaces.cells.block_mixture import BlockMixture
from nasrunner.spaces.composite import Or

_SIDES = ("left", "right")

_OF_NARROWING = 4
"""Modules that bring what is stacked back to the depth of the cell: three in a series."""


@dataclass(frozen=True)
class BlockCell(Space):
    """A cell of blocks, each of which makes one value of two. Zoph et al. 2018, arXiv:1707.07012.

    The values are numbered: 0 is that of the cell before the last, 1 that of the last, 2 that of
    the first block, and so on; a block may take any before its own. Its operations take images of
    one depth and give images of that depth (``filters: same``).

    ``inputs: any``: each side of a block asks which value it takes and then its operation:
    ``block_cell/2/left/from``, ``block_cell/2/left/1/or``, …; NASNet, ENAS and PNAS.
    ``inputs: distinct``: a block asks which two different values it takes and then an operation
    for each: ``block_cell/3/from``, ``block_cell/3/0/or``, ``block_cell/3/2/or``. These are what
    DARTS derives of all edges with all operations (Liu et al. 2019, arXiv:1806.09055, section
    2.4): options of ``operation`` that are ``zero`` are weighed against the others in a mixture
    and no option of a child's.

    Args:
        blocks: how many, >= 1; B in NASNet and PNAS.
        operation: what stands on an edge; every edge makes its decisions for itself.
        inputs: see above.
        combine: how a block makes one value of two, as of ``block_graph``; a decision is made for
            each block.
        output: what is stacked in depth: the values of ``all`` blocks, or ``loose_ends``, all
            values that no block takes, also of what comes in.

    Raises:
        SpaceError: of ``inputs: distinct`` ``operation`` has no option but zeros.
    """

    blocks: Count
    operation: Space
    inputs: Literal["any", "distinct"] = "any"
    combine: Combine = "add"
    output: Literal["all", "loose_ends"] = "all"

    def __post_init__(self) -> None:
        if self.inputs not in ("any", "distinct"):
            raise SpaceError(f"inputs of block_cell must be any or distinct, got {self.inputs}")
        _ = self._chosen

    def resolve(self, ask: Choose, at: Address) -> Space:
        if isinstance(ask, KeepsAll) and ask.holds_all and self._is_distinct:
            return self._mixture(ask, at)
        blocks = resolve_value(self.blocks, ask, at / "blocks")
        operations: list[Space] = []
        inputs, combine = [], []
        for number in range(NUM_INPUTS, NUM_INPUTS + blocks):
            sources, chosen = self._resolved(ask, at, number)
            operations += chosen
            inputs.append(sources)
            combine.append(resolve_value(self.combine, ask, at.repetition(number) / "combine"))
        output = resolve_value(self.output, ask, at / "output")
        taken = {source for pair in inputs for source in pair}
        outputs = tuple(
            number
            for number in range(NUM_INPUTS + blocks)
            if (number >= NUM_INPUTS if output == "all" else number not in taken)
        )
        hows = tuple(combine) if "concat" in combine else ()
        return BlockGraph(tuple(operations), tuple(inputs), outputs, hows, path=at.path)

    def questions(self, at: Address) -> Iterator[Question]:
        def opens(blocks: int) -> Iterator[Question]:
            for number in range(NUM_INPUTS, NUM_INPUTS + blocks):
                yield from self._questions_of_block(at, number)
            yield from questions_of_value(self.output, at / "output")

        yield from questions_opened(self.blocks, at / "blocks", opens)

    def size(self) -> int:
        of_output = size_of_value(self.output)
        return sum(self._size_of(blocks) * of_output for blocks in values_of(self.blocks))

    def most_modules(self) -> int:
        of_block = 2 * self._chosen.most_modules()
        if "concat" in options_of(self.combine):
            of_block += _OF_NARROWING
        return 1 + most(self.blocks) * of_block

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from decisions_of_value(self.blocks, at / "blocks")
        highest = max(options_of(self.blocks))
        for number in range(NUM_INPUTS, NUM_INPUTS + highest):
            yield from self._asked_of(at, number)
            if number == NUM_INPUTS:
                for place in self._kinds(at, number):
                    yield from self._chosen.decisions(place)
                yield from decisions_of_value(self.combine, at.repetition(number) / "combine")
        yield from decisions_of_value(self.output, at / "output")

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("its blocks have to be chosen: freeze it first")

    def place_of(self, at: Address, number: int, source: int) -> Address:
        """Says where the operation on an edge stands, of a cell with ``inputs: distinct``.

        Args:
            at: where the cell stands, its own name included.
            number: of the block.
            source: of the value that it takes.
        """
        return enter(self._chosen, at.repetition(number).repetition(source))

    def _mixture(self, ask: KeepsAll, at: Address) -> Space:
        """All edges with all operations, zeros among them."""

        def mixture(values: tuple[int, Combine, str]) -> Space:
            blocks, combine, output = values
            for name, given, legal in (("combine", combine, "add"), ("output", output, "all")):
                if given != legal:
                    raise SpaceError(
                        f"{at.path!r} cannot be kept open: all edges at once need {name}={legal} "
                        f"of block_cell, got {given}"
                    )
            operations = []
            for number in range(NUM_INPUTS, NUM_INPUTS + blocks):
                places = [self.place_of(at, number, source) for source in range(number)]
                operations += [self._weighed_edge(ask, place) for place in places]
                for asked in self._asked_of(at, number):
                    pairs = _pairs(number)
                    ask.selections[asked.path] = tuple(
                        (places[first].path, places[second].path) for first, second in pairs
                    )
            return BlockMixture(tuple(operations), path=at.path)

        values = (
            resolve_value(self.blocks, ask, at / "blocks"),
            resolve_value(self.combine, ask, at.repetition(NUM_INPUTS) / "combine"),
            resolve_value(self.output, ask, at / "output"),
        )
        return opened(values, mixture, ask)

    def _weighed_edge(self, ask: KeepsAll, place: Address) -> Space:
        """All operations of an edge, with a decision of its own for the zeros among them, too."""
        found = self._edge(ask, place)
        if not isinstance(self.operation, Or) or not isinstance(found, Choice):
            raise SpaceError(
                f"{place.path!r} cannot be kept open: which edges a block keeps is told by the "
                "weights of their operations, of which there must be several in an or"
            )
        first = len(found.modules)
        zeros = tuple(
            resolve_module(module, ask, enter(module, place / (first + k)))
            for k, module in enumerate(each for each in self.operation.modules if each.is_zero)
        )
        answers = ask.widen(place.path, [f"zero#{k}" for k in range(len(zeros))])
        return replace(found, modules=(*found.modules, *zeros), answers=(*found.answers, *answers))

    @functools.cached_property
    def _chosen(self) -> Space:
        """What the operation of a child is chosen of."""
        if self.inputs == "any" or not isinstance(self.operation, Or):
            return self.operation
        kept = tuple(module for module in self.operation.modules if not module.is_zero)
        if not kept:
            raise SpaceError("operation of block_cell must have an option that is not zero")
        return replace(self.operation, modules=kept)

    @property
    def _is_distinct(self) -> bool:
        return self.inputs == "distinct"

    def _resolved(
        self, ask: Choose, at: Address, number: int
    ) -> tuple[tuple[int, int], tuple[Space, Space]]:
        """What a block takes, and its operations."""
        asked = self._asked_of(at, number)
        if self._is_distinct:
            pair = _pairs(number)[ask(asked[0]) if asked else 0]
            first, second = (self._edge(ask, self.place_of(at, number, each)) for each in pair)
            return pair, (first, second)
        sources, operations = [], []
        for side, decision in zip(_SIDES, asked, strict=True):
            sources.append(ask(decision))
            operations.append(self._edge(ask, self._place_at(at, number, side, sources[-1])))
        return (sources[0], sources[1]), (operations[0], operations[1])

    def _edge(self, ask: Choose, place: Address) -> Space:
        return resolve_module(self._chosen, ask, place)

    def _questions_of_block(self, at: Address, number: int) -> Iterator[Question]:
        def opens_pair(index: int) -> Iterator[Question]:
            for each in _pairs(number)[index]:
                yield from questions_of(self._chosen, self.place_of(at, number, each))

        def opens_side(side: str, index: int) -> Iterator[Question]:
            yield from questions_of(self._chosen, self._place_at(at, number, side, index))

        asked = self._asked_of(at, number)
        if self._is_distinct and not asked:
            yield from opens_pair(0)
        elif self._is_distinct:
            yield Asked(asked[0], opens_pair)
        else:
            for side, decision in zip(_SIDES, asked, strict=True):
                yield Asked(decision, functools.partial(opens_side, side))
        yield from questions_of_value(self.combine, at.repetition(number) / "combine")

    def _asked_of(self, at: Address, number: int) -> tuple[Decision, ...]:
        """What is asked of the values that a block takes; nothing where there is no choice."""
        place = at / number
        if not self._is_distinct:
            options: tuple[object, ...] = tuple(range(number))
            return tuple(_decision(place / side / "from", options) for side in _SIDES)
        pairs = tuple(f"{first},{second}" for first, second in _pairs(number))
        return (_decision(place / "from", pairs),) if len(pairs) > 1 else ()

    def _kinds(self, at: Address, number: int) -> list[Address]:
        """A place of each kind in which an operation of a block stands."""
        if self._is_distinct:
            return [self.place_of(at, number, 0)]
        return [self._place_at(at, number, side, 0) for side in _SIDES]

    def _place_at(self, at: Address, number: int, side: str, source: int) -> Address:
        return enter(self._chosen, (at.repetition(number) / side).repetition(source))

    def _size_of(self, blocks: int) -> int:
        each = self._chosen.size() ** 2 * size_of_value(self.combine)
        numbers = range(NUM_INPUTS, NUM_INPUTS + blocks)
        return math.prod(
            each * (len(_pairs(number)) if self._is_distinct else number**2) for number in numbers
        )


def _decision(at: Address, options: tuple[object, ...]) -> Decision:
    return Decision(at.path, at.kind, options, is_ordered=False)


@functools.cache
def _pairs(number: int) -> list[tuple[int, int]]:
    """The pairs of different values before a block."""
    return list(itertools.combinations(range(number), 2))
