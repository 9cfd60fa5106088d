"""Architectures that were found, rebuilt with other fixed values than they were searched with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from nasrunner.compose.changes import check_kind, override_config, parse_overrides
from nasrunner.compose.launch import build_space
from nasrunner.core.decision import Decision, Genotype
from nasrunner.core.errors import ConfigError
from nasrunner.core.search_space import SearchSpace
from nasrunner.recorded import RecordedStudy

SPACE = "space"


def is_of_space(key: str) -> bool:
    """Tells whether an override changes a value of the space, or a hyperparameter that it
    searches.
    """
    return key.startswith(f"{SPACE}.")


def rebuilt(study: RecordedStudy, overrides: Sequence[str]) -> RecordedStudy:
    """Returns a study as if its architectures had been searched in a space with other values.

    A cell that was found in a shallow network is a cell of the deep one, too: fixed numbers change,
    such as how many cells are stacked and their filters, and a decision may become a fixed value.

    Args:
        study: whose architectures are rebuilt.
        overrides: changes of its configuration; those of its space count here.

    Raises:
        ConfigError: a key does not exist, or a decision is new or has other options, so that what
            was found does not answer it.
        SpaceError: the configuration is no space any more.
    """
    parsed, paths = parse_overrides(overrides)
    changes = [each for each in parsed if is_of_space(each.key_or_group)]
    if not changes:
        return study
    for each in changes:
        check_kind(each)
    saved: dict[str, Any] = dict(study.config)
    tree = OmegaConf.create({SPACE: saved[SPACE]})
    space = {**saved, SPACE: override_config(tree, changes, paths, ())[SPACE]}
    found = replace(study, config=space)
    _check_answered(study.space, build_space(space))
    return found


def carried(genotype: Genotype, space: SearchSpace) -> Genotype:
    """Returns the answers of an architecture that a space still asks for.

    Args:
        genotype: of the space that was searched.
        space: as ``rebuilt`` has left it.

    Raises:
        ConfigError: it asks for more, since the architecture took another option there.
    """

    def choose(decision: Decision) -> int:
        if decision.path not in genotype:
            raise ConfigError(
                f"space: an architecture that was found does not answer {decision.path!r}, which "
                "the changed space asks"
            )
        return genotype[decision.path]

    return space.walk(choose)


def _check_answered(before: SearchSpace, now: SearchSpace) -> None:
    known = before.signature()
    for kind, options in now.signature().items():
        if kind not in known:
            raise ConfigError(
                f"space: {kind!r} would be a new decision, which nothing that was found answers; "
                "legal are changes of fixed values, and a value in the place of a decision"
            )
        if known[kind] != options:
            raise ConfigError(
                f"space: the options of {kind!r} were {list(known[kind])} in the search and cannot "
                f"be {list(options)} now; legal are changes of fixed values, and a value in the "
                "place of a decision"
            )
