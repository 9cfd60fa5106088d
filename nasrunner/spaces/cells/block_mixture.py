"""All cells of blocks at once: what DARTS searches with."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nasrunner.core.space import Choice, Shape, Space
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead
from nasrunner.spaces.branches import largest, pad_to
from nasrunner.spaces.cells.block_graph import NUM_INPUTS
from nasrunner.spaces.cells.halved import halved
from nasrunner.spaces.cells.pair_cell import PairCell
from nasrunner.spaces.skip_graph import stacked, stacked_shape


@dataclass(frozen=True)
class BlockMixture(PairCell):
    """A cell whose blocks take all values before them, each through the choice of its edge.

    Liu et al. 2019, arXiv:1806.09055, section 2.1. A block adds up what its edges make, smaller
    results padded with zeros; all blocks go out, stacked in depth.

    Args:
        operations: of each block, one for each value before it, in the order of these.
    """

    operations: tuple[Space, ...]

    def pair_thread(
        self, before: Shape, last: Shape, measure: Callable[[Space, Shape], Shape]
    ) -> Shape:
        shapes = [before, last]
        for edges in self._blocks():
            shapes.append(largest(list(map(measure, edges, shapes))))
        return stacked_shape(shapes[NUM_INPUTS:])

    def pair_trace(self, tracer: Tracer[V], before: V, last: V) -> V:
        values = [before, last]
        for edges in self._blocks():
            values.append(tracer.add(list(map(tracer.run, edges, values))))
        return tracer.concatenate(values[NUM_INPUTS:])

    def pair_build(self, before: Shape, last: Shape) -> tuple[nn.Module, Shape]:
        shapes, blocks = [before, last], []
        for edges in self._blocks():
            built = [edge.build(shape) for edge, shape in zip(edges, shapes, strict=True)]
            shape = largest([made for _, made in built])
            blocks.append(Sum([layer for layer, _ in built], shape))
            shapes.append(shape)
        return SumNetwork(blocks), stacked_shape(shapes[NUM_INPUTS:])

    def takes(self) -> tuple[bool, bool]:
        return True, True

    def halving(self) -> "BlockMixture":
        operations = [
            _with_options(edge, _halved) if source < NUM_INPUTS else edge
            for edges in self._blocks()
            for source, edge in enumerate(edges)
        ]
        return dataclasses.replace(self, operations=tuple(operations))

    def with_each(self, change: Callable[[Space], Space]) -> "BlockMixture":
        operations = tuple(_with_options(each, change) for each in self.operations)
        return dataclasses.replace(self, operations=operations)

    def text(self) -> str:
        return f"block_mixture({len(self.operations)} edges)"

    def _blocks(self) -> Iterator[tuple[Space, ...]]:
        """The edges into each block."""
        left, number = self.operations, NUM_INPUTS
        while left:
            yield left[:number]
            left, number = left[number:], number + 1


def _halved(option: Space) -> Space:
    halving = halved(option)
    return Dead(halving, path=option.path) if option.is_zero else halving  # still known as zeros


def _with_options(part: Space, change: Callable[[Space], Space]) -> Space:
    """A part with each of its options changed."""
    if not isinstance(part, Choice):
        return change(part)
    modules = tuple(_with_options(each, change) for each in part.modules)
    return dataclasses.replace(part, modules=modules)


class Sum(nn.Module):
    """Adds up what layers make of one value each.

    Args:
        layers: as many as there are values.
        shape: of one example's sum.
    """

    def __init__(self, layers: list[nn.Module], shape: Shape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.shape = shape

    def forward(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        first, *others = (
            pad_to(layer(value), self.shape)
            for layer, value in zip(self.layers, values, strict=True)
        )
        for each in others:
            first = first + each
        return first


class SumNetwork(nn.Module):
    """Runs one sum after the other on two inputs and all sums before, and stacks all of them."""

    def __init__(self, blocks: list[Sum]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, before: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        values = [before, last]
        for block in self.blocks:
            values.append(block(values))
        return stacked(values[NUM_INPUTS:])
