"""The page's HTML: every part of it as text."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from nasrunner.report.page.parts import Drawing, Facts, Part, Plot, Section, Table
from nasrunner.report.page.style import themed_colours

MAX_ROWS = 200
"""A longer table ends here on the page; its CSV file has all rows."""

_LONG_TEXT = 110
_MAX_FACTS = 6  # in a row


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
    refresh = "" if refresh_s is None else f'<meta http-equiv="refresh" content="{refresh_s}">\n'
    links = "\n".join(
        f'<a href="#{_anchor(place, each)}">{escape(each.title)}</a>'
        for place, each in enumerate(sections)
    )
    body = "\n".join(_section(place, each, svgs) for place, each in enumerate(sections))
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{refresh}<title>{escape(title)}</title>\n"
        f"<style>\n{_colours()}\n{_css()}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n<p>{escape(subtitle)}</p>\n</header>\n"
        f"<nav>\n{links}\n</nav>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


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


def _css() -> str:
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def _colours() -> str:
    themes = themed_colours().values()
    light = " ".join(f"--{name}: {value};" for name, value, _ in themes)
    dark = " ".join(f"--{name}: {value};" for name, _, value in themes)
    return (
        f":root {{ {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )


def _anchor(place: int, section: Section) -> str:
    return f"{place + 1}-" + re.sub(r"\W+", "-", section.title.lower()).strip("-")


def _section(place: int, section: Section, svgs: Mapping[str, str]) -> str:
    paragraphs = [p.strip() for p in section.text.split("\n\n") if p.strip()]
    text = "\n".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
    parts = "\n".join(_part(part, svgs) for part in section.parts)
    return (
        f'<section id="{_anchor(place, section)}">\n<h2>{escape(section.title)}</h2>\n{text}\n'
        f'<div class="parts">\n{parts}\n</div>\n</section>'
    )


def _part(part: Part, svgs: Mapping[str, str]) -> str:
    match part:
        case Plot():
            files = _files(f"{part.name}.png", f"{part.name}.svg")
            inside = f'<div class="picture">{svgs[part.name]}</div>\n'
            return _figure("plot", part.title, inside, part.caption, files)
        case Table():
            files = _files(f"{part.name}.csv")
            return _figure("table", part.title, _table(part), part.caption, files)
        case Drawing():
            inside = f'<div class="picture">{part.svg}</div>\n'
            return _figure("drawing", part.title, inside, part.caption, "")
        case Facts():
            items = "\n".join(
                f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
                for name, value in part.items
            )
            rows = -(-len(part.items) // _MAX_FACTS)
            columns = -(-len(part.items) // max(1, rows))
            return f'<dl style="--columns: {columns}">\n{items}\n</dl>'


def _figure(kind: str, title: str, inside: str, caption: str, files: str) -> str:
    text = f"{escape(caption)} {files}".strip()
    below = f"<figcaption>{text}</figcaption>\n" if text else ""
    return f'<figure class="{kind}">\n<h3>{escape(title)}</h3>\n{inside}{below}</figure>'


def _files(*names: str) -> str:
    links = " · ".join(
        f'<a href="{escape(name)}">{escape(name.rpartition(".")[2].upper())}</a>' for name in names
    )
    return f'<span class="files">{links}</span>'


def _table(table: Table) -> str:
    values = list(zip(*table.rows[:MAX_ROWS], strict=True)) or [()] * len(table.columns)
    sides = ["number" if _are_numbers(column) else "words" for column in values]
    head = "".join(
        f'<th class="{side}">{escape(name)}</th>'
        for name, side in zip(table.columns, sides, strict=True)
    )
    texts = zip(*(map(_cells, map(shown, values))), strict=True)
    rows = "\n".join(
        "<tr>"
        + "".join(f'<td class="{side}">{text}</td>' for text, side in zip(row, sides, strict=True))
        + "</tr>"
        for row in texts
    )
    left_out = len(table.rows) - MAX_ROWS
    note = f'<p class="note">{left_out:,} more rows in {table.name}.csv</p>' if left_out > 0 else ""
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>{note}\n"
    )


def _are_numbers(values: Sequence[object]) -> bool:
    given = [value for value in values if value is not None]
    return bool(values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in given
    )


def _cells(texts: Sequence[str]) -> list[str]:
    """A column's cells as HTML; long texts fold, and their heads begin where they differ."""
    if max(map(len, texts), default=0) <= _LONG_TEXT:
        return [escape(text) for text in texts]
    words = [text.split(" ") for text in texts]
    num_common = sum(1 for _ in itertools.takewhile(_are_equal, zip(*words, strict=False)))
    if len(set(texts)) == 1 or len(" ".join(words[0][:num_common])) < _LONG_TEXT // 2:
        num_common = 0
    return [
        _folded(text, " ".join(each[num_common:])) for text, each in zip(texts, words, strict=True)
    ]


def _are_equal(words: Sequence[str]) -> bool:
    return len(set(words)) == 1


def _folded(text: str, head: str) -> str:
    if len(text) <= _LONG_TEXT and head == text:
        return escape(text)
    brief = head if len(head) <= _LONG_TEXT else f"{head[:_LONG_TEXT].rsplit(' ', 1)[0]} …"
    if head != text:
        brief = f"… {brief}"
    return f"<details><summary>{escape(brief)}</summary>{escape(text)}</details>"
