"""Networks of stacked cells, each of which takes the values of the two before it."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import nn

from nasrunner.core.annotations import AtLeast, Count
from nasrunner.core.decision import most
from nasrunner.core.space import Pruning, Shape, Space
from nasrunner.core.tracing import Tracer, V
from nasrunner.core.training_step import training_step
from nasrunner.spaces.basic import BatchNorm, Dead, Empty, Probability
from nasrunner.spaces.cells.factorized import convolved
from nasrunner.spaces.cells.halved import halved, is_identity
from nasrunner.spaces.cells.pair_cell import PairCell
from nasrunner.spaces.cells.path_dropout import PathDropout
from nasrunner.spaces.composite import Concat
from nasrunner.spaces.images import Conv2d

_NONE = Empty()

_OF_EACH_CELL = 7
"""Modules that a stack puts in front of a cell: two of three layers, and the cell."""


class Stacked(NamedTuple):
    """A cell in its place.

    Attributes:
        of_before: what the value of the cell before the last is given to.
        of_last: what that of the last is given to.
        cell: takes both results.
        is_reduction: whether it halves the images.
    """

    of_before: Space
    of_last: Space
    cell: PairCell
    is_reduction: bool


@dataclass(frozen=True)
class CellStack(Space):
    """Stages of normal cells with a reduction cell between them. arXiv:1707.07012, figure 2.

    Zoph et al. 2018; also the networks of ENAS, PNAS and DARTS. Each cell takes the values of the
    two cells before it, each behind ReLU, 1x1 convolution and batch normalization to ``filters``
    channels; a value that is twice as large, that before a reduction, is halved by a factorised
    reduction in the place of the convolution. The first cells take the stem's output for what is
    not there yet. A reduction cell has twice the filters, and a stride of 2 in its operations on
    what comes in. Cells of a kind are one: their decisions are made once, and each has weights of
    its own.

    Args:
        normal: a ``block_cell``.
        filters: of each operation in the first stage, >= 2; F in PNAS.
        times: normal cells of each stage; N in NASNet and PNAS.
        stages: how many, with a reduction cell between each two.
        reduction_counts: whether that is one of the ``times`` cells of the stage that it begins, as
            in PNAS, so that there are ``times * stages`` cells; else ``stages - 1`` more.
        stem: the network begins with a 3x3 convolution to so many times ``filters`` channels and
            batch normalization; 0: without.
        reduction: a ``block_cell``; nothing: the normal cell, its decisions too.
        path_dropout: how often the result of an operation other than the identity is zeroed at the
            end of training, as of ``path_dropout``.
        path_dropout_by_depth: whether that is multiplied by the cell's number / the number of
            cells, as in Zoph et al.'s code.
        auxiliary: takes the value of the last reduction cell and ends in outputs like the network's
            own; built where ``auxiliary_weight`` is not 0, and run in training alone.
        auxiliary_weight: of its loss, which is added to that of the network's output.

    Raises:
        SpaceError: as of ``block_graph``, or an operation cannot have a stride.

    Differs from the papers: NASNet has the auxiliary tower behind another cell; for ImageNet, two
    reduction cells are their stem.
    """

    normal: Space
    filters: Annotated[int, AtLeast(2)]
    times: Count
    stages: Count = 3
    reduction_counts: bool = False
    stem: Annotated[int, AtLeast(0)] = 3
    reduction: Space = _NONE
    path_dropout: Probability = 0.0
    path_dropout_by_depth: bool = False
    auxiliary: Space = _NONE
    auxiliary_weight: Annotated[float, AtLeast(0)] = 0.0

    widths: ClassVar[tuple[str, ...]] = ("filters",)

    def most_modules(self) -> int:
        stages, times = most(self.stages), most(self.times)
        cells = stages * times * (self.normal.most_modules() + _OF_EACH_CELL)
        cells += (stages - 1) * (self.reduction.most_modules() + _OF_EACH_CELL)
        return 1 + cells + self.auxiliary.most_modules()

    @property
    def side_outputs(self) -> tuple[Space, ...]:
        return (self.auxiliary,) if self.auxiliary_weight else ()

    @functools.cached_property
    def cells(self) -> tuple[Stacked, ...]:
        """Every cell of the frozen stack, in order."""
        return tuple(self._stacked())

    def thread(self, in_shape: Shape, measure: Callable[[Space, Shape], Shape]) -> Shape:
        # Without the auxiliary tower: papers do not count it, and what is deployed has none.
        before = last = measure(self._begin, in_shape)
        for each in self.cells:
            pair = measure(each.of_before, before), measure(each.of_last, last)
            before, last = last, each.cell.pair_thread(*pair, measure)
        return last

    def trace(self, tracer: Tracer[V], x: V) -> V:
        before = last = tracer.run(self._begin, x)
        for each in self.cells:
            pair = tracer.run(each.of_before, before), tracer.run(each.of_last, last)
            before, last = last, each.cell.pair_trace(tracer, *pair)
        return last

    def pruned(self, prune: Pruning) -> Space:
        normal, reduction = prune(self.normal), prune(self.reduction)
        if normal.is_zero:
            return Dead(self, path=self.path)
        if reduction.is_zero:  # paths lead past it
            reduction = self.reduction
        if normal is self.normal and reduction is self.reduction:
            return self
        return dataclasses.replace(self, normal=normal, reduction=reduction)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        begin, last = self._begin.build(in_shape)
        before, cells, tower = last, [], None
        last_reduction = max((n for n, e in enumerate(self.cells) if e.is_reduction), default=-1)
        for number, each in enumerate(self.cells):
            of_before, before_shape = each.of_before.build(before)
            of_last, last_shape = each.of_last.build(last)
            cell, out_shape = each.cell.pair_build(before_shape, last_shape)
            cells.append(CellInPlace(of_before, of_last, cell))
            before, last = last, out_shape
            if self.auxiliary_weight and number == last_reduction:
                tower, _ = self._tower().build(last)
        if self.auxiliary_weight and tower is None:
            raise ValueError(
                "auxiliary stands behind the last reduction cell, and stages=1 has none"
            )
        return StackNetwork(begin, cells, tower, last_reduction, self.auxiliary_weight), last

    def text(self) -> str:
        shown = [f"normal={self.normal.text()}"]
        if not self._has_one_kind:
            shown.append(f"reduction={self.reduction.text()}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in _OF_TEXT and value != field.default:
                shown.append(f"{field.name}={value}")
        if self.auxiliary_weight:
            shown.append(f"auxiliary={self.auxiliary.text()}")
        return f"cell_stack({', '.join(shown)})"

    @property
    def _has_one_kind(self) -> bool:
        return isinstance(self.reduction, Empty)

    @functools.cached_property
    def _begin(self) -> Space:
        if not self.stem:
            return _NONE
        path = f"{self.path}/stem"
        conv = Conv2d(self.stem * self.filters, 3, bias=False, path=path)
        return Concat((conv, BatchNorm(path=path)), path=path)

    def _tower(self) -> Space:
        if isinstance(self.auxiliary, Empty):
            raise ValueError(
                f"auxiliary_weight={self.auxiliary_weight:g} needs auxiliary, the module that it "
                "weighs the loss of"
            )
        return self.auxiliary

    def _stacked(self) -> Iterator[Stacked]:
        normal = _cell(self.normal, "normal")
        reduction = normal if self._has_one_kind else _cell(self.reduction, "reduction")
        reduction = reduction.changed(lambda part, is_first: halved(part) if is_first else part)
        filters, is_after_reduction = self.filters, False
        later = [True] + [False] * (self.times - self.reduction_counts)
        kinds = [False] * self.times + later * (self.stages - 1)
        for number, is_reduction in enumerate(kinds):
            filters *= 1 + is_reduction
            path = f"{self.path}/{number}"
            share = (number + 1) / len(kinds) if self.path_dropout_by_depth else 1.0
            yield Stacked(
                convolved(filters, f"{path}/before", halves=is_after_reduction),
                convolved(filters, f"{path}/last"),
                self._dropping(reduction if is_reduction else normal, share),
                is_reduction,
            )
            is_after_reduction = is_reduction

    def _dropping(self, cell: PairCell, share: float) -> PairCell:
        """A cell that drops the paths of its operations with a share of the probability."""
        if not self.path_dropout:
            return cell
        p = self.path_dropout * share

        def dropped(part: Space, _: bool) -> Space:
            if part.is_zero or is_identity(part):
                return part
            return Concat((part, PathDropout(p, path=part.path)), path=part.path)

        return cell.changed(dropped)


_OF_TEXT = ("path", "normal", "reduction", "auxiliary")
"""Arguments whose texts are made apart."""


def _cell(module: Space, name: str) -> PairCell:
    if not isinstance(module, PairCell):
        raise ValueError(
            f"{name} of cell_stack must be a cell of two inputs, legal: block_cell, block_graph; "
            f"got {module.text()}"
        )
    return module


class CellInPlace(nn.Module):
    """A cell with what its two inputs are given to first."""

    def __init__(self, of_before: nn.Module, of_last: nn.Module, cell: nn.Module) -> None:
        super().__init__()
        self.of_before = of_before
        self.of_last = of_last
        self.cell = cell

    def forward(self, before: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.cell(self.of_before(before), self.of_last(last))
        return y


class StackNetwork(nn.Module):
    """Runs one cell after the other; in training a tower beside them adds an output of its own.

    Args:
        begin: what comes first.
        cells: in order.
        tower: takes the value of the cell ``tower_after``; None: there is none.
        tower_after: the number of a cell, from 0.
        weight: of the loss of the tower's output.
    """

    def __init__(
        self,
        begin: nn.Module,
        cells: list[CellInPlace],
        tower: nn.Module | None,
        tower_after: int,
        weight: float,
    ) -> None:
        super().__init__()
        self.begin = begin
        self.cells = nn.ModuleList(cells)
        self.tower = tower
        self.tower_after = tower_after
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = last = self.begin(x)
        for number, cell in enumerate(self.cells):
            before, last = last, cell(before, last)
            if self.tower is not None and number == self.tower_after:
                self._add_output(self.tower, last)
        return last

    def _add_output(self, tower: nn.Module, x: torch.Tensor) -> None:
        step = training_step() if self.training else None
        if step is not None:
            step.outputs.append((tower(x), self.weight))
