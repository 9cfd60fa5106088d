"""The studies of a multirun beside one another, once all have ended."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from rich.table import Table

MOST = 20
"""Studies that are listed; the report compares all."""


class SweptStudy(NamedTuple):
    """A study of a multirun.

    Attributes:
        name: of its folder, a number.
        overrides: what it has of its own, as it was typed.
        best: its best child as ``Summary.best`` has it; None: no child has a reward.
    """

    name: str
    overrides: tuple[str, ...]
    best: dict[str, Any] | None


def swept_studies(folder: Path) -> list[SweptStudy]:
    """Returns the studies in a multirun's folder that have ended, the highest reward first.

    A folder that cannot be read as one of these is left out.
    """
    found = []
    for place in folder.iterdir() if folder.is_dir() else ():
        try:
            summary = json.loads((place / "summary.json").read_text(encoding="utf-8"))
            noted = (place / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")
            overrides = tuple(map(str, yaml.safe_load(noted) or ()))
            best = next(iter(summary["best"]), None)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            continue
        found.append(SweptStudy(place.name, overrides, best))
    found.sort(key=lambda each: (each.best is None, each.best and -each.best["reward"], each.name))
    shared = set.intersection(*(set(each.overrides) for each in found)) if found else set()
    return [
        each._replace(overrides=tuple(o for o in each.overrides if o not in shared))
        for each in found
    ]


def sweep_table(studies: list[SweptStudy]) -> Table:
    """Returns a table of the best child of each study.

    Args:
        studies: as ``swept_studies`` returns them.
    """
    title = "Best child of each study" + (f", {MOST} of {len(studies):,}" * (len(studies) > MOST))
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for name in ("study", "reward", "child", "parameters"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("with", overflow="fold")
    for each in studies[:MOST]:
        best = each.best or {}
        reward = f"{best['reward']:.5g}" if best else "none"
        child = f"{best['index']:04d}" if best else ""
        parameters = best.get("parameters")
        size = "" if parameters is None else f"{parameters:,.0f}"
        table.add_row(each.name, reward, child, size, " ".join(each.overrides))
    return table
