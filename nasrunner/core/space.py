"""The space contract: a tree of frozen dataclasses whose fields may hold open decisions."""

import dataclasses
import functools
import math
import re
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nasrunner.core.annotations import fits, readable
from nasrunner.core.decision import (
    Address,
    Choose,
    Decision,
    Genotype,
    OneOf,
    SearchSchedule,
    is_open,
    parts_of,
    with_parts,
)
from nasrunner.core.errors import SpaceError
from nasrunner.core.questions import Asked, Question, writing
from nasrunner.core.shapes import InShape, shown_inputs
from nasrunner.core.shapes import Shape as Shape  # modules take both from here
from nasrunner.core.tracing import Tracer, V

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Space(ABC):
    """What may be built. Subclass it as a frozen dataclass; any field may hold a ``OneOf``.

    A field annotated ``Space`` or ``tuple[Space, ...]`` holds submodules. A module whose
    decisions are not just those of its fields overrides ``resolve``, ``size`` and ``decisions``
    together: the first asks, the second counts and the third lists the same questions.

    Attributes:
        path: where the module stood in the open space; set by ``freeze`` for error messages.
    """

    path: str = field(default="", kw_only=True, compare=False, repr=False)

    is_transparent: ClassVar[bool] = False
    """A transparent module adds no segment of its own to the paths below it."""

    is_function: ClassVar[bool] = False
    """Whether it is a fixed function of one input: without weights, and without chance."""

    unnamed: ClassVar[str] = ""
    """An argument that is no submodule and may all the same be given without its name."""

    @property
    def takes_inputs(self) -> bool:
        """Whether ``make`` takes several inputs by name, too; any other module is refused them."""
        return False

    @classmethod
    @functools.cache
    def name(cls) -> str:
        """The module's name in the space language: its class name in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    @classmethod
    @functools.cache
    def is_one_operation(cls) -> bool:
        """Whether networks of this class are looked at as one operation; see ``trace``."""
        return overrides_alone(cls, "make", "trace")

    def title(self) -> str:
        """What a person reads as the module's name."""
        return self.name()

    def shown_arguments(self) -> Iterator[tuple[str, Any]]:
        """The arguments as a person wrote them, each with its name."""
        yield from self._arguments()

    def walk(self, choose: Choose) -> Genotype:
        """Asks ``choose`` at each active decision, depth first, and returns the answers.

        A decision that is forced is answered without asking.

        Raises:
            SpaceError: an answer is not the index of an option.
        """
        genotype: Genotype = {}
        ask = writing(genotype, choose)
        for question in self.compiled:
            question.ask(ask)
        return genotype

    def at_proposal(self, index: int) -> "Space":
        """The space as it stands for proposal number ``index``: every schedule has its value then.

        The space itself where it has no schedule.
        """
        now = {name: value_at_proposal(value, index) for name, value in self._arguments()}
        changed = {name: v for name, v in now.items() if v is not getattr(self, name)}
        return dataclasses.replace(self, **changed) if changed else self

    def schedules(self) -> Iterator[SearchSchedule]:
        """Every schedule in the space."""
        for _, value in self._arguments():
            yield from schedules_of_value(value)

    def freeze(self, genotype: Mapping[str, int]) -> "Space":
        """The one architecture these answers describe: no decision is left in it.

        Raises:
            SpaceError: an active decision has no answer, an answer is not the index of an
                option, or a path of the genotype is no active decision.
        """
        used: set[str] = set()

        def ask(decision: Decision) -> int:
            used.add(decision.path)
            index = genotype.get(decision.path)
            if index is None:
                raise SpaceError(f"the genotype does not answer {decision.path!r}")
            if not 0 <= index < len(decision.options):
                raise SpaceError(
                    f"{decision.path!r} has {len(decision.options)} options, got index {index}"
                )
            return index

        frozen = resolve_module(self, ask, self._root)
        if unknown := sorted(set(genotype) - used):
            raise SpaceError(f"the genotype answers {unknown[0]!r}, which is no active decision")
        return frozen

    def values(self, genotype: Mapping[str, int]) -> dict[str, Any]:
        """The answers as option values instead of indices, in the order they are asked."""
        values: dict[str, Any] = {}

        def choose(decision: Decision) -> int:
            index = genotype[decision.path]
            values[decision.path] = decision.options[index]
            return index

        self.walk(choose)
        return values

    def signature(self) -> dict[str, tuple[Any, ...]]:
        """Every decision kind with its options: what a ledger was written for."""
        return {decision.kind: decision.options for decision in self.decisions(enter(self))}

    def build(self, in_shape: InShape) -> tuple["nn.Module", Shape]:
        """The network for inputs of ``in_shape``, and the shape of its output.

        Raises:
            SpaceError: a decision is still open, the shapes do not fit, or several inputs come in
                where one is taken; names the path.
        """
        self.check_inputs(in_shape)
        for name, value in self.shown_arguments():
            if is_open(value):
                raise SpaceError(f"{name!r} of {self.title()!r} is still open: freeze it first")
        for name, annotation in argument_types(type(self)).items():
            if not fits(value := getattr(self, name), annotation):
                raise SpaceError(
                    f"{self.path or self.title()!r}: {name} must be {readable(annotation)}, "
                    f"got {value!r}"
                )
        try:
            return self.make(in_shape)
        except SpaceError:
            raise
        except Exception as error:  # a user's module may raise anything
            reason = " ".join(str(error).split())
            given = f"an input of shape {tuple(in_shape)}"
            if isinstance(in_shape, Mapping):
                given = f"the inputs {shown_inputs(in_shape)}"
            raise SpaceError(
                f"{self.path or self.title()!r}: no {self.title()} on {given}: {reason}"
            ) from error

    def check_inputs(self, in_shape: InShape) -> None:
        """Refuses several inputs where the module takes one tensor.

        Raises:
            SpaceError: names the path, the inputs and what is legal.
        """
        if isinstance(in_shape, Mapping) and not self.takes_inputs:
            picks = " or ".join(f"input: {name}" for name in in_shape)
            raise SpaceError(
                f"{self.path or self.title()!r}: {self.title()} takes one tensor, but the inputs "
                f"{shown_inputs(in_shape)} come in by name; legal: one of them, picked before it "
                f"by {picks}"
            )

    @abstractmethod
    def make(self, in_shape: Any) -> tuple["nn.Module", Shape]:
        """Builds the frozen module; any ValueError becomes a SpaceError with the path.

        Args:
            in_shape: a ``Shape``; where the module has ``takes_inputs``, any ``InShape``.
        """

    def thread(self, in_shape: Any, measure: Callable[["Space", Any], Shape]) -> Shape | None:
        """Passes a shape through the parts of the frozen module, where it only puts them together.

        For a network's size these are measured one by one, and each once; ``make`` builds the same.

        Args:
            in_shape: what comes in, as of ``make``.
            measure: measures a part, and returns what comes out of it.

        Returns:
            What comes out; None: it is built as one.
        """
        return None

    def trace(self, tracer: Tracer[V], x: V) -> V:
        """Says what the frozen module does with its input, as ``make``'s network would.

        One operation, unless a module that puts others together overrides it.

        Args:
            tracer: is told.
            x: stands for what comes in.

        Returns:
            What stands for what comes out.
        """
        return tracer.apply(self, x)

    def stands_for(self, tracer: Tracer[Any]) -> "Space | None":
        """The part that is in its place while networks are traced; None: it is one itself."""
        return None

    def resolve(self, ask: Choose, at: Address) -> "Space":
        """The same module with every decision asked, in field order, and replaced by its value."""
        resolved = {
            name: resolve_value(value, ask, self._place(name, at))
            for name, value in self._unresolved
        }
        return dataclasses.replace(self, **resolved, path=at.path)

    def questions(self, at: Address) -> Iterator[Question]:
        """What ``resolve`` asks, in the same order, without what it makes of the answers.

        A module that overrides ``resolve`` alone is resolved in every walk instead.
        """
        for name, value in self._unresolved:
            yield from questions_of_value(value, self._place(name, at))

    def size(self) -> int:
        """The exact number of architectures, counted without enumerating them."""
        return math.prod(size_of_value(value) for _, value in self._arguments())

    def most_modules(self) -> int:
        """At least as many modules as the largest architecture has, counted without listing."""
        return 1 + sum(most_modules_of_value(value) for _, value in self._arguments())

    def decisions(self, at: Address) -> Iterator[Decision]:
        """Every decision there can be, active or not, each kind once, in the order asked."""
        for name, value in self._arguments():
            yield from decisions_of_value(value, self._place(name, at))

    def text(self) -> str:
        """The frozen module in one readable line: ``conv2d(filters=32, kernel_size=3)``."""
        shown = [
            f"{f.name}={getattr(self, f.name)}"
            for f in dataclasses.fields(self)
            if f.name != "path" and getattr(self, f.name) != f.default
        ]
        return f"{self.name()}({', '.join(shown)})" if shown else self.name()

    @functools.cached_property
    def is_closed(self) -> bool:
        """Whether nothing can be asked in it."""
        return next(self.decisions(Address()), None) is None

    @functools.cached_property
    def _root(self) -> Address:
        return enter(self)

    @functools.cached_property
    def compiled(self) -> tuple[Question, ...]:
        """The questions of a walk, in order; none depends on the answers to another."""
        return tuple(questions_of(self, self._root))

    def __getstate__(self) -> dict[str, Any]:
        """The module without what its walks have made, which a process makes for itself."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_root", "compiled")}

    @functools.cached_property
    def _unresolved(self) -> tuple[tuple[str, Any], ...]:
        """The arguments that hold a module or a decision; the others are as they are."""
        return tuple((name, value) for name, value in self._arguments() if _holds_parts(value))

    def _arguments(self) -> Iterator[tuple[str, Any]]:
        for name in argument_names(type(self)):
            yield name, getattr(self, name)

    def _place(self, name: str, at: Address) -> Address:
        return at if name == content_field(type(self)) else at / name


def enter(space: Space, at: Address | None = None) -> Address:
    """The address of a module that stands at ``at``: with its own name, unless transparent."""
    at = at or Address()
    return at if space.is_transparent else at / space.name()


def resolve_value(value: Any, ask: Choose, at: Address) -> Any:
    """An argument with its decisions asked: a module, a ``OneOf``, a value with some inside it.

    What is open inside an option is asked only where that option is chosen.
    """
    if isinstance(value, OneOf):
        index = ask(value.decision(at))
        option = value.options[index]
        return resolve_value(option, ask, at / index) if value.is_nested else option
    if isinstance(value, Space):
        return resolve_module(value, ask, enter(value, at))
    return with_parts(value, lambda place, part: resolve_value(part, ask, at / place))


def resolve_module(module: Space, ask: Choose, at: Address) -> Space:
    """The module with every decision asked, as of ``resolve``; made once where nothing is.

    Args:
        module: it.
        ask: answers its decisions.
        at: where it stands, its own name included.

    Raises:
        SpaceError: it asks what its ``decisions`` does not list.
    """
    if not module.is_closed:
        return module.resolve(ask, at)

    def refuse(decision: Decision) -> int:
        raise SpaceError(
            f"{module.title()!r} asks {decision.path!r}, which its method decisions must list"
        )

    return at.keep(module, lambda: module.resolve(refuse, at))


def questions_of(module: Space, at: Address) -> Iterator[Question]:
    """The questions of a module that stands at ``at``, its own name included."""
    if module.is_closed:
        return
    if overrides_alone(type(module), "resolve", "questions"):
        yield _Unlisted(module, at)
    else:
        yield from module.questions(at)


def questions_of_value(value: Any, at: Address) -> Iterator[Question]:
    """The questions of an argument."""
    if isinstance(value, Space):
        yield from questions_of(value, enter(value, at))
    elif isinstance(value, OneOf):
        yield from questions_opened(value, at, lambda option: ())
    else:
        for place, part in parts_of(value):
            yield from questions_of_value(part, at / place)


def questions_opened(
    value: Any, at: Address, then: Callable[[Any], Iterable[Question]]
) -> Iterator[Question]:
    """The questions of an argument that is one value, and those that follow from this value.

    Args:
        value: the argument, open or not.
        at: where it stands.
        then: what its value opens.
    """
    if not isinstance(value, OneOf):
        yield from questions_of_value(value, at)
        yield from then(value)
        return

    def opens(index: int) -> Iterator[Question]:
        yield from questions_opened(value.options[index], at / index, then)

    yield Asked(value.decision(at), opens)


class _Unlisted:
    """A module that says what it asks only by being resolved, as a user's own may.

    Args:
        module: it.
        at: where it stands.
    """

    __slots__ = ("at", "module")

    def __init__(self, module: Space, at: Address) -> None:
        self.module = module
        self.at = at

    def ask(self, choose: Choose) -> None:
        self.module.resolve(choose, self.at)


@functools.cache
def overrides_alone(kind: type[Space], one: str, other: str) -> bool:
    """Whether a class has a method of its own, and another that belongs to it from a base."""
    order = kind.__mro__
    places = (
        next(place for place, each in enumerate(order) if name in vars(each))
        for name in (one, other)
    )
    return next(places) < next(places)


def _holds_parts(value: Any) -> bool:
    """Whether an argument holds a module or a decision, however deep."""
    if isinstance(value, Space | OneOf):
        return True
    return any(_holds_parts(part) for _, part in parts_of(value))


def value_at_proposal(value: Any, index: int) -> Any:
    """An argument as it stands for one proposal; the same object where nothing is scheduled."""
    if isinstance(value, SearchSchedule):
        return dataclasses.replace(value, now=value.stage(index)) if value.now is None else value
    if isinstance(value, Space):
        return value.at_proposal(index)
    if isinstance(value, OneOf) and not value.is_nested:
        return value
    before = dict(parts_of(value))
    now = {place: value_at_proposal(part, index) for place, part in before.items()}
    if all(now[place] is part for place, part in before.items()):
        return value
    if isinstance(value, OneOf):
        return dataclasses.replace(value, options=tuple(now.values()))
    return with_parts(value, lambda place, _: now[place])


def schedules_of_value(value: Any) -> Iterator[SearchSchedule]:
    """Every schedule in an argument, those inside its modules, too."""
    if isinstance(value, SearchSchedule):
        yield value
    elif isinstance(value, Space):
        yield from value.schedules()
    elif not isinstance(value, OneOf) or value.is_nested:
        for _, part in parts_of(value):
            yield from schedules_of_value(part)


def size_of_value(value: Any) -> int:
    """How many values an argument can take."""
    if isinstance(value, Space):
        return value.size()
    if isinstance(value, OneOf):
        return sum(map(size_of_value, value.values)) if value.is_nested else len(value.values)
    return math.prod(size_of_value(part) for _, part in parts_of(value))


def most_modules_of_value(value: Any) -> int:
    """How many modules an argument can come to: those of a module, or of a list of modules."""
    if isinstance(value, tuple):
        return sum(map(most_modules_of_value, value))
    return value.most_modules() if isinstance(value, Space) else 0


def decisions_of_value(value: Any, at: Address) -> Iterator[Decision]:
    """Every decision there can be in an argument, in the order asked."""
    if isinstance(value, Space):
        yield from value.decisions(enter(value, at))
        return
    if isinstance(value, OneOf):
        yield value.decision(at)
    if not isinstance(value, OneOf) or value.is_nested:
        for place, part in parts_of(value):
            yield from decisions_of_value(part, at / place)


@functools.cache
def argument_names(module: type[Space]) -> tuple[str, ...]:
    """The arguments of a module in the order of its signature, ``path`` left out."""
    return tuple(f.name for f in dataclasses.fields(module) if f.name != "path")


@functools.cache
def argument_types(module: type[Space]) -> dict[str, Any]:
    """The annotated type of each argument, evaluated."""
    hints = typing.get_type_hints(module, include_extras=True)
    return {name: hints[name] for name in argument_names(module)}


def is_module_type(annotation: object) -> bool:
    """Whether an argument of this type is one submodule."""
    return isinstance(annotation, type) and issubclass(annotation, Space)


def is_modules_type(annotation: object) -> bool:
    """Whether an argument of this type is a list of submodules."""
    arguments = typing.get_args(annotation)
    return (
        typing.get_origin(annotation) is tuple
        and bool(arguments)
        and all(is_module_type(item) or item is Ellipsis for item in arguments)
    )


@functools.cache
def content_field(module: type[Space]) -> str | None:
    """The argument that may be given without its name: the only one that holds submodules."""
    types = argument_types(module)
    holding = [n for n, t in types.items() if is_module_type(t) or is_modules_type(t)]
    return holding[0] if len(holding) == 1 else None
