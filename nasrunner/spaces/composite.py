"""Composite modules: they take submodules, and some ask which of them to use.

Concat, Or, Repeat, RepeatTied, Optional and MaybeSwap are DeepArchitect's (arXiv:1704.08792,
appendix B.2).
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import nn

from nasrunner.core.annotations import AtLeast
from nasrunner.core.decision import Address, Choose, Decision, most, options_of, values_of
from nasrunner.core.errors import SpaceError
from nasrunner.core.questions import Asked, Question
from nasrunner.core.shapes import InShape, Shape
from nasrunner.core.space import (
    Kept,
    Pruning,
    Space,
    decisions_of_value,
    enter,
    opened,
    questions_of,
    questions_opened,
    resolve_module,
    resolve_value,
)
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead, Empty
from nasrunner.spaces.named import Named

# B = batch


@dataclass(frozen=True)
class Concat(Space):
    """Submodules in series: each takes the output of the one before."""

    modules: tuple[Space, ...]

    is_transparent: ClassVar[bool] = True

    @property
    def takes_inputs(self) -> bool:
        return bool(self.modules)  # the first one does, or is refused them

    def thread(self, in_shape: InShape, measure: Callable[[Space, InShape], Shape]) -> Shape:
        for module in self.modules:
            in_shape = measure(module, in_shape)
        assert not isinstance(in_shape, Mapping)
        return in_shape

    def trace(self, tracer: Tracer[V], x: V) -> V:
        for _, same in itertools.groupby(self.modules, key=id):
            module, *others = same
            x = tracer.repeat(module, 1 + len(others), x) if others else tracer.run(module, x)
        return x

    def pruned(self, prune: Pruning) -> Space:
        each = {id(module): prune(module) for module in self.modules}
        modules = tuple(each[id(module)] for module in self.modules)
        decisive = modules
        if prune.keeps_constants:
            decisive = tuple(each for each in modules if not isinstance(each, Empty))[-1:]
        if any(module.is_zero for module in decisive):
            return Dead(self, path=self.path)
        if all(one is other for one, other in zip(modules, self.modules, strict=True)):
            return self
        return dataclasses.replace(self, modules=modules)

    def beyond(self, other: Space) -> Space | None:
        if not isinstance(other, Concat) or len(self.modules) <= len(other.modules):
            return None
        if self.modules[: len(other.modules)] != other.modules:
            return None
        return Concat(self.modules[len(other.modules) :], path=self.path)

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        layers = []
        for module in self.modules:
            layer, in_shape = module.build(in_shape)
            if not isinstance(layer, nn.Identity):
                layers.append(layer)
        assert not isinstance(in_shape, Mapping)
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
        def option(index: int) -> Space:
            module = self.modules[index]
            return resolve_module(module, ask, self._branch(at, index, module))

        answer = ask(self._decision(at))
        return answer.module(option) if isinstance(answer, Kept) else option(answer)

    def questions(self, at: Address) -> Iterator[Question]:
        def opens(index: int) -> Iterator[Question]:
            module = self.modules[index]
            yield from questions_of(module, self._branch(at, index, module))

        yield Asked(self._decision(at), opens)

    def size(self) -> int:
        return sum(module.size() for module in self.modules)

    def most_modules(self) -> int:
        return 1 + max(module.most_modules() for module in self.modules)

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
        def option(is_there: int) -> Space:
            if is_there:
                return resolve_module(self.module, ask, enter(self.module, at))
            return Empty(path=at.path)

        answer = ask(self._decision(at))
        return answer.module(option) if isinstance(answer, Kept) else option(answer)

    def questions(self, at: Address) -> Iterator[Question]:
        def opens(index: int) -> Iterator[Question]:
            if index:
                yield from questions_of(self.module, enter(self.module, at))

        yield Asked(self._decision(at), opens)

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
        answer = ask(self._decision(at))
        first, second = (
            resolve_module(module, ask, enter(module, at / position))
            for position, module in enumerate(self.modules)
        )

        def option(is_swapped: int) -> Space:
            return Concat((second, first) if is_swapped else (first, second), path=at.path)

        return answer.module(option) if isinstance(answer, Kept) else option(answer)

    def questions(self, at: Address) -> Iterator[Question]:
        yield Asked(self._decision(at))
        yield from super().questions(at)

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
    times: Annotated[int, AtLeast(0)]
    body: Space

    def __post_init__(self) -> None:
        for count in options_of(self.times):
            if not isinstance(count, int) or count < 0:
                raise SpaceError(
                    f"times of {self.name()} must be a whole number >= 0, got {count!r}"
                )

    def most_modules(self) -> int:
        return 1 + most(self.times) * self.body.most_modules()

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError("its repetitions have to be chosen: freeze it first")


@dataclass(frozen=True)
class Repeat(_Repetition):
    """Its submodule ``times`` times in series, each repetition with decisions of its own."""

    def resolve(self, ask: Choose, at: Address) -> Space:
        def bodies(times: int) -> Space:
            repetitions = (enter(self.body, at.repetition(position)) for position in range(times))
            each = tuple(resolve_module(self.body, ask, one) for one in repetitions)
            return Concat(each, path=at.path)

        times = resolve_value(self.times, ask, at / "times")
        return opened(times, bodies, ask)

    def questions(self, at: Address) -> Iterator[Question]:
        def opens(times: int) -> Iterator[Question]:
            for position in range(times):
                yield from questions_of(self.body, enter(self.body, at.repetition(position)))

        yield from questions_opened(self.times, at / "times", opens)

    def size(self) -> int:
        each = self.body.size()
        return sum(each**times for times in values_of(self.times))

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from decisions_of_value(self.times, at / "times")
        if max(options_of(self.times)) > 0:
            yield from self.body.decisions(enter(self.body, at.repetition(0)))


@dataclass(frozen=True)
class RepeatTied(_Repetition):
    """Its submodule ``times`` times in series; the decisions are made once and used for all.

    Only the decisions are tied: every repetition has weights of its own.
    """

    def resolve(self, ask: Choose, at: Address) -> Space:
        def bodies(times: int) -> Space:
            if times == 0:
                return Empty(path=at.path)
            body = resolve_module(self.body, ask, enter(self.body, at))
            return Concat((body,) * times, path=at.path)

        times = resolve_value(self.times, ask, at / "times")
        return opened(times, bodies, ask)

    def questions(self, at: Address) -> Iterator[Question]:
        def opens(times: int) -> Iterator[Question]:
            if times:
                yield from questions_of(self.body, enter(self.body, at))

        yield from questions_opened(self.times, at / "times", opens)

    def size(self) -> int:
        each = self.body.size()
        return sum(each if times else 1 for times in values_of(self.times))

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from decisions_of_value(self.times, at / "times")
        if max(options_of(self.times)) > 0:
            yield from self.body.decisions(enter(self.body, at))


def _label(module: Space) -> str:
    """What an undecided module is called among the options: its name, or its modules' names."""
    if isinstance(module, Named):
        return module.label
    if isinstance(module, Concat) and module.modules:
        return " → ".join(map(_label, module.modules))
    return module.title()


def _labels(modules: tuple[Space, ...]) -> tuple[str, ...]:
    """Option labels; modules of the same name are told apart by their position."""
    names = [_label(module) for module in modules]
    return tuple(
        f"{name}#{index}" if names.count(name) > 1 else name for index, name in enumerate(names)
    )
