"""The space contract: a tree of frozen dataclasses whose fields may hold open decisions."""

import dataclasses
import functools
import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
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
    with_parts,
)
from nasrunner.core.errors import SpaceError
from nasrunner.core.questions import Question, writing
from nasrunner.core.shapes import InShape, Shape, shown_inputs
from nasrunner.core.space.arguments import argument_names, argument_types, content_field
from nasrunner.core.space.asking import overrides_alone, questions_of, questions_of_value
from nasrunner.core.space.built import made, note
from nasrunner.core.space.keeping import Case, KeepsAll, Kept, KeptValue, cases_of, opened
from nasrunner.core.space.listing import decisions_of_value, most_modules_of_value, size_of_value
from nasrunner.core.space.living import Pruning
from nasrunner.core.space.part import Part, enter, holds_parts
from nasrunner.core.space.scheduled import schedules_of_value, value_at_proposal
from nasrunner.core.tracing import Tracer, V

if TYPE_CHECKING:
    from torch import nn

_FEW = 100
"""Architectures of a module that are kept, at most."""


@dataclass(frozen=True)
class Space(Part):
    """What may be built. Subclass it as a frozen dataclass; any field may hold a ``OneOf``.

    A field annotated ``Space`` or ``tuple[Space, ...]`` holds submodules. A module whose
    decisions are not just those of its fields overrides ``resolve``, ``size`` and ``decisions``
    together: the first asks, the second counts and the third lists the same questions.

    Attributes:
        path: where the module stood in the open space; set by ``freeze`` for error messages.
    """

    path: str = field(default="", kw_only=True, compare=False, repr=False)

    is_function: ClassVar[bool] = False
    """Whether it is a fixed function of one input: without weights, and without chance."""

    widths: ClassVar[tuple[str, ...]] = ()
    """The arguments that are numbers of channels, features or units: a fidelity may scale them."""

    hides_widths: ClassVar[bool] = False
    """Whether its widths and those of modules in it stay inside: its output has another."""

    is_chance: ClassVar[bool] = False
    """Whether it only adds chance while training, and else passes its input on."""

    @property
    def is_zero(self) -> bool:
        """Whether its output is all zeros, whatever its input is."""
        return False

    @property
    def side_outputs(self) -> tuple["Space", ...]:
        """The modules in it whose outputs are the network's, too, while it is trained."""
        return ()

    @property
    def mixes(self) -> tuple[str, ...]:
        """The decisions kept open whose options its own layer weighs; see ``relaxed``."""
        return ()

    unnamed: ClassVar[str] = ""
    """The argument that may be given without its name although it is no submodule; empty: none."""

    @property
    def takes_inputs(self) -> bool:
        """Whether ``make`` also accepts several inputs by name; other modules get one tensor."""
        return False

    @classmethod
    @functools.cache
    def name(cls) -> str:
        """Returns the module's name in the space language: its class name in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    @classmethod
    @functools.cache
    def is_one_operation(cls) -> bool:
        """Tells whether networks of this class are looked at as one operation; see ``trace``."""
        return overrides_alone(cls, "make", "trace")

    def title(self) -> str:
        """Returns what a person reads as the module's name."""
        return self.name()

    def shown_arguments(self) -> Iterator[tuple[str, Any]]:
        """Yields the arguments as a person wrote them, each with its name."""
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
        """Returns the space with every schedule fixed to its value for proposal number ``index``.

        Returns the space itself if it has no schedule.
        """
        now = {name: value_at_proposal(value, index) for name, value in self._arguments()}
        changed = {name: v for name, v in now.items() if v is not getattr(self, name)}
        return dataclasses.replace(self, **changed) if changed else self

    def schedules(self) -> Iterator[SearchSchedule]:
        """Yields every schedule in the space."""
        for _, value in self._arguments():
            yield from schedules_of_value(value)

    def freeze(self, genotype: Mapping[str, int]) -> "Space":
        """Returns the one architecture these answers describe: no decision is left in it.

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
        """Returns the answers as option values instead of indices, in the order they are asked."""
        values: dict[str, Any] = {}

        def choose(decision: Decision) -> int:
            index = genotype[decision.path]
            values[decision.path] = decision.options[index]
            return index

        self.walk(choose)
        return values

    def signature(self) -> dict[str, tuple[Any, ...]]:
        """Returns every decision kind with its options: what a ledger was written for."""
        return {decision.kind: decision.options for decision in self.decisions(enter(self))}

    def build(self, in_shape: InShape) -> tuple["nn.Module", Shape]:
        """Returns the network for inputs of ``in_shape``, and the shape of its output.

        Raises:
            SpaceError: a decision is still open, the shapes do not fit, or several inputs come in
                where one is taken; names the path.
        """
        self.check_inputs(in_shape)
        if self._wrong is not None:
            raise SpaceError(self._wrong)
        try:
            if not self.is_one_operation():
                return self.make(in_shape)
            layer, out_shape = made(self, in_shape, functools.partial(self.make, in_shape))
            note(self, in_shape, out_shape, layer)
            return layer, out_shape
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
        """Returns the part that is in its place while networks are traced; None: it is one
        itself.
        """
        return None

    def pruned(self, prune: Pruning) -> "Space":
        """Returns the frozen module with zeros in place of its dead parts; see ``living``.

        A module that puts others together overrides it with ``trace``.
        """
        return self

    def beyond(self, other: "Space") -> "Space | None":
        """Returns what the frozen module does after all that another one does.

        None: it does not begin with that.
        """
        return None

    def resolve(self, ask: Choose, at: Address) -> "Space":
        """Asks every decision, in field order, and returns the module with the values instead."""
        resolved = {
            name: resolve_value(value, ask, self._place(name, at))
            for name, value in self._unresolved
        }
        if isinstance(ask, KeepsAll):
            return self._with_all(resolved, ask, at)
        return dataclasses.replace(self, **resolved, path=at.path)

    def questions(self, at: Address) -> Iterator[Question]:
        """Yields the questions that ``resolve`` asks, in the same order, without building anything.

        A module that overrides ``resolve`` alone is resolved in every walk instead.
        """
        for name, value in self._unresolved:
            yield from questions_of_value(value, self._place(name, at))

    def size(self) -> int:
        """Returns the exact number of architectures, without enumerating them."""
        return math.prod(size_of_value(value) for _, value in self._arguments())

    def most_modules(self) -> int:
        """Returns an upper bound of the modules in any architecture, without enumerating them."""
        return 1 + sum(most_modules_of_value(value) for _, value in self._arguments())

    def decisions(self, at: Address) -> Iterator[Decision]:
        """Yields every decision, active or not, each kind once, in the order asked."""
        for name, value in self._arguments():
            yield from decisions_of_value(value, self._place(name, at))

    def text(self) -> str:
        """Returns the frozen module in one readable line: ``conv2d(filters=32, kernel_size=3)``."""
        shown = [
            f"{f.name}={getattr(self, f.name)}"
            for f in dataclasses.fields(self)
            if f.name != "path" and getattr(self, f.name) != f.default
        ]
        return f"{self.name()}({', '.join(shown)})" if shown else self.name()

    @functools.cached_property
    def _root(self) -> Address:
        return enter(self)

    @functools.cached_property
    def compiled(self) -> tuple[Question, ...]:
        """The questions of a walk, in order; none depends on the answers to another."""
        return tuple(questions_of(self, self._root))

    @functools.cached_property
    def _wrong(self) -> str | None:
        """Why no network can be built with these arguments, in one sentence; None: it can.

        A part of a network may stand in it many times, and in many networks.
        """
        for name, value in self.shown_arguments():
            if is_open(value):
                return f"{name!r} of {self.title()!r} is still open: freeze it first"
        for name, annotation in argument_types(type(self)).items():
            if not fits(value := getattr(self, name), annotation):
                must = f"{name} must be {readable(annotation)}, got {value!r}"
                return f"{self.path or self.title()!r}: {must}"
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Returns its fields without what was cached, which every process finds itself."""
        return {k: v for k, v in self.__dict__.items() if k not in _CACHED}

    @functools.cached_property
    def _unresolved(self) -> tuple[tuple[str, Any], ...]:
        """The arguments that hold a module or a decision; the others are as they are."""
        return tuple((name, value) for name, value in self._arguments() if holds_parts(value))

    def _arguments(self) -> Iterator[tuple[str, Any]]:
        for name in argument_names(type(self)):
            yield name, getattr(self, name)

    def _with_all(self, resolved: Mapping[str, Any], ask: KeepsAll, at: Address) -> "Space":
        """The module with resolved arguments, or all that they can be."""

        def make(values: Mapping[str, Any]) -> Space:
            return dataclasses.replace(self, **values, path=at.path)

        return opened(resolved, make, ask)

    def _place(self, name: str, at: Address) -> Address:
        return at if name == content_field(type(self)) else at / name


_CACHED = ("_root", "compiled", "_wrong", "_unresolved")


def resolve_value(value: Any, ask: Choose, at: Address) -> Any:
    """Returns an argument with its decisions asked: a module, a ``OneOf``, a value with some inside
    it.

    What is open inside an option is asked only where that option is chosen.
    """
    if isinstance(value, OneOf):
        index = ask(value.decision(at))
        if isinstance(index, Kept):
            return _kept_value(value, index, ask, at)
        option = value.options[index]
        return resolve_value(option, ask, at / index) if value.is_nested else option
    if isinstance(value, Space):
        return resolve_module(value, ask, enter(value, at))
    return with_parts(value, lambda place, part: resolve_value(part, ask, at / place))


def _kept_value(value: OneOf, kept: Kept, ask: Choose, at: Address) -> KeptValue:
    """All values of an argument, those inside of its options, too."""
    cases = [
        Case(case.answers + inner.answers, inner.value)
        for case in kept.each(lambda index: index)
        for inner in cases_of(resolve_value(value.options[case.value], ask, at / case.value))
    ]
    return KeptValue(cases, kept.keeping)


def resolve_module(module: Space, ask: Choose, at: Address) -> Space:
    """Returns the module with every decision asked, as of ``resolve``.

    A module of few architectures is made once for each of them at each place, so that networks
    which share a part share the object.

    Args:
        module: it.
        ask: answers its decisions.
        at: where it stands, its own name included.

    Raises:
        SpaceError: it asks what its ``decisions`` does not list.
    """
    if not module.is_closed:
        if isinstance(ask, KeepsAll):
            return module.resolve(ask, at)
        few = at.keep(module, lambda: _FewArchitectures.of(module, at))
        return module.resolve(ask, at) if few is None else few.resolve(ask)

    def refuse(decision: Decision) -> int:
        raise SpaceError(
            f"{module.title()!r} asks {decision.path!r}, which its method decisions must list"
        )

    return at.keep(module, lambda: module.resolve(refuse, at))


class _FewArchitectures:
    """A module at its place, with each of its architectures that was asked for.

    Args:
        module: it.
        at: where it stands.
    """

    __slots__ = ("at", "made", "module", "questions")

    def __init__(self, module: Space, at: Address) -> None:
        self.module = module
        self.at = at
        self.questions = tuple(questions_of(module, at))
        self.made: dict[tuple[int, ...], Space] = {}

    @classmethod
    def of(cls, module: Space, at: Address) -> "_FewArchitectures | None":
        """None: it has more, or says what it asks only by being resolved."""
        if overrides_alone(type(module), "resolve", "questions") or module.size() > _FEW:
            return None
        return cls(module, at)

    def resolve(self, ask: Choose) -> Space:
        """Returns the module as ``ask`` answers; it is asked each decision once."""
        answers: Genotype = {}

        def asked(decision: Decision) -> int:
            index = answers[decision.path] = ask(decision)
            return index

        for question in self.questions:
            question.ask(asked)
        key = tuple(answers.values())
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = self.module.resolve(self._answering(answers), self.at)
        return found

    def _answering(self, answers: Genotype) -> Choose:
        def answer(decision: Decision) -> int:
            if decision.path not in answers:
                raise SpaceError(
                    f"{self.module.title()!r} asks {decision.path!r}, which its method questions "
                    f"must yield"
                )
            return answers[decision.path]

        return answer
