"""A module chosen once and used in several places."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from nasrunner.core.decision import Address, Choose, Decision
from nasrunner.core.errors import SpaceError
from nasrunner.core.questions import Question
from nasrunner.core.shapes import InShape
from nasrunner.core.space import (
    Pruning,
    Shape,
    Space,
    argument_names,
    enter,
    questions_of,
    resolve_module,
)
from nasrunner.core.tracing import Tracer, V
from nasrunner.spaces.basic import Dead


@dataclass(frozen=True)
class Shared(Space):
    """Stands for the module that the ``share`` around it calls by this label.

    Every place builds it anew, for the shape that comes in there and with weights of its own:
    only the decisions are shared.

    Args:
        label: as in ``share``.
    """

    label: str

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.run(self.stands_for(tracer), x)

    def stands_for(self, tracer: Tracer[Any]) -> Space:
        module = tracer.meaning(self.label)
        assert isinstance(module, Space)
        return module

    def pruned(self, prune: Pruning) -> Space:
        return Dead(self, path=self.path) if self.label in prune.dead_labels else self

    def make(self, in_shape: Shape) -> tuple[nn.Module, Shape]:
        raise ValueError(f"no share around it has the label {self.label!r}")

    def text(self) -> str:
        return self.label


@dataclass(frozen=True)
class Share(Space):
    """Asks the decisions of ``module`` once and builds it wherever ``body`` has ``shared``.

    They are asked before those of ``body``, and also where the ``body`` chosen uses none of it.

    Args:
        label: what ``shared`` calls the module; its decisions' paths begin with it.
        module: what is shared; it may itself use what a ``share`` around this one shares.
        body: the network, with ``shared: {label: …}`` at least once.

    Raises:
        SpaceError: ``label`` is no plain name, or that of the body.
    """

    label: str
    module: Space
    body: Space

    is_transparent: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.label.isidentifier():
            raise SpaceError(
                f"label of share must be a name of letters, digits and _, got {self.label!r}"
            )
        if self.label == self.body.name():  # paths below the two would be the same
            raise SpaceError(f"label of share must not be its body's name, got {self.label!r}")

    def resolve(self, ask: Choose, at: Address) -> Space:
        module = resolve_module(self.module, ask, self._place_of_module(at))
        body = resolve_module(self.body, ask, enter(self.body, at))
        return dataclasses.replace(self, module=module, body=body, path=at.path)

    def questions(self, at: Address) -> Iterator[Question]:
        yield from questions_of(self.module, self._place_of_module(at))
        yield from questions_of(self.body, enter(self.body, at))

    def size(self) -> int:
        return self.module.size() * self.body.size()

    def decisions(self, at: Address) -> Iterator[Decision]:
        yield from self.module.decisions(self._place_of_module(at))
        yield from self.body.decisions(enter(self.body, at))

    @property
    def takes_inputs(self) -> bool:
        return True  # as far as what stands in its body does

    def thread(self, in_shape: InShape, measure: Callable[[Space, InShape], Shape]) -> Shape:
        return measure(self.placed(), in_shape)

    def trace(self, tracer: Tracer[V], x: V) -> V:
        return tracer.sharing(self.label, self.module, self.body, x)

    def pruned(self, prune: Pruning) -> Space:
        module = prune(self.module)
        body = prune.where(self.label, is_zero=module.is_zero)(self.body)
        if body.is_zero:
            return Dead(self, path=self.path)
        if module is self.module and body is self.body:
            return self
        return dataclasses.replace(self, module=module, body=body)

    def make(self, in_shape: InShape) -> tuple[nn.Module, Shape]:
        return self.placed().build(in_shape)

    def placed(self) -> Space:
        """Returns the body with the module in every place."""
        return _replaced(self.body, self.label, self.module)

    def text(self) -> str:
        return f"{self.label} = {self.module.text()} in {self.body.text()}"

    def _place_of_module(self, at: Address) -> Address:
        return enter(self.module, at / self.label)


def check_sharing(space: Space, labels: frozenset[str] = frozenset()) -> set[str]:
    """Checks that every ``shared`` has its ``share`` around it, and the other way round.

    Args:
        space: an open space, or a part of one.
        labels: what is shared around it.

    Returns:
        the labels that are used in it.

    Raises:
        SpaceError: a label is not defined, defined twice or never used.
    """
    if isinstance(space, Shared):
        if space.label not in labels:
            raise SpaceError(
                f"shared: {{label: {space.label}}} has no share of that label around it"
            )
        return {space.label}
    if not isinstance(space, Share):
        return set().union(*(check_sharing(each, labels) for each in _below(space)))
    if space.label in labels:
        raise SpaceError(f"a share must not have the label {space.label!r} of another around it")
    used = check_sharing(space.body, labels | {space.label})
    if space.label not in used:
        raise SpaceError(
            f"the body of share {space.label!r} needs shared: {{label: {space.label}}} somewhere"
        )
    return (used - {space.label}) | check_sharing(space.module, labels)


def _below(space: Space) -> Iterator[Space]:
    for name in argument_names(type(space)):
        value = getattr(space, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Space):
                yield each


def _replaced(space: Space, label: str, module: Space) -> Space:
    """A frozen network with a module in the place of every ``shared`` of this label."""
    if isinstance(space, Shared) and space.label == label:
        return module

    def put(value: Any) -> Any:
        if isinstance(value, tuple):
            placed = tuple(map(put, value))
            is_same = all(one is other for one, other in zip(placed, value, strict=True))
            return value if is_same else placed
        return _replaced(value, label, module) if isinstance(value, Space) else value

    before = {name: getattr(space, name) for name in argument_names(type(space))}
    after = {name: put(value) for name, value in before.items()}
    is_same = all(after[name] is value for name, value in before.items())
    return space if is_same else dataclasses.replace(space, **after)
