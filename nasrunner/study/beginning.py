"""How a study begins, and whether one that goes on is still the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from nasrunner.core.errors import LedgerError
from nasrunner.core.language.moved import with_present_targets
from nasrunner.core.ledger.events import Began
from nasrunner.core.space import Space
from nasrunner.study.ledger import VERSION


def beginning(
    space: Space,
    seed: int,
    fingerprints: Mapping[str, str],
    *,
    knows_networks: bool = False,
    reward: Mapping[str, str] = MappingProxyType({}),
) -> Began:
    """Makes the first event of a study, most of which must stay the same when it is resumed."""
    signature = {kind: list(options) for kind, options in space.signature().items()}
    return Began(VERSION, seed, signature, dict(fingerprints), knows_networks, reward)


def check_same(recorded: Began, current: Began, path: Path) -> None:
    """Refuses to go on with a ledger that was written for something else.

    Raises:
        LedgerError: for another version, seed or space.
    """
    if recorded.version != VERSION:
        raise LedgerError(f"{path} has version {recorded.version}, legal: {VERSION}")
    if recorded.seed != current.seed:
        raise LedgerError(f"{path} was written with seed={recorded.seed}, not {current.seed}")
    # Options may name classes, and earlier versions found ours by other paths.
    before, now = with_present_targets(recorded.space), json.loads(json.dumps(current.space))
    for kind in [*before, *(kind for kind in now if kind not in before)]:
        if before.get(kind) != now.get(kind):
            raise LedgerError(
                f"{path} was written for another space: decision {kind!r} had the options "
                f"{before.get(kind)}, now it has {now.get(kind)}"
            )


def fingerprint_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Returns what has another fingerprint now, in words, sorted."""
    told = []
    for name in sorted({*before, *now}):
        if name not in now:
            told.append(f"{name} is gone")
        elif name not in before:
            told.append(f"{name} is new")
        elif before[name] != now[name]:
            told.append(f"{name} is another")
    return told
