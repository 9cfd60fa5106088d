"""Networks of stacked cells, each of which takes the values of the two before it."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, TypeVar

import torch
from torch import nn

from nasrunner.core.annotations import AtLeast, Count
from nasrunner.core.decision import most
from nasrunner.core.errors import SpaceError
from nasrunner.core.space import Choice, Pruning, Shape, Space, within
from nasrunner.core.tracing import Tracer, V
from nasrunner.core.training_step import training_step
from nasrunner.spaces.basic import BatchNorm, Dead, Empty, Probability
from nasrunner.spaces.cells.factorized import convolved
from nasrunner.spaces.cells.halved import is_identity
from nasrunner.spaces.cells.made_once import made_once
from nasrunner.spaces.cells.pair_cell import PairCell
from nasrunner.spaces.cells.path_dropout import PathDropout
from nasrunner.spaces.composite import Concat
from nasrunner.spaces.images import Conv2d

T = TypeVar("T")

_NONE = Empty()

_OF_EACH_CELL = 7
"""Modules that a stack puts in front of a cell: two of three layers, and the cell."""


class Stacked(NamedTuple):
    """A cell in its place.

    Attributes:
        number: of the cell, from 0.
        place: its stage and which of its cells it is, by which its weights are known.
        of_before: what the value of the cell before the last is given to; None: it takes none.
        of_last: what that of the last is given to, likewise.
        cell: takes both results; where there is only one, for both of its inputs.
    """

    number: int
    place: str
    of_before: Space | None
    of_last: Space | None
    cell: PairCell

    def inputs(self, values: Mapping[int, T], apply: Callable[[Space, T], T]) -> tuple[T, T]:
        """Returns what the cell takes.

        Args:
            values: of the stem, twice, and of the cells before this one, by their numbers.
            apply: gives a value to a module.
        """
        if self.of_before is None:
            assert self.of_last is not None, "a cell takes something"
            last = apply(self.of_last, values[self.number - 1])
            return last, last
        before = apply(self.of_before, values[self.number - 2])
        if self.of_last is None:
            return before, before
        return before, apply(self.of_last, values[self.number - 1])


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
        """The cells of the frozen stack that its output needs, in order."""
        cells = tuple(self._stacked())
        needed = {len(cells) - 1, self._tower_after}
        for each in reversed(cells):
            if each.number in needed:
                needed |= {each.number - 2} if each.of_before is not None else set()
                needed |= {each.number - 1} if each.of_last is not None else set()
        return tuple(each for each in cells if each.number in needed)

    def thread(self, in_shape: Shape, measure: Callable[[Space, Shape], Shape]) -> Shape:
        # Without the auxiliary tower: papers do not count it, and what is deployed has none.
        shapes = _of_stem(measure(self._begin, in_shape))
        for each in self.cells:
            pair = each.inputs(shapes, measure)
            shapes[each.number] = each.cell.pair_thread(*pair, measure)
        return shapes[max(shapes)]

    def trace(self, tracer: Tracer[V], x: V) -> V:
        values = _of_stem(tracer.run(self._begin, x))
        for each in self.cells:
            pair = each.inputs(values, tracer.run)
            values[each.number] = each.cell.pair_trace(tracer, *pair)
        return values[max(values)]

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
        begin, shape = self._begin.build(in_shape)
        shapes, cells = _of_stem(shape), []
        for each in self.cells:
            layers: list[nn.Module] = []

            def build(part: Space, shape: Shape, layers: list[nn.Module] = layers) -> Shape:
                layer, out_shape = part.build(shape)
                layers.append(layer)
                return out_shape

            pair = each.inputs(shapes, build)
            with within(each.place):
                cell, shapes[each.number] = each.cell.pair_build(*pair)
            parts = iter(layers)
            of_before = None if each.of_before is None else next(parts)
            of_last = None if each.of_last is None else next(parts)
            cells.append(CellInPlace(each.number, of_before, of_last, cell))
        tower = None
        if self.auxiliary_weight:
            tower, _ = self._tower().build(shapes[self._tower_after])
        network = StackNetwork(begin, cells, tower, self._tower_after, self.auxiliary_weight)
        return network, shapes[max(shapes)]

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

    @property
    def _tower_after(self) -> int:
        """The number of the last reduction cell, which the auxiliary tower needs."""
        last = self.times - 1 + (self.stages - 1) * (self._num_later + 1)
        return last - self._num_later if self.auxiliary_weight else last

    @property
    def _num_later(self) -> int:
        """Normal cells behind each reduction cell."""
        return self.times - self.reduction_counts

    def _tower(self) -> Space:
        if isinstance(self.auxiliary, Empty):
            raise ValueError(
                f"auxiliary_weight={self.auxiliary_weight:g} needs auxiliary, the module that it "
                "weighs the loss of"
            )
        if self.stages == 1:
            raise ValueError(
                "auxiliary stands behind the last reduction cell, and stages=1 has none; legal: "
                "auxiliary_weight=0"
            )
        return self.auxiliary

    def _stacked(self) -> Iterator[Stacked]:
        normal = _cell(self.normal, "normal")
        reduction = normal if self._has_one_kind else _cell(self.reduction, "reduction")
        halving, filters, is_after_reduction = reduction.halving(), self.filters, False
        kinds = [False] * self.times + ([True] + [False] * self._num_later) * (self.stages - 1)
        stage = in_stage = 0
        for number, is_reduction in enumerate(kinds):
            if is_reduction:
                filters, stage, in_stage = 2 * filters, stage + 1, 0
            place = f"{stage}.{'reduction' if is_reduction else in_stage}"
            in_stage += not is_reduction
            cell = halving if is_reduction else normal
            takes_before, takes_last = cell.takes()
            path = f"{self.path}/{place}"
            before = convolved(filters, f"{path}/before", halves=is_after_reduction)
            last = convolved(filters, f"{path}/last")
            share = (number + 1) / len(kinds) if self.path_dropout_by_depth else 1.0
            yield Stacked(
                number,
                place,
                before if takes_before else None,
                last if takes_last else None,
                self._dropping(cell, share),
            )
            is_after_reduction = is_reduction

    def _dropping(self, cell: PairCell, share: float) -> PairCell:
        """A cell that drops the paths of its operations with a share of the probability."""
        if not self.path_dropout:
            return cell
        p = self.path_dropout * share

        return cell.with_each(lambda part: _dropped(part, p))


_OF_TEXT = ("path", "normal", "reduction", "auxiliary")
"""Arguments whose texts are made apart."""


@made_once
def _dropped(part: Space, p: float) -> Space:
    """An operation whose result is dropped with a probability."""
    if part.is_zero or is_identity(part):
        return part
    return Concat((part, PathDropout(p, path=part.path)), path=part.path)


def _cell(module: Space, name: str) -> PairCell:
    if isinstance(module, Choice):
        raise SpaceError(
            f"{' and '.join(map(repr, module.paths))} cannot be kept open: {name} of cell_stack is "
            "one cell; legal: one number of blocks, or a search that runs one option at a time, "
            "such as searcher=spos or enas"
        )
    if not isinstance(module, PairCell):
        raise ValueError(
            f"{name} of cell_stack must be a cell of two inputs, legal: block_cell, block_graph; "
            f"got {module.text()}"
        )
    return module


def _of_stem(value: T) -> dict[int, T]:
    """What the stem gives in the place of the two cells before the first."""
    return {-2: value, -1: value}


class CellInPlace(nn.Module):
    """A cell with what its inputs are given to first.

    Args:
        number: of the cell, from 0.
        of_before: what the value of the cell before the last is given to; None: it takes none.
        of_last: what that of the last is given to, likewise.
        cell: takes both results; where there is only one, for both of its inputs.
    """

    def __init__(
        self,
        number: int,
        of_before: nn.Module | None,
        of_last: nn.Module | None,
        cell: nn.Module,
    ) -> None:
        super().__init__()
        self.number = number
        self.of_before = of_before
        self.of_last = of_last
        self.cell = cell

    def forward(self, values: Mapping[int, torch.Tensor]) -> torch.Tensor:
        taken = [
            module(values[number])
            for module, number in (
                (self.of_before, self.number - 2),
                (self.of_last, self.number - 1),
            )
            if module is not None
        ]
        y: torch.Tensor = self.cell(taken[0], taken[-1])
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
        self.numbers = [cell.number for cell in cells]
        self.tower = tower
        self.tower_after = tower_after
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = _of_stem(self.begin(x))
        for number, cell in zip(self.numbers, self.cells, strict=True):
            values[number] = cell(values)
            for old in [each for each in values if each < number - 1]:
                del values[old]  # nothing takes it any more
            if self.tower is not None and number == self.tower_after:
                self._add_output(self.tower, values[number])
        last: torch.Tensor = values[number]
        return last

    def _add_output(self, tower: nn.Module, x: torch.Tensor) -> None:
        step = training_step() if self.training else None
        if step is not None:
            step.outputs.append((tower(x), self.weight))
