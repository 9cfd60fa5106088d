"""The table of a calibration: printed, and written as CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from nasrunner.calibrate.agreement import Agreement
from nasrunner.calibrate.arguments import FEWEST, What
from nasrunner.calibrate.ranking import CheapRanking
from nasrunner.calibrate.recommending import Found
from nasrunner.core.machine.files import keep_file

_COLUMNS = ("ranking", "tau", "low", "high", "rho", "cost_s", "share_of_training", "lacking")


def write(
    folder: Path,
    what: What,
    found: Found,
    summary: Mapping[str, Any],
) -> list[Path]:
    """Writes the table as CSV, and as JSON with what else is known; returns the paths."""
    rows = [_row(name, *each, summary["training_s"]) for name, each in found.items()]
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    told = {"what": what, **summary, "rankings": rows}
    contents = {"csv": text.getvalue(), "json": json.dumps(told, indent=2) + "\n"}
    paths = [folder / f"calibration-{what}.{ending}" for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        keep_file(path, content)
    return paths


def _row(name: str, ranking: CheapRanking, found: Agreement, training_s: float) -> dict[str, Any]:
    """A line of the table; what is not defined is empty."""
    share = ranking.cost_s / training_s if training_s > 0 else math.nan
    numbers = {
        "tau": found.tau,
        "low": found.low,
        "high": found.high,
        "rho": found.rho,
        "cost_s": ranking.cost_s,
        "share_of_training": share,
    }
    known = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
    return {"ranking": name, **known, "lacking": ranking.lacking}


def show(found: Found, num_children: int, training_s: float) -> None:
    """Prints the table, the ranking that agrees best first."""
    table = Table("ranking", "Kendall's τ", "95 %", "Spearman's ρ", "s a child", "of a training")
    order = sorted(found.items(), key=lambda item: -np.nan_to_num(item[1][1].tau, nan=-2.0))
    for name, (ranking, each) in order:
        row = _row(name, ranking, each, training_s)
        interval = "–" if row["low"] is None else f"{each.low:.2f} … {each.high:.2f}"
        share = "–" if row["share_of_training"] is None else f"{row['share_of_training']:.2%}"
        scored = f" ({num_children - ranking.lacking} of {num_children} children)"
        label = name + (scored if ranking.lacking else "")
        told = ("–" if row[key] is None else f"{row[key]:.2f}" for key in ("tau", "rho"))
        tau, rho = told
        table.add_row(label, tau, interval, rho, f"{ranking.cost_s:.3g}", share)
    console = Console()
    console.print(table)
    console.print(
        f"{num_children} children, {training_s:.3g} s each to train; intervals are over children, "
        f"and none is given of fewer than {FEWEST}"
    )
