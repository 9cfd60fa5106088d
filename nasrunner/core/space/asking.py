"""The questions of modules and arguments: what a walk asks of them, and in which order."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nasrunner.core.decision import Address, Choose, OneOf, parts_of
from nasrunner.core.questions import Asked, Question
from nasrunner.core.space.part import Part, enter


def questions_of(module: Part, at: Address) -> Iterator[Question]:
    """Yields the questions of a module that stands at ``at``, its own name included."""
    if module.is_closed:
        return
    if overrides_alone(type(module), "resolve", "questions"):
        yield _Unlisted(module, at)
    else:
        yield from module.questions(at)


def questions_of_value(value: Any, at: Address) -> Iterator[Question]:
    """Yields the questions of an argument."""
    if isinstance(value, Part):
        yield from questions_of(value, enter(value, at))
    elif isinstance(value, OneOf):
        yield from questions_opened(value, at, lambda option: ())
    else:
        for place, part in parts_of(value):
            yield from questions_of_value(part, at / place)


def questions_opened(
    value: Any, at: Address, then: Callable[[Any], Iterable[Question]]
) -> Iterator[Question]:
    """Yields the questions of an argument that is one value, and those that follow from this value.

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

    def __init__(self, module: Part, at: Address) -> None:
        self.module = module
        self.at = at

    def ask(self, choose: Choose) -> None:
        self.module.resolve(choose, self.at)


@functools.cache
def overrides_alone(kind: type[Part], one: str, other: str) -> bool:
    """Tells whether a class has a method of its own, and another that belongs to it from a base."""
    order = kind.__mro__
    places = (
        next(place for place, each in enumerate(order) if name in vars(each))
        for name in (one, other)
    )
    return next(places) < next(places)
