"""Composite modules with several signal paths, and how paths meet.

Residual is DeepArchitect's (arXiv:1704.08792, appendix B.2); Fork is the many-signal-paths module
of its appendix D.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from nasrunner.core.errors import SpaceError
from nasrunner.core.shapes import InShape
from nasrunner.core.space import Pruning, Shape, Space, argument_names
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead
from nasrunner.spaces.windows.pools import AveragePool, MaxPool
from nasrunner.spaces.windows.signals import Conv1d, DilatedConv1d, SeparableConv1d

# B = batch


@dataclass(frozen=True)
class Residual(Space):
    """Adds its submodule's input to its output.

    Args:
        body: the submodule.
        shortcut: how the input is added where the two shapes differ. ``project``: W_s x of He et
            al. 2016, arXiv:1512.03385, eq. 2: a 1x1 convolution with the body's stride (of a
            signal one of kernel size 1), or a matrix for vectors, without a bias. ``pad``:
            DeepArchitect's, the smaller of the two is padded with zeros in every dimension.
            ``error``: such an architecture is invalid.
    """

    body: Space
    shortcut: Literal["project", "pad", "error"] = "project"

    def trace(self, tracer: Tracer[V], x: V) -> V:
        y = tracer.run(self.body, x)
        before, after = tracer.shape_of(x), tracer.shape_of(y)
        if before != after and self.shortcut == "project" and isinstance(after, tuple):
            x = tracer.apply(self._projection(after), x)
        return tracer.add([x, y])

    def pruned(self, prune: Pruning) -> Space:
        body = prune(self.body)
        return self if body is self.body else dataclasses.replace(self, body=body)

    @property
    def is_empty(self) -> bool:
        """Whether it adds zeros of the same shape."""
        return self.body.is_zero and not isinstance(self.body, Dead)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        body, out_shape = self.body.build(in_shape)
        padded = largest([in_shape, out_shape])
        if in_shape == out_shape or self.shortcut == "pad":
            return Merge([nn.Identity(), body], "add", padded), padded
        if self.shortcut == "error":
            raise ValueError(f"its body makes {out_shape} of it, which shortcut=error refuses")
        shortcut, _ = self._projection(out_shape).build(in_shape)
        return Merge([shortcut, body], "add", out_shape), out_shape

    def text(self) -> str:
        if self.is_empty:
            return "empty"
        how = "" if self.shortcut == "project" else f"[{self.shortcut}]"
        return f"residual{how}({self.body.text()})"

    def _projection(self, out_shape: Shape) -> Space:
        """The shortcut; two dimensions are (channels, time) where the body slides along the time.

        Else they are (time, units), as around recurrent layers.
        """
        is_of_signals = len(out_shape) == 2 and any(map(_slides, modules_in(self.body)))
        kind = SignalProjection if is_of_signals else Projection
        return kind(out_shape, path=self.path)


@dataclass(frozen=True)
class Projection(Space):
    """The shortcut of a ``residual`` whose body changes the shape.

    Args:
        out_shape: the shape that the body makes.
    """

    out_shape: tuple[int, ...]

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return projection(in_shape, self.out_shape), self.out_shape


@dataclass(frozen=True)
class SignalProjection(Space):
    """The shortcut of a ``residual`` whose body changes the channels or the time of a signal.

    Args:
        out_shape: the shape that the body makes.
    """

    out_shape: tuple[int, ...]

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        return projection_of_signals(in_shape, self.out_shape), self.out_shape


@dataclass(frozen=True)
class Fork(Space):
    """Gives its input, or its inputs by name, to every branch and merges what comes out.

    Args:
        branches: at least two modules.
        merge: ``add`` pads smaller outputs with zeros; ``multiply`` pads them with ones;
            ``concat`` stacks in depth, zero-padding height and width, or the time of signals.
    """

    branches: tuple[Space, ...]
    merge: Literal["add", "concat", "multiply"]

    def __post_init__(self) -> None:
        if len(self.branches) < 2:
            raise SpaceError(f"fork needs at least two branches, got {len(self.branches)}")

    @property
    def takes_inputs(self) -> bool:
        return True

    def trace(self, tracer: Tracer[V], x: V) -> V:
        merge = {
            "add": tracer.add,
            "multiply": tracer.multiply,
            "concat": tracer.concatenate,
        }[self.merge]
        return merge([tracer.run(branch, x) for branch in self.branches])

    def pruned(self, prune: Pruning) -> Space:
        branches = tuple(map(prune, self.branches))
        if self.merge != "multiply" and all(branch.is_zero for branch in branches):
            return Dead(self, path=self.path)  # a product is padded with ones
        if all(one is other for one, other in zip(branches, self.branches, strict=True)):
            return self
        return dataclasses.replace(self, branches=branches)

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        built = [branch.build(in_shape) for branch in self.branches]
        shapes = [shape for _, shape in built]
        shape = largest(shapes)
        depth = sum(each[0] for each in shapes) if self.merge == "concat" else shape[0]
        merge = Merge([layer for layer, _ in built], self.merge, shape)
        return merge, (depth, *shape[1:])

    def text(self) -> str:
        return f"fork[{self.merge}]({' | '.join(branch.text() for branch in self.branches)})"


class Merge(nn.Module):
    """Runs branches on one input and merges their outputs, padded at the end of each dimension."""

    def __init__(self, branches: list[nn.Module], merge: str, shape: Shape) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.merge = merge
        self.shape = shape

    def forward(self, x: torch.Tensor | Mapping[str, torch.Tensor]) -> torch.Tensor:
        outputs = [branch(x) for branch in self.branches]
        if self.merge == "concat":
            return torch.cat([pad_to(y, (y.shape[1], *self.shape[1:])) for y in outputs], dim=1)
        padded = [pad_to(y, self.shape, 1.0 if self.merge == "multiply" else 0.0) for y in outputs]
        total = padded[0]
        for y in padded[1:]:
            total = total * y if self.merge == "multiply" else total + y
        return total


def projection(in_shape: Shape, out_shape: Shape) -> nn.Module:
    """Returns the linear map from one shape to another: 1x1 convolution, or matrix for vectors.

    Raises:
        ValueError: the images' sizes are no stride apart, or the sequences differ in length.
    """
    if len(in_shape) == 3:
        rows, columns = _strides(in_shape, out_shape)
        return nn.Conv2d(in_shape[0], out_shape[0], 1, (rows, columns), bias=False)
    if in_shape[:-1] != out_shape[:-1]:
        raise _no_projection(in_shape, out_shape)
    return nn.Linear(in_shape[-1], out_shape[-1], bias=False)


def projection_of_signals(in_shape: Shape, out_shape: Shape) -> nn.Module:
    """Returns the linear map from one shape of signals to another: a matrix for every few time
    steps.

    Raises:
        ValueError: the lengths are no stride apart.
    """
    (stride,) = _strides(in_shape, out_shape)
    return nn.Conv1d(in_shape[0], out_shape[0], 1, stride, bias=False)


def _strides(in_shape: Shape, out_shape: Shape) -> list[int]:
    """The strides that lead from one shape to another; refuses shapes without any."""
    if len(in_shape) != len(out_shape):
        raise _no_projection(in_shape, out_shape)
    strides = [math.ceil(n / m) for n, m in zip(in_shape[1:], out_shape[1:], strict=True)]
    reached = [math.ceil(n / s) for n, s in zip(in_shape[1:], strides, strict=True)]
    if reached != list(out_shape[1:]):
        raise _no_projection(in_shape, out_shape)
    return strides


def _no_projection(in_shape: Shape, out_shape: Shape) -> ValueError:
    return ValueError(
        f"no stride leads from {in_shape} to {out_shape}, so that shortcut=project is impossible; "
        "legal: shortcut=pad"
    )


def _slides(module: Space) -> bool:
    return isinstance(module, Conv1d | SeparableConv1d | DilatedConv1d | AveragePool | MaxPool)


def modules_in(value: Any) -> Iterator[Space]:
    """Yields every module in a frozen one, itself first."""
    if isinstance(value, Space):
        yield value
        value = tuple(getattr(value, name) for name in argument_names(type(value)))
    if isinstance(value, tuple):
        for part in value:
            yield from modules_in(part)


def largest(shapes: list[Shape]) -> Shape:
    """Returns the shape that all of these fit into when they are padded.

    Raises:
        ValueError: they have different numbers of dimensions.
    """
    if len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"shapes {shapes} cannot be merged: flatten or pool them first")
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def pad_to(x: torch.Tensor, shape: Shape, value: float = 0.0) -> torch.Tensor:
    """Pads every dimension but the batch at its end, up to ``shape``."""
    if tuple(x.shape[1:]) == shape:
        return x
    pads = [
        p for n, m in zip(reversed(x.shape[1:]), reversed(shape), strict=True) for p in (0, m - n)
    ]
    return nn.functional.pad(x, pads, value=value)
