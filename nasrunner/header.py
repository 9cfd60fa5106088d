"""The first event of a ledger: what the study it belongs to searches."""

import json
from pathlib import Path
from typing import Any

from nasrunner.core.errors import LedgerError
from nasrunner.core.space import Space
from nasrunner.ledger import VERSION


def header(space: Space, seed: int) -> dict[str, Any]:
    """What must stay the same when a study is resumed."""
    signature = {kind: list(options) for kind, options in space.signature().items()}
    return {"version": VERSION, "seed": seed, "space": signature}


def check_header(recorded: dict[str, Any], current: dict[str, Any], path: Path) -> None:
    """Refuses to continue a ledger that was written for something else."""
    if recorded.get("version") != VERSION:
        raise LedgerError(f"{path} has version {recorded.get('version')}, legal: {VERSION}")
    if recorded["seed"] != current["seed"]:
        raise LedgerError(f"{path} was written with seed={recorded['seed']}, not {current['seed']}")
    before, now = recorded["space"], json.loads(json.dumps(current["space"]))
    for kind in [*before, *(kind for kind in now if kind not in before)]:
        if before.get(kind) != now.get(kind):
            raise LedgerError(
                f"{path} was written for another space: decision {kind!r} had the options "
                f"{before.get(kind)}, now it has {now.get(kind)}"
            )
