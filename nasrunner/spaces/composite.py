"""Composite modules: they take submodules, and some ask which of them to use.

Concat, Or, Repeat, RepeatTied, Optional, Residual and MaybeSwap are DeepArchitect's
(arXiv:1704.08792, appendix B.2); Fork is the many-signal-paths module of its appendix D.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from nasrunner.core.decision import Address, Choose, Decision, OneOf
from nasrunner.core.errors import SpaceError
from nasrunner.core.space import Shape, Space, enter
from nasrunner.spaces.basic import Empty, pad_to
from nasrunner.spaces.external import External
from nasrunner.spaces.named import Named

# B = batch


@dataclass(frozen=True)
class Concat(Space):
    """Submodules in series: each takes the output of the one before."""

    modules: tuple[Space, ...]

    is_transparent: ClassVar[bool] = True

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        layers = []
        for module in self.modules:
            layer, in_shape = module.build(in_shape)
            if not isinstance(layer, nn.Identity):
                layers.append(layer)
        return (layers[0] if len(layers) == 1 else nn.Sequential(*layers)), in_shape

    def text(self) -> str:
        shown = [text for module in self.modules if (text := module.text()) != "empty"]
        return " → ".join(_grouped(shown)) or "empty"


def _grouped(texts: list[str]) -> Iterator[str]:
    """Merges equal neighbours: ``relu, relu`` is ``2×relu``."""
    position = 0
    while position < len(texts):
        count = 1
        while texts[position : position + 1] == texts[position + count : position + count + 1]:
            count += 1
        text = texts[position]
        yield text if count == 1 else f"{count}×[{text}]"
        position += count


@dataclass(frozen=True)
class Or(Space):
    """Exactly one of its submodules; only the chosen one's decisions are asked."""

    modules: tuple[Space, ...]

    def __post_init__(self) -> None:
        if not self.modules:
            raise SpaceError("or needs at least one module, got []")

    def resolve(self, ask: Choose, at: Address) -> Space:
        index = ask(self._decision(at))
        module = self.modules[index]
        return module.resolve(ask, self._branch(at, index, module))

    def size(self) -> int:
        return sum(module.size() for module in self.modules)

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield self._decision(at)
        for index, module in enumerate(self.modules):
            yield from module.decisions(self._branch(at, index, module))

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("one of its modules has to be chosen: freeze it first")

    def _decision(self, at: Address) -> Decision:
        return Decision(at.path, at.kind, self._options, is_ordered=False)

    @functools.cached_property
    def _options(self) -> tuple[str, ...]:
        return _labels(self.modules)

    def _branch(self, at: Address, index: int, module: Space) -> Address:
        return enter(module, at / index)


@dataclass(frozen=True)
class Optional(Space):
    """Its submodule or nothing: DeepArchitect's (Optional B) = (Or Empty B)."""

    module: Space

    def resolve(self, ask: Choose, at: Address) -> Space:
        if ask(self._decision(at)):
            return self.module.resolve(ask, enter(self.module, at))
        return Empty(path=at.path)

    def size(self) -> int:
        return 1 + self.module.size()

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield self._decision(at)
        yield from self.module.decisions(enter(self.module, at))

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("whether its module is used has to be chosen: freeze it first")

    def _decision(self, at: Address) -> Decision:
        return Decision(at.path, at.kind, self._options, is_ordered=False)

    @functools.cached_property
    def _options(self) -> tuple[str, ...]:
        return "empty", _label(self.module)


@dataclass(frozen=True)
class MaybeSwap(Space):
    """Two submodules in series, in one order or the other: (Or (Concat A B) (Concat B A))."""

    modules: tuple[Space, Space]

    def resolve(self, ask: Choose, at: Address) -> Space:
        is_swapped = ask(self._decision(at))
        first, second = (
            module.resolve(ask, enter(module, at / position))
            for position, module in enumerate(self.modules)
        )
        return Concat((second, first) if is_swapped else (first, second), path=at.path)

    def size(self) -> int:
        return 2 * super().size()

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield self._decision(at)
        yield from super().decisions(at)

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("the order of its modules has to be chosen: freeze it first")

    def _decision(self, at: Address) -> Decision:
        return Decision(at.path, at.kind, self._options, is_ordered=False)

    @functools.cached_property
    def _options(self) -> tuple[str, ...]:
        first, second = (_label(module) for module in self.modules)
        return f"{first} → {second}", f"{second} → {first}"


@dataclass(frozen=True)
class _Repetition(Space):
    times: int
    body: Space

    def __post_init__(self) -> None:
        for count in self._counts():
            if not isinstance(count, int) or count < 0:
                raise SpaceError(
                    f"times of {self.name()} must be a whole number >= 0, got {count!r}"
                )

    def _counts(self) -> tuple[int, ...]:
        return self.times.options if isinstance(self.times, OneOf) else (self.times,)

    def _resolved_times(self, ask: Choose, at: Address) -> int:
        if isinstance(self.times, OneOf):
            return self._counts()[ask(self.times.decision(at / "times"))]
        return self.times

    def _times_decision(self, at: Address) -> Iterator[Decision]:
        if isinstance(self.times, OneOf):
            yield self.times.decision(at / "times")

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("its repetitions have to be chosen: freeze it first")


@dataclass(frozen=True)
class Repeat(_Repetition):
    """Its submodule ``times`` times in series, each repetition with decisions of its own."""

    def resolve(self, ask: Choose, at: Address) -> Space:
        times = self._resolved_times(ask, at)
        repetitions = (enter(self.body, at.repetition(position)) for position in range(times))
        return Concat(tuple(self.body.resolve(ask, one) for one in repetitions), path=at.path)

    def size(self) -> int:
        each = self.body.size()
        return sum(each**times for times in self._counts())

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from self._times_decision(at)
        if max(self._counts()) > 0:
            yield from self.body.decisions(enter(self.body, at.repetition(0)))


@dataclass(frozen=True)
class RepeatTied(_Repetition):
    """Its submodule ``times`` times in series; the decisions are made once and used for all.

    Only the decisions are tied: every repetition has weights of its own.
    """

    def resolve(self, ask: Choose, at: Address) -> Space:
        times = self._resolved_times(ask, at)
        if times == 0:
            return Empty(path=at.path)
        return Concat((self.body.resolve(ask, enter(self.body, at)),) * times, path=at.path)

    def size(self) -> int:
        each = self.body.size()
        return sum(each if times else 1 for times in self._counts())

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from self._times_decision(at)
        if max(self._counts()) > 0:
            yield from self.body.decisions(enter(self.body, at))


@dataclass(frozen=True)
class Residual(Space):
    """Adds its submodule's input to its output, zero-padded where their shapes differ."""

    body: Space

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        body, out_shape = self.body.build(in_shape)
        shape = largest([in_shape, out_shape])
        return Merge([nn.Identity(), body], "add", shape), shape

    def text(self) -> str:
        return f"residual({self.body.text()})"


@dataclass(frozen=True)
class Fork(Space):
    """Gives its input to every branch and merges what comes out.

    Args:
        branches: at least two modules.
        merge: ``add`` pads smaller outputs with zeros; ``multiply`` pads them with ones;
            ``concat`` stacks in depth, zero-padding height and width.
    """

    branches: tuple[Space, ...]
    merge: Literal["add", "concat", "multiply"]

    def __post_init__(self) -> None:
        if len(self.branches) < 2:
            raise SpaceError(f"fork needs at least two branches, got {len(self.branches)}")

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = [branch(x) for branch in self.branches]
        if self.merge == "concat":
            return torch.cat([pad_to(y, (y.shape[1], *self.shape[1:])) for y in outputs], dim=1)
        padded = [pad_to(y, self.shape, 1.0 if self.merge == "multiply" else 0.0) for y in outputs]
        total = padded[0]
        for y in padded[1:]:
            total = total * y if self.merge == "multiply" else total + y
        return total


def largest(shapes: list[Shape]) -> Shape:
    """The shape that all of these fit into when they are padded.

    Raises:
        ValueError: they have different numbers of dimensions.
    """
    if len({len(shape) for shape in shapes}) != 1:
        raise ValueError(f"shapes {shapes} cannot be merged: flatten or pool them first")
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def _label(module: Space) -> str:
    """What an undecided module is called among the options: its name, or its modules' names."""
    if isinstance(module, Named):
        return module.label
    if isinstance(module, Concat) and module.modules:
        return " → ".join(map(_label, module.modules))
    return module.module.__name__ if isinstance(module, External) else module.name()


def _labels(modules: tuple[Space, ...]) -> tuple[str, ...]:
    """Option labels; modules of the same name are told apart by their position."""
    names = [_label(module) for module in modules]
    return tuple(
        f"{name}#{index}" if names.count(name) > 1 else name for index, name in enumerate(names)
    )
