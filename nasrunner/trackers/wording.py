"""How the terminal puts a study into words: counts, times, what became of it, its best children."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from rich.table import Table
from rich.text import Text

from nasrunner.core.ledger.history import COPIES, History
from nasrunner.core.ledger.ranking import mean_of
from nasrunner.core.machine.child_folder import OUTCOME, ChildFolder
from nasrunner.core.ports import Summary
from nasrunner.core.records import Outcome, Proposal, last_line
from nasrunner.core.screen.commands import short
from nasrunner.core.screen.text import printable

STYLES = {
    "failed": ("failed", "failed", "red"),
    "invalid": ("invalid", "invalid", "yellow"),
    "too_large": ("too large", "too large", "yellow"),
    "paused": ("paused", "paused", "green"),
    "stopped": ("stopped", "stopped", "yellow"),
    "continued": ("continued", "continued", "green"),
    "estimates": ("estimate", "estimates", "green"),
    "supernets": ("supernet", "supernets", "green"),
}
"""What the live display counts: the word for one, for several, and the colour of both."""

MAX_RUN_NAME = 80
"""Characters of a run's name: tables show no more."""

BESIDE = ("estimates", "supernets")
"""What a study counts and is no child."""


def best_table(summary: Summary, begun_as: Callable[[int], int]) -> Table:
    """Makes the table of a study's best children.

    Args:
        summary: the study's.
        begun_as: gives the child whose run in a tracker another one's is.
    """
    runs = [begun_as(best["index"]) for best in summary.best[:5]]
    has_lines = any(run != best["index"] for run, best in zip(runs, summary.best, strict=False))
    table = Table(title="Best children", title_justify="left", title_style="bold", box=None)
    for name in ("", *(["child"] if has_lines else []), "run", "reward", "parameters"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", ratio=1)
    for rank, best in enumerate(summary.best[:5], start=1):
        parameters = best.get("parameters")
        table.add_row(
            f"{rank}",
            *([f"{best['index']:04d}"] if has_lines else []),  # its folder
            f"{runs[rank - 1]:04d}",  # how its MLflow run begins, and mostly its folder
            f"{best['reward']:.5g}{mean_of(best['trainings'], best['reward_std'])}",
            "–" if parameters is None else f"{parameters:,.0f}",
            Text(printable(str(best["architecture"]))),
        )
    return table


def counted(name: str, count: int) -> str:
    """Says how many children there are of which something became."""
    saved = {
        "reused": " (duplicates, not trained again)",
        "repeated": " (invalid, proposed again)",
        "duplicate": " (replaced)",
        "paused": " (and not gone on with)",
        "continued": " (trainings of these that went on)",
        "too_large": ", not trained",
    }
    return f"{many(count, *words_of(name))}{saved.get(name, '')}"


def words_of(name: str) -> tuple[str, str]:
    """Returns what a count is called, of one and of several."""
    if name.startswith(COPIES):
        return f"copy {name.removeprefix(COPIES)}", name.replace("_", " ")
    words = name.replace("_", " ")
    return words.removesuffix("s"), words


def recorded_before(history: History) -> str:
    """Returns what a study that is resumed has already."""
    counts = history.counts
    others = [many(counts[n], *STYLES[n][:2]) for n in ("continued", *BESIDE) if counts[n]]
    num_children = sum(
        n
        for name, n in counts.items()
        if name not in ("continued", *BESIDE) and not name.startswith(COPIES)
    )
    parts = [many(num_children, "child", "children")] if num_children else []
    told = ", ".join([*parts, *others])
    return f", {told} recorded before" if told else ""


def traceback(folder: Path, first: Proposal) -> str:
    """Returns where the error of the first failed child stands in full."""
    kept = ChildFolder.of(folder, first.index).file(OUTCOME)
    where = short(kept if kept.is_file() else folder / "ledger.jsonl")
    told = f"of {noun(first)} {first.index} in {where}"
    return f"{told}; all: nasrunner-report from={short(folder)}"


def noun(proposal: Proposal) -> str:
    """Says what a proposal is of."""
    return "child" if proposal.kind == "train" else proposal.kind


def run_name(index: int, text: str) -> str:
    """Returns ``0007 affine(64) → relu``: the arguments' values without their names.

    One that is cut ends with six digits that differ where architectures do.
    """
    brief = re.sub(r"[\w.]+=", "", text)
    name = f"{index:04d} {brief}".rstrip()
    if len(encodable(name)) <= MAX_RUN_NAME:
        return encodable(name)
    digest = hashlib.sha256(encodable(text).encode()).hexdigest()[:6]
    return f"{clipped(name, MAX_RUN_NAME - 7)} {digest}"


def clipped(text: str, limit: int) -> str:
    """Returns the text, with an ellipsis for what is beyond the limit."""
    text = encodable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def encodable(text: str) -> str:
    """Returns the text as UTF-8 has it: bytes of a path in another encoding, as Python keeps them,
    named.

    A child's traceback may hold some; a database and a file take none.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def many(count: int, one: str, several: str) -> str:
    """Counts in the singular or the plural."""
    return f"{count} {one if count == 1 else several}"


def in_epochs(count: int | None) -> str:
    """Counts epochs."""
    return "some epochs" if count is None else many(count, "epoch", "epochs")


def why(outcome: Outcome) -> str:
    """Says why a child has no reward, in what is equal for the same reason."""
    return f"{outcome.status}: {last_line(outcome.error)}"


def clock(seconds: float) -> str:
    """Returns ``0:07``, ``12:30`` or ``3:04:05``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
