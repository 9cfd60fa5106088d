"""Architectures that a person gives as values or indices of options, whole or in part."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasrunner.core.decision import Decision, Genotype, shown
from nasrunner.core.errors import ConfigError, nearest
from nasrunner.core.ledger.known import GivenGenotype
from nasrunner.core.search_space import SearchSpace
from nasrunner.core.space import Space
from nasrunner.study.known.answers import is_of_kind, meant_option

INDICES, VALUES = "genotype", "answers"
"""Keys of an entry, as of a ledger's proposal and of the best children in summary.json."""

_MAX_DRAWS = 1000
_MAX_LISTED = 12


def read_given(space: SearchSpace, entry: Any, index: int, seed: int, key: str) -> GivenGenotype:
    """Returns the architecture that an entry describes; what it leaves open is drawn at random.

    An entry maps decision paths to values. One with a key ``answers`` holds such a mapping there,
    as the best children in summary.json do; one with a key ``genotype`` maps paths to the indices
    of options there, as proposals in a ledger do.

    Args:
        space: what is searched.
        entry: as a person wrote it.
        index: of the proposal that it becomes, at which a schedule has its value.
        seed: the study's, of what is drawn.
        key: where the entry stands, for error messages.

    Raises:
        ConfigError: it is no mapping, or has an answer to what is not asked, or one that is no
            option; names the path and what is legal.
    """
    answers, are_indices = _answers(entry, key)
    now = space.at_proposal(index)
    rng = np.random.default_rng([seed, index, 2])  # no searcher draws from it
    for _ in range(_MAX_DRAWS):
        drawn: list[str] = []

        def choose(decision: Decision, drawn: list[str] = drawn) -> int:
            if decision.path in answers:
                return _option(decision, answers[decision.path], key, are_indices=are_indices)
            drawn.append(decision.path)
            return int(rng.integers(len(decision.options)))

        genotype = now.walk(choose)
        unused = [path for path in answers if path not in genotype]
        if not unused:
            _check_forced(space, genotype, answers, key, are_indices=are_indices)
            return GivenGenotype(genotype, tuple(drawn))
        if not drawn:
            break
    raise ConfigError(f"{key}: {_why_unused(space, unused[0], genotype)}")


def _answers(entry: Any, key: str) -> tuple[dict[str, Any], bool]:
    """Decision path -> answer, and whether answers are indices."""
    held = entry if isinstance(entry, Mapping) else {}
    found = [held[name] for name in (INDICES, VALUES) if isinstance(held.get(name), Mapping)]
    if len(found) > 1:
        raise ConfigError(f"{key} has both {INDICES} and {VALUES}; legal is one of them")
    inner = found[0] if found else entry
    if not isinstance(inner, Mapping):
        raise ConfigError(
            f"{key} must map decisions to values, as in {{0/conv2d/filters: 32}}, got {entry!r:.80}"
        )
    return {str(path): answer for path, answer in inner.items()}, inner is held.get(INDICES)


def _option(decision: Decision, answer: Any, key: str, *, are_indices: bool) -> int:
    options = decision.options
    if are_indices:
        is_index = isinstance(answer, int) and not isinstance(answer, bool)
        if is_index and 0 <= answer < len(options):
            return int(answer)
        raise ConfigError(
            f"{key}.{INDICES}: {decision.path} must be the index of an option, 0 to "
            f"{len(options) - 1}, got {answer!r}"
        )
    if (index := meant_option(options, answer)) is not None:
        return index
    raise ConfigError(
        f"{key}: {decision.path} must be one of {_listed(list(map(shown, options)))}, got "
        f"{answer!r}; indices of options, as a ledger has them, are written "
        f"{{{INDICES}: {{{decision.path}: …}}}}"
    )


def _check_forced(
    space: Space, genotype: Genotype, answers: Mapping[str, Any], key: str, *, are_indices: bool
) -> None:
    """Refuses another answer to a decision that a schedule answers itself."""

    def check(decision: Decision) -> int:
        index = genotype[decision.path]
        if decision.path in answers:
            answer = answers[decision.path]
            if _option(decision, answer, key, are_indices=are_indices) != index:
                legal = index if are_indices else shown(decision.options[index])
                raise ConfigError(
                    f"{key}: {decision.path} is {legal} for the first children, by its schedule, "
                    f"got {answer!r}"
                )
        return index

    space.walk(check)


def _why_unused(space: SearchSpace, path: str, genotype: Genotype) -> str:
    """Why a decision was not asked, in words."""
    kinds = list(space.signature())
    if any(is_of_kind(path, kind) for kind in kinds):
        return f"{path} is answered, but is not asked where the others are answered so"
    known = [*genotype, *(kind for kind in kinds if kind not in genotype)]
    near = nearest(path, known)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"the space has no decision {path}; {hint}it has {_listed(known)}"


def _listed(names: Sequence[Any]) -> str:
    more = [f"{len(names) - _MAX_LISTED:,} more"] if len(names) > _MAX_LISTED else []
    return ", ".join([*map(str, names[:_MAX_LISTED]), *more]) or "none"
