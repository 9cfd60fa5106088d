"""A cell of blocks that have been chosen, and the network of it."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from nasrunner.core.errors import SpaceError
from nasrunner.core.space import Pruning, Shape, Space
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead, Empty
from nasrunner.spaces.branches import largest, pad_to
from nasrunner.spaces.cells.factorized import convolved
from nasrunner.spaces.cells.halved import halved
from nasrunner.spaces.cells.pair_cell import PairCell
from nasrunner.spaces.composite import Concat
from nasrunner.spaces.skip_graph import stacked, stacked_shape

Combine = Literal["add", "concat"]
"""How a block makes one value of two."""

NUM_INPUTS = 2
"""Values 0 and 1 come in; those of blocks are counted on from there."""

_AS_IS = Empty()

_convolved = functools.lru_cache(maxsize=1024)(convolved)


@dataclass(frozen=True)
class BlockGraph(PairCell):
    """A cell whose blocks are known: what ``BlockCell`` becomes when it is frozen.

    Value 0 is that of the cell before the last, 1 that of the last, 2 that of the first block, and
    so on, as in Liu et al. 2019, arXiv:1806.09055, section 2.1. A block applies an operation to
    each of two values before it, and combines what comes out.

    Args:
        operations: two for each block, in the order of ``inputs``.
        inputs: for each block the numbers of the two values that it takes.
        outputs: the values that are stacked in depth, in increasing order.
        combine: for each block, whether results are added, smaller ones padded with zeros, or
            stacked and brought back to the depth of value 0 by ReLU, 1x1 convolution and batch
            normalization; none: all are added.
        stride: that of the operations on values 0 and 1; where it is 2, these values go out
            through a factorised reduction.

    Raises:
        SpaceError: a block takes a value that does not come before it, or goes nowhere,
            ``outputs`` are none or no values in increasing order, or the lists are of different
            lengths.
    """

    operations: tuple[Space, ...]
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]
    combine: tuple[Combine, ...] = ()
    stride: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        num_blocks = len(self.inputs)
        if not num_blocks or len(self.operations) != 2 * num_blocks:
            raise SpaceError(
                f"operations of block_graph must be two for each block, and {num_blocks} blocks "
                f"have {len(self.operations)}"
            )
        if len(self.combine) not in (0, num_blocks):
            raise SpaceError(
                f"combine of block_graph must be one for each of {num_blocks} blocks, or none, got "
                f"{list(self.combine)}"
            )
        for number, sources in enumerate(self.inputs, start=NUM_INPUTS):
            for source in sources:
                if not 0 <= source < number:
                    raise SpaceError(
                        f"block {number} of block_graph may take only values before it, 0 to "
                        f"{number - 1}, got {source}"
                    )
        legal = range(num_blocks + NUM_INPUTS)
        if not self.outputs or list(self.outputs) != sorted({*self.outputs} & {*legal}):
            raise SpaceError(
                f"outputs of block_graph must be some of its values, 0 to {legal[-1]}, in "
                f"increasing order, got {list(self.outputs)}"
            )
        taken = {*self.outputs}.union(*self.inputs)
        if loose := [number for number in legal[NUM_INPUTS:] if number not in taken]:
            raise SpaceError(
                f"block {loose[0]} of block_graph goes nowhere: it must be one of outputs, or be "
                "taken by a block"
            )

    def blocks(self) -> Iterator[tuple[int, tuple[Space, Space], tuple[int, int], Combine]]:
        """Yields each block's number, operations and inputs, and how it combines them."""
        add: Combine = "add"
        combine = self.combine or (add,) * len(self.inputs)
        operations = zip(self.operations[::2], self.operations[1::2], strict=True)
        each = zip(operations, self.inputs, combine, strict=True)
        for number, (pair, sources, how) in enumerate(each, start=NUM_INPUTS):
            yield number, pair, sources, how

    def pair_thread(
        self, before: Shape, last: Shape, measure: Callable[[Space, Shape], Shape]
    ) -> Shape:
        shapes = [before, last]
        for number, operations, sources, how in self.blocks():
            made = [measure(o, shapes[s]) for o, s in zip(operations, sources, strict=True)]
            if how == "concat":
                shapes.append(measure(self._narrowing(number, before), stacked_shape(made)))
            else:
                shapes.append(largest(made))
        return stacked_shape([measure(each, shapes[n]) for n, each in self._ends])

    def pair_trace(self, tracer: Tracer[V], before: V, last: V) -> V:
        values = [before, last]
        for number, operations, sources, how in self.blocks():
            made = [tracer.run(o, values[s]) for o, s in zip(operations, sources, strict=True)]
            if how == "concat":
                shape = tracer.shape_of(before)
                assert isinstance(shape, tuple)
                both = tracer.concatenate(made)
                values.append(tracer.run(self._narrowing(number, shape), both))
            else:
                values.append(tracer.add(made))
        return tracer.concatenate([tracer.run(each, values[n]) for n, each in self._ends])

    def pair_build(self, before: Shape, last: Shape) -> tuple[nn.Module, Shape]:
        shapes, blocks = [before, last], []
        for number, operations, sources, how in self.blocks():
            built = [o.build(shapes[s]) for o, s in zip(operations, sources, strict=True)]
            layers, made = [layer for layer, _ in built], [shape for _, shape in built]
            narrow, shape = None, largest(made)
            if how == "concat":
                narrow, shape = self._narrowing(number, before).build(stacked_shape(made))
            blocks.append(Block(layers, sources, shape, narrow))
            shapes.append(shape)
        ends = [each.build(shapes[number]) for number, each in self._ends]
        network = BlockNetwork(blocks, [layer for layer, _ in ends], self.outputs)
        return network, stacked_shape([shape for _, shape in ends])

    def pruned(self, prune: Pruning) -> Space:
        operations = tuple(map(prune, self.operations))
        pairs = list(zip(operations[::2], operations[1::2], strict=True))
        live = {*range(NUM_INPUTS)}
        for number, (pair, sources) in enumerate(
            zip(pairs, self.inputs, strict=True), start=NUM_INPUTS
        ):
            if any(
                not operation.is_zero and (prune.keeps_constants or source in live)
                for operation, source in zip(pair, sources, strict=True)
            ):
                live.add(number)
        if live.isdisjoint(self.outputs):
            return Dead(self, path=self.path)
        needed = {*self.outputs}
        for number in reversed(range(NUM_INPUTS, len(self.inputs) + NUM_INPUTS)):
            if number in needed & live:
                pair, sources = pairs[number - NUM_INPUTS], self.inputs[number - NUM_INPUTS]
                needed |= {s for o, s in zip(pair, sources, strict=True) if not o.is_zero}
        kept = tuple(
            operation
            if operation.is_zero or (place // 2 + NUM_INPUTS) in needed & live
            else Dead(operation, path=operation.path)
            for place, operation in enumerate(operations)
        )
        if all(one is other for one, other in zip(kept, self.operations, strict=True)):
            return self
        return dataclasses.replace(self, operations=kept)

    def takes(self) -> tuple[bool, bool]:
        taken = {*self.outputs}.union(*self.inputs)
        return 0 in taken, 1 in taken

    def halving(self) -> "BlockGraph":
        sources = [source for pair in self.inputs for source in pair]
        operations = tuple(
            halved(operation) if source < NUM_INPUTS else operation
            for operation, source in zip(self.operations, sources, strict=True)
        )
        return dataclasses.replace(self, operations=operations, stride=2)

    def with_each(self, change: Callable[[Space], Space]) -> "BlockGraph":
        return dataclasses.replace(self, operations=tuple(map(change, self.operations)))

    def text(self) -> str:
        blocks = [
            f"{number}: {f' {_SIGNS[how]} '.join(map(_applied, operations, sources))}"
            for number, operations, sources, how in self.blocks()
        ]
        return f"block_cell({'; '.join(blocks)} → {','.join(map(str, self.outputs))})"

    @functools.cached_property
    def _ends(self) -> list[tuple[int, Space]]:
        """The numbers of the values that go out, and what each goes through."""
        return [
            (
                number,
                self._halving_input(number) if self.stride == 2 and number < NUM_INPUTS else _AS_IS,
            )
            for number in self.outputs
        ]

    def _halving_input(self, number: int) -> Space:
        return convolved("same", f"{self.path}/{number}", halves=True)

    def _narrowing(self, number: int, in_shape: Shape) -> Concat:
        """What brings the stacked results of a block back to the depth of what comes in."""
        return _convolved(in_shape[0], f"{self.path}/{number}")


_SIGNS = {"add": "+", "concat": "|"}


def _applied(operation: Space, source: int) -> str:
    return f"{operation.text()}({source})"


class Block(nn.Module):
    """Applies a layer to each of two values and combines the results.

    Args:
        layers: two of them.
        sources: the numbers of the values that they are applied to.
        shape: of one example's sum.
        narrow: what stacked results are given to; None: they are added.
    """

    def __init__(
        self,
        layers: list[nn.Module],
        sources: tuple[int, int],
        shape: Shape,
        narrow: nn.Module | None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.sources = sources
        self.shape = shape
        self.narrow = narrow

    def forward(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        first, second = (
            layer(values[source]) for layer, source in zip(self.layers, self.sources, strict=True)
        )
        if self.narrow is not None:
            narrowed: torch.Tensor = self.narrow(stacked([first, second]))
            return narrowed
        return pad_to(first, self.shape) + pad_to(second, self.shape)


class BlockNetwork(nn.Module):
    """Runs one block after the other on two inputs, and stacks the values that go out.

    Args:
        blocks: in order.
        ends: what each value that goes out goes through.
        outputs: the numbers of these values; 0 and 1 are the inputs.
    """

    def __init__(self, blocks: list[Block], ends: list[nn.Module], outputs: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.ends = nn.ModuleList(ends)
        self.outputs = list(outputs)

    def forward(self, before: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        values = [before, last]
        for block in self.blocks:
            values.append(block(values))
        taken = zip(self.ends, self.outputs, strict=True)
        return stacked([end(values[number]) for end, number in taken])
