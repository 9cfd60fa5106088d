"""A space of which some decisions are kept open: modules that hold all of their options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nasrunner.core.decision import Address, Decision, parts_of
from nasrunner.core.errors import SpaceError
from nasrunner.core.shapes import InShape, Shape
from nasrunner.core.space.arguments import argument_names
from nasrunner.core.space.keeping import Answers, Case, Keeping, KeptValue
from nasrunner.core.space.part import enter
from nasrunner.core.space.space import Space

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Choice(Space):
    """Holds every option of a decision, or of several that select one together.

    Args:
        modules: the options.
        answers: that select each of them.
    """

    modules: tuple[Space, ...]
    answers: tuple[Answers, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The decisions that select an option."""
        return tuple(dict.fromkeys(path for each in self.answers for path, _ in each))

    @property
    def is_zero(self) -> bool:
        return all(module.is_zero for module in self.modules)

    @property
    def takes_inputs(self) -> bool:
        return all(module.takes_inputs for module in self.modules)

    def make(self, in_shape: InShape) -> tuple["nn.Module", Shape]:
        raise SpaceError(
            f"{' and '.join(map(repr, self.paths))} cannot be kept open: the operation around it "
            "builds its parts in a way of its own"
        )

    def text(self) -> str:
        return f"choice({' | '.join(module.text() for module in self.modules)})"


@dataclass(frozen=True)
class Relaxed:
    """A space with its decisions kept open.

    Attributes:
        network: its modules, ``Choice`` among them.
        decisions: those that its choices are of, in the order asked. One may have further options
            behind those of an architecture's.
        selections: decision path -> for each option the decisions above that it keeps, of those
            that an architecture has some of: the strongest ones.
    """

    network: Space
    decisions: tuple[Decision, ...]
    selections: Mapping[str, tuple[tuple[str, ...], ...]]


def relaxed(space: Space) -> Relaxed:
    """Resolves a space with all of its decisions kept open.

    Liu et al. 2019, arXiv:1806.09055, section 2.2.

    Raises:
        SpaceError: a decision is of a module that is no sum of its options' outputs.
    """
    keeping = Keeping(_choice)
    network = space.resolve(keeping, enter(space, Address()))
    if (lost := next(_kept_values(network), None)) is not None:
        lost.refuse()
    chosen = {path for choice in choices_in(network) for path in choice.paths}
    for path in keeping.kept:
        if path not in chosen:
            raise SpaceError(f"{path!r} cannot be kept open: no module holds its options")
    return Relaxed(network, tuple(keeping.kept.values()), keeping.selections)


def _choice(cases: Sequence[Case]) -> Choice:
    modules = tuple(case.value for case in cases)
    path = next((module.path for module in modules if module.path), "")
    return Choice(modules, tuple(case.answers for case in cases), path=path)


def choices_in(space: Space) -> Iterator[Choice]:
    """Yields every choice in a relaxed space, those inside of others, too; some repeatedly."""
    for part in _below(space):
        if isinstance(part, Choice):
            yield part


def _kept_values(space: Space) -> Iterator[KeptValue]:
    for part in _below(space):
        if isinstance(part, KeptValue):
            yield part


def _below(value: Any) -> Iterator[Any]:
    """A value, and all that stands in it."""
    yield value
    if isinstance(value, Space):
        for name in argument_names(type(value)):
            yield from _below(getattr(value, name))
    else:
        for _, part in parts_of(value):
            yield from _below(part)
