"""The page's HTML: what its template, ``page.html``, shows."""

import functools
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nasrunner.report.page.parts import Facts, Plot, Section, Table
from nasrunner.report.page.style import themed_colours

MAX_ROWS = 200
"""A longer table ends here on the page; its CSV file has all rows."""

_LONG_TEXT = 110
_MAX_FACTS = 6  # in a row

_Cell = tuple[str, str, str | None]
"""Side, text, and what is shown of it until it is unfolded."""


def page_html(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    svgs: Mapping[str, str],
    refresh_s: int | None,
) -> str:
    """The whole page; it needs no other file and no network.

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
            themes=themed_colours().values(),
            laid_out=_laid_out,
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
    kinds = {"plot": Plot, "table": Table, "facts": Facts}
    made.tests |= {
        name: lambda part, kind=kind: isinstance(part, kind) for name, kind in kinds.items()
    }
    made.filters |= {"slug": _slug, "num_columns": _num_columns}
    return made


def shown(values: Sequence[object]) -> list[str]:
    """The values of a table's column as the page writes them: decimal points stand in a line.

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


def _laid_out(table: Table) -> tuple[list[tuple[str, str]], list[list[_Cell]], int]:
    """A table's columns as (side, name), the cells of its rows, and how many rows are left out."""
    values = list(zip(*table.rows[:MAX_ROWS], strict=True)) or [()] * len(table.columns)
    sides = ["number" if _are_numbers(column) else "words" for column in values]
    cells = [_cells(side, shown(column)) for side, column in zip(sides, values, strict=True)]
    columns = list(zip(sides, table.columns, strict=True))
    return columns, list(map(list, zip(*cells, strict=True))), len(table.rows) - MAX_ROWS


def _are_numbers(values: Sequence[object]) -> bool:
    given = [value for value in values if value is not None]
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in given
    )


def _cells(side: str, texts: Sequence[str]) -> list[_Cell]:
    """A column's cells; long texts fold, and their heads begin where they differ."""
    if max(map(len, texts), default=0) <= _LONG_TEXT:
        return [(side, text, None) for text in texts]
    words = [text.split(" ") for text in texts]
    num_common = sum(1 for _ in itertools.takewhile(_are_equal, zip(*words, strict=False)))
    if len(set(texts)) == 1 or len(" ".join(words[0][:num_common])) < _LONG_TEXT // 2:
        num_common = 0
    heads = [" ".join(each[num_common:]) for each in words]
    return [(side, text, _brief(text, head)) for text, head in zip(texts, heads, strict=True)]


def _are_equal(words: Sequence[str]) -> bool:
    return len(set(words)) == 1


def _brief(text: str, head: str) -> str | None:
    if len(text) <= _LONG_TEXT and head == text:
        return None
    brief = head if len(head) <= _LONG_TEXT else f"{head[:_LONG_TEXT].rsplit(' ', 1)[0]} …"
    return brief if head == text else f"… {brief}"
