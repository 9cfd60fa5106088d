"""What searchers are called, from the configurations of their studies."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from nasrunner.compose.config import config_dir, shipped_option


def searcher_name(searcher: Mapping[str, Any]) -> str:
    """Returns what a searcher is called: as its file in ``conf/searcher`` is, or by its classes.

    One around another is called by both: ``filter around evolution``.

    Args:
        searcher: the ``searcher`` group of a study's configuration. Of several files with the
            same classes, that which agrees with most of its values names it.
    """
    inner = searcher.get("searcher")
    if isinstance(inner, Mapping) and "_target_" in inner:
        outer = {key: value for key, value in searcher.items() if key != "searcher"}
        return f"{searcher_name(outer)} around {searcher_name(inner)}"
    if (name := option_name("searcher", searcher)) is not None:
        return name
    first, *inside = _targets(flat(searcher)).values() or ("unknown",)
    return " ".join([_snake(first), *(f"({_class(target)})" for target in inside)])


def option_name(group: str, config: Mapping[str, Any]) -> str | None:
    """Returns the shipped option of a group that a configuration has most of; None: it is none."""
    mine, shipped = flat(config), _shipped(group)
    alike = {n: theirs for n, theirs in shipped.items() if _targets(theirs) == _targets(mine)}
    if not alike or not _targets(mine):
        return None
    return max(alike, key=lambda name: sum(mine.get(k) == v for k, v in alike[name].items()))


@functools.cache
def _shipped(group: str) -> Mapping[str, Mapping[str, Any]]:
    """The shipped options of a group, flat, by name; to read them all takes a tenth of a second."""
    paths = sorted((config_dir() / group).glob("*.yaml"))
    return {path.stem: flat(shipped_option(group, path.stem)) for path in paths}


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration as dotted keys and their values; lists count as values."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= {f"{key}.{inside}": leaf for inside, leaf in flat(value).items()}
        else:
            found[str(key)] = value
    return found


def _targets(given: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(v) for key, v in given.items() if key.rpartition(".")[2] == "_target_"}


def _class(target: str) -> str:
    return target.rpartition(".")[2]


def _snake(target: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", _class(target)).lower()
