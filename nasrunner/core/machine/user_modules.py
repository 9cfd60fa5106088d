"""Finds modules of a user's own that a configuration names, as ``python -m`` would."""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path


def find_user_modules(config: object, places: Callable[[], Iterable[Path]]) -> None:
    """Makes importable what the ``_target_`` values of a configuration name.

    A place is looked at last of all, and only for a module that is nowhere else: a file of the
    user's that is called like a package takes no package's place.

    Args:
        config: the configuration, or part of it.
        places: folders in which such modules may lie; asked for only if one is missing.
    """
    roots = {target.partition(".")[0] for target in targets(config)}
    missing = [root for root in sorted(roots) if root.isidentifier() and not _is_known(root)]
    for place in map(str, places() if missing else ()):
        has_one = any(
            Path(place, f"{root}.py").is_file() or Path(place, root).is_dir() for root in missing
        )
        if has_one and place not in sys.path:
            sys.path.append(place)


def _is_known(root: str) -> bool:
    return root in sys.modules or importlib.util.find_spec(root) is not None


def targets(config: object) -> Iterator[str]:
    """Yields the ``_target_`` values in a configuration."""
    if isinstance(config, Mapping):
        target = config.get("_target_")
        if isinstance(target, str):
            yield target
    inside = config.values() if isinstance(config, Mapping) else config
    if isinstance(inside, Iterable) and not isinstance(inside, str | bytes):
        for value in inside:
            yield from targets(value)
