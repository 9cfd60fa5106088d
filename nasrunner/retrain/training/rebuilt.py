"""Architectures that were found, rebuilt with other fixed values, or for other data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf

from nasrunner.compose.changes import check_kind, override_config, parse_overrides
from nasrunner.compose.launch import build_space
from nasrunner.core.decision import Decision, Genotype, with_parts
from nasrunner.core.errors import ConfigError
from nasrunner.core.search_space import SearchSpace
from nasrunner.recorded import RecordedStudy
from nasrunner.retrain.training.other_data import chosen_data, is_of_data, with_other_data
from nasrunner.spaces.language.writing import NUM_OUTPUTS, written

SPACE = "space"


def is_of_space(key: str) -> bool:
    """Tells whether an override changes a value of the space, or a hyperparameter that it
    searches.
    """
    return key.startswith(f"{SPACE}.")


def rebuilt(
    study: RecordedStudy,
    overrides: Sequence[str],
    tell: Callable[[str], object] = lambda sentence: None,
) -> RecordedStudy:
    """Returns a study as if its architectures had been searched in a space with other values, or on
    other data.

    A cell that was found in a shallow network is a cell of the deep one, too: fixed numbers change,
    such as how many cells are stacked and their filters, and a decision may become a fixed value.
    On other data networks end in as many outputs as these have.

    Args:
        study: whose architectures are rebuilt.
        overrides: changes of its configuration; those of its space count here, and those of its
            data where they choose another data set.
        tell: is given a sentence where other data say of themselves what they are.

    Raises:
        ConfigError: a key does not exist, or a decision is new or has other options, so that what
            was found does not answer it; or as of ``with_other_data``.
        DataError: as of ``with_other_data``.
        SpaceError: the configuration is no space any more.
    """
    parsed, paths = parse_overrides(overrides)
    changes = [each for each in parsed if is_of_space(each.key_or_group)]
    is_elsewhere = chosen_data(parsed) is not None
    if not changes and not is_elsewhere:
        return study
    for each in changes:
        check_kind(each)
    config: dict[str, Any] = dict(study.config)
    if is_elsewhere:
        of_data = [each for each in parsed if is_of_data(each)]
        config, told = with_other_data(config, study.folder, of_data, paths)
        if told:
            tell(told)
    if changes:
        tree = OmegaConf.create({SPACE: config[SPACE]})
        config = {**config, SPACE: override_config(tree, changes, paths, ())[SPACE]}
    if is_elsewhere:
        outputs = (study.config["data"]["num_outputs"], config["data"]["num_outputs"])
        config = {**config, SPACE: _with_outputs(config, *outputs)}
    found = replace(study, config=config)
    _check_answered(study.space, found.space)
    return found


def _with_outputs(config: dict[str, Any], before: int, now: int) -> Any:
    """The space of a configuration whose networks end in as many outputs as the data have now.

    Args:
        config: with the space.
        before: how many the data of the search had, and the ends of networks that were not written
            as ``${data.num_outputs}``.
        now: how many the other data have.

    Raises:
        SpaceError: the configuration is no space.
    """
    space = config[SPACE]
    if before == now:
        return space
    found = written(build_space(config), before)
    filled = _filled(found, now)
    return space if filled == found else filled


def _filled(value: Any, num_outputs: int) -> Any:
    if isinstance(value, Mapping | list):
        return with_parts(value, lambda _, part: _filled(part, num_outputs))
    return num_outputs if value == NUM_OUTPUTS else value


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
