"""Growth of an architecture: one decision answered with a part where it was answered with nothing.

Hu et al. 2019, arXiv:1905.13360 (Petridish), for spaces whose decisions say what can be added.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core.decision import Decision, Genotype, parts_of
from nasrunner.core.errors import SpaceError
from nasrunner.core.space.arguments import argument_names
from nasrunner.core.space.beside import Addition
from nasrunner.core.space.living import living
from nasrunner.core.space.options import are_numbers, is_zero, modules_of, passes_on, places_of
from nasrunner.core.space.space import Space

_MOST_COMPLETIONS = 64
"""Ways of answering what one part asks itself that are looked at; of more, so many are drawn."""

_MOST_STARTS = 500
"""Architectures that are looked at until one lets its input reach its output."""

_MOST_ALIVE = 20
"""Of these that do so, how many until one can grow."""


def additions(space: Space, parent: Genotype, rng: np.random.Generator) -> list[Addition]:
    """Finds the parts that an architecture can grow by, each a change of one decision.

    A decision adds a part where its answer, in all places that it stands in, is made of zeros and
    becomes anything else; or passes its input on and becomes an operation; or is a series of
    operations that becomes a longer one which begins alike, of several the next one. Parts that
    nothing would reach, or that would reach nothing, are none.

    Args:
        space: of the architecture.
        parent: the architecture.
        rng: draws the answers to what a part asks itself where there are very many.

    Returns:
        The parts, those of a decision in the order of its options.
    """
    alive = _skeleton(living(space.freeze(parent)))
    without: set[tuple[str, int]] = set()  # decisions of the same kind add the same
    found = []
    for decision in _asked(space, parent):
        known_by = decision.kind, parent[decision.path]
        if known_by not in without:
            of_decision = _of_decision(space, parent, decision, rng)
            if not of_decision:
                without.add(known_by)
            by_index = itertools.groupby(of_decision, key=lambda each: each.answers[0][1])
            for _, group in by_index:
                parts = list(group)
                network = space.freeze(grown(space, parent, parts[:1]))
                found += [] if _skeleton(living(network)) == alive else parts
    return found


def grown(space: Space, parent: Genotype, joined: Sequence[Addition]) -> Genotype:
    """Returns an architecture with parts added to it.

    Args:
        space: of the architecture.
        parent: the architecture.
        joined: the parts, at most one of each decision.
    """
    answers = {**parent, **dict(itertools.chain(*(each.answers for each in joined)))}
    return space.walk(lambda decision: answers[decision.path])


def smallest(space: Space, rng: np.random.Generator) -> Genotype:
    """Returns an architecture with as little in it as possible.

    Decisions that can be answered with what passes its input on, or else with zeros, are; numbers
    are the smallest; other decisions are drawn. Where nothing of the input would reach the
    output then, or nothing could be added, as few decisions as possible have other answers.

    Args:
        space: of the architecture.
        rng: draws.

    Raises:
        SpaceError: no input reaches an output so.
    """

    def least(decision: Decision) -> int:
        if are_numbers(decision.options):
            return decision.options.index(min(decision.options))
        if decision.selection is not None:
            return 0
        return int(rng.integers(len(decision.options)))

    known: dict[str, int] = {}
    draws: dict[str, int] = {}

    def choose(decision: Decision) -> int:
        if decision.path in known:
            return known[decision.path]
        return draws.setdefault(decision.path, least(decision))

    nothing: dict[str, int | None] = {}  # the answer that adds none, by kind of decision
    others: dict[str, int] = {}  # how many options each has that could be answered with nothing
    while True:
        genotype = space.walk(choose)
        open_ = [each for each in _asked(space, genotype) if each.path not in known]
        if not open_:
            break
        decision = open_[0]
        if decision.kind not in nothing:
            nothing[decision.kind] = _nothing(space, genotype, decision)
        least_part = nothing[decision.kind]
        known[decision.path] = genotype[decision.path] if least_part is None else least_part
        if least_part is not None:
            others[decision.path] = len(decision.options)
    return _alive(space, known, others, rng)


def _alive(
    space: Space, least: Genotype, others: Mapping[str, int], rng: np.random.Generator
) -> Genotype:
    """The first architecture with the fewest other answers that is more than zeros and can grow.

    Where none of the first ones can grow, the first that is more than zeros.
    """
    tried = itertools.chain.from_iterable(
        itertools.combinations(others, count) for count in range(len(others) + 1)
    )
    changed = (
        dict(zip(paths, indices, strict=True))
        for paths in tried
        for indices in itertools.product(*(range(others[path]) for path in paths))
    )
    alive: list[Genotype] = []
    for changes in itertools.islice(changed, _MOST_STARTS):
        answers = {**least, **changes}
        genotype = space.walk(lambda decision: answers.get(decision.path, 0))  # noqa: B023
        frozen = living(space.freeze(genotype))
        if getattr(frozen, "network", frozen).is_zero:
            continue
        if additions(space, genotype, rng):
            return genotype
        alive.append(genotype)
        if len(alive) == _MOST_ALIVE:
            break
    if alive:
        return alive[0]
    raise SpaceError(
        f"nothing of its input reaches the output of {_MOST_STARTS} architectures with as few "
        "parts as possible; legal: one that has more, given by start_with"
    )


def _asked(space: Space, genotype: Genotype) -> list[Decision]:
    """The active decisions of an architecture that have more than one option."""
    asked: list[Decision] = []

    def replay(decision: Decision) -> int:
        asked.append(decision)
        return genotype[decision.path]

    space.walk(replay)
    return [each for each in asked if len(each.options) > 1]


def _nothing(space: Space, genotype: Genotype, decision: Decision) -> int | None:
    """The option of a decision that is no part: one that passes its input on before zeros."""
    options = modules_of(space, genotype, decision)
    for is_nothing in (passes_on, is_zero):
        for index, modules in enumerate(options):
            if all(map(is_nothing, modules)):
                return index
    return None


def _of_decision(
    space: Space, parent: Genotype, decision: Decision, rng: np.random.Generator
) -> list[Addition]:
    """The parts that another answer to a decision adds, whether something needs them or not."""
    now = parent[decision.path]
    indices = [index for index in range(len(decision.options)) if index != now]
    is_number = are_numbers(decision.options)
    if is_number:
        before = decision.options[now]
        indices = [index for index in indices if decision.options[index] > before]
        indices.sort(key=lambda index: decision.options[index])
    if not places_of(space, parent, decision, [((decision.path, index),) for index in indices]):
        return []
    found: list[Addition] = []
    for index in indices:
        completed = _completed(space, parent, (decision.path, index), rng)
        places = places_of(space, parent, decision, [each.answers for each in completed])
        each_place = zip(*(_additions_at(place) for place in places), strict=True)
        adds = [all(each) for each in each_place]
        found += [part for part, is_one in zip(completed, adds, strict=False) if is_one]
        if found and is_number:
            break
    return found


def _additions_at(place: Sequence[Space]) -> list[bool]:
    """Whether each module but the first of a place has a part more than that."""
    now, *others = place
    return [_adds(module, now) for module in others]


def _adds(module: Space, now: Space) -> bool:
    """Whether a module has a part more than the one that is there now."""
    if module.is_zero:
        return False
    if now.is_zero:
        return True
    beyond = module.beyond(now)
    if beyond is not None:
        return not passes_on(beyond)
    return passes_on(now) and not passes_on(module)


def _completed(
    space: Space, parent: Genotype, answer: tuple[str, int], rng: np.random.Generator
) -> list[Addition]:
    """An option of a decision with each way of answering what it asks itself."""

    def rollout(choose: Callable[[Decision], int]) -> Addition:
        own: list[tuple[str, int]] = []

        def ask(decision: Decision) -> int:
            if decision.path == answer[0]:
                return answer[1]
            if (known := parent.get(decision.path)) is not None:
                return known
            own.append((decision.path, choose(decision)))
            return own[-1][1]

        space.walk(ask)
        return Addition((answer, *own))

    found = list(itertools.islice(_every(rollout), _MOST_COMPLETIONS + 1))
    if len(found) <= _MOST_COMPLETIONS:
        return found
    drawn = (
        rollout(lambda decision: int(rng.integers(len(decision.options))))
        for _ in range(_MOST_COMPLETIONS)
    )
    return list(dict.fromkeys(drawn))


def _every(rollout: Callable[[Callable[[Decision], int]], Addition]) -> Iterator[Addition]:
    """All that a rollout can be, in lexicographic order."""
    prefix: list[int] = []
    while True:
        sizes: list[int] = []

        def choose(decision: Decision) -> int:
            place = len(sizes)  # noqa: B023 - called here
            sizes.append(len(decision.options))  # noqa: B023
            return prefix[place] if place < len(prefix) else 0  # noqa: B023

        found = rollout(choose)
        yield found
        answers = [index for _, index in found.answers[1:]]
        while answers and answers[-1] + 1 == sizes[len(answers) - 1]:
            answers.pop()
        if not answers:
            return
        prefix = [*answers[:-1], answers[-1] + 1]


def _skeleton(value: Any) -> Any:
    """What is left of a frozen module without what is made of zeros, to be compared."""
    if isinstance(value, Space):
        if value.is_zero:
            return "zero"
        names = argument_names(type(value))
        return type(value), tuple(_skeleton(getattr(value, name)) for name in names)
    if isinstance(value, Mapping | list | tuple):
        return tuple((name, _skeleton(part)) for name, part in parts_of(value))
    return value
