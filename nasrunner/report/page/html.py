"""The page's HTML: what its template, ``page.html``, shows."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nasrunner.report.page.briefs import briefs
from nasrunner.report.page.parts import Drawing, Facts, FoldedText, Plot, Section, Table, TableCell
from nasrunner.report.page.style import drawing_colours, themed_colours
from nasrunner.report.page.svg import themed_drawing

_MAX_FACTS = 6  # in a row
_MOST_UNFOLDED = 30
"""Rows of a table that stands as a whole; a longer one scrolls in a box."""


@dataclass(frozen=True)
class ShownCell:
    """A table's cell as the template writes it.

    Attributes:
        side: ``number`` or ``words``.
        text: all of it.
        brief: what is shown until it is unfolded; None: all.
        sorts: by what rows are sorted; None: by the text.
        cell: where it leads, and what is shown over it.
    """

    side: str
    text: str
    brief: str | None
    sorts: float | None
    cell: TableCell


def page_html(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    svgs: Mapping[str, str],
    refresh_s: int | None,
) -> str:
    """Returns the whole page; it needs no other file and no network.

    Args:
        title: the heading.
        subtitle: a line below it.
        sections: from top to bottom.
        svgs: name of a plot -> its inline SVG.
        refresh_s: the browser loads the page again after so many seconds; None: never.
    """
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            subtitle=subtitle,
            sections=sections,
            svgs=svgs,
            refresh_s=refresh_s,
            themes=[*themed_colours().values(), *drawing_colours().values()],
            laid_out=_laid_out,
            most_unfolded=_MOST_UNFOLDED,
        )
    )


@functools.cache
def _environment() -> Environment:
    """What renders the template: whatever it is given is escaped, but for what it marks safe."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    kinds = {
        "plot": Plot,
        "table": Table,
        "facts": Facts,
        "drawing": Drawing,
        "listing": FoldedText,
    }
    made.tests |= {
        name: lambda part, kind=kind: isinstance(part, kind) for name, kind in kinds.items()
    }
    made.filters |= {"slug": _slug, "num_columns": _num_columns, "themed": themed_drawing}
    return made


def shown(values: Sequence[object]) -> list[str]:
    """Returns the values of a table's column as the page writes them: decimal points stand in a
    line.

    The largest number gets four digits or more, so that the smallest has two, unless they differ
    too much for that.
    """
    floats = [abs(v) for v in values if isinstance(v, float) and v and math.isfinite(v)]
    powers = [math.floor(math.log10(value)) for value in floats] or [3]
    decimals = max(0, 3 - max(powers), 1 - min(powers))
    differ_too_much = max(powers) > 14 or max(powers) - min(powers) > 4

    def text(value: object) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "–"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        if isinstance(value, int):
            return f"{value:,}".replace("-", "−")
        number = f"{value:.4g}" if differ_too_much else f"{value:,.{decimals}f}"
        return number.replace("-", "−")

    return [text(value) for value in values]


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _num_columns(facts: Sequence[object]) -> int:
    """In how many columns facts stand, so that all rows are about as long."""
    return -(-len(facts) // max(1, -(-len(facts) // _MAX_FACTS)))


def _laid_out(table: Table) -> tuple[list[tuple[str, str]], list[list[ShownCell]], int]:
    """A table's columns as (side, name), the cells of its rows, and how many rows are left out."""
    rows = table.rows[: table.most_rows]
    given = list(zip(*rows, strict=True)) or [()] * len(table.columns)
    columns = [
        [each if isinstance(each, TableCell) else TableCell(each) for each in c] for c in given
    ]
    sides = ["number" if _are_numbers([c.value for c in each]) else "words" for each in columns]
    cells = [_cells(side, column) for side, column in zip(sides, columns, strict=True)]
    named = list(zip(sides, table.columns, strict=True))
    return named, list(map(list, zip(*cells, strict=True))), len(table.rows) - len(rows)


def _are_numbers(values: Sequence[object]) -> bool:
    given = [value for value in values if value is not None]
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in given
    )


def _cells(side: str, column: Sequence[TableCell]) -> list[ShownCell]:
    """A column's cells; long texts fold."""
    texts = shown([cell.value for cell in column])
    return [
        ShownCell(side, text, brief, _number(cell.value), cell)
        for text, brief, cell in zip(texts, briefs(texts), column, strict=True)
    ]


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number and isinstance(value, int | float) else None
