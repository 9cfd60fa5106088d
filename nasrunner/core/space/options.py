"""What the options of a decision are in an architecture: modules of which kind."""

from collections.abc import Sequence
from typing import Any, NoReturn

from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.errors import SpaceError
from nasrunner.core.space.beside import with_others
from nasrunner.core.space.keeping import Answers, Case
from nasrunner.core.space.part import Part
from nasrunner.core.space.space import Space
from nasrunner.core.tracing import Traceable, Tracer


def modules_of(space: Space, genotype: Genotype, decision: Decision) -> list[tuple[Space, ...]]:
    """Returns the modules that each option of a decision puts in its places, options in order.

    Empty: the decision stands for no module.

    Args:
        space: whose decision it is.
        genotype: of the architecture; what it does not answer has the first option.
        decision: an active one of it.
    """
    now = genotype[decision.path]
    others = [index for index in range(len(decision.options)) if index != now]
    places = places_of(space, genotype, decision, [((decision.path, index),) for index in others])
    found = dict(zip([now, *others], zip(*places, strict=True), strict=False))
    return [found[index] for index in sorted(found)]


def places_of(
    space: Space, parent: Genotype, decision: Decision, parts: Sequence[Answers]
) -> list[list[Space]]:
    """Returns what each place of a decision has, and would have with other answers.

    Empty: the decision stands for no module, or must not be changed.

    Args:
        space: whose decision it is.
        parent: the architecture.
        decision: it.
        parts: the other answers, to it and to what they ask themselves.
    """
    if decision.forced is not None or decision.selection is not None:
        return []
    found: list[list[Space]] = []

    def note(cases: Sequence[Case]) -> Part:
        found.append([case.value for case in cases])
        module: Part = cases[0].value
        return module

    try:
        with_others(space, parent, {decision.path: parts}, note)
    except SpaceError:
        return []
    is_whole = all(len(each) == 1 + len(parts) for each in found)
    return found if is_whole else []


def are_numbers(options: Sequence[Any]) -> bool:
    """Tells whether all options are numbers."""
    return all(isinstance(each, int | float) and not isinstance(each, bool) for each in options)


def is_zero(module: Space) -> bool:
    """Tells whether a module returns zeros."""
    return module.is_zero


def passes_on(module: Space) -> bool:
    """Tells whether what comes out of a frozen module is what comes in, but for chance in
    training.
    """
    if module.is_zero:
        return False
    given = object()
    try:
        return _Followed().run(module, given) is given
    except KeyError:  # it has what a module outside of it shares
        return False


class _Followed(Tracer[object]):
    """Follows a value for as long as it is the same one."""

    def apply(self, part: Traceable, x: object) -> object:
        return x if getattr(part, "is_chance", False) else object()

    def zero(self, x: object) -> object:
        return object()

    def pick(self, x: object, label: str) -> object:
        return object()

    def _merged(self, values: Sequence[object]) -> object:
        return object()

    add = multiply = concatenate = _merged

    def shape_of(self, value: object) -> NoReturn:
        raise KeyError("shapes are not followed")
