"""Writes a page and the files of its figures and tables, each whole or not at all."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.text import Text

from nasrunner.core.screen.output import OutputFolder
from nasrunner.core.screen.text import csv_cell
from nasrunner.report.page.html import page_html
from nasrunner.report.page.parts import Drawing, Facts, Part, Plot, Section, Table
from nasrunner.report.page.style import PAPER, PNG_DPI, house_style
from nasrunner.report.page.svg import inline, svg_of

__all__ = ["Drawing", "Facts", "Part", "Plot", "Section", "Table", "write_page"]

_PAGE = "report.html"


def write_page(
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    folder: Path,
    *,
    refresh_s: int | None,
    overwrite: bool = False,
) -> Path:
    """Writes ``report.html``, and each plot as PNG and SVG and each table as CSV beside it.

    The page holds all it shows. Files of an earlier page are replaced, or none where one cannot be
    written; a browser that loads the page meanwhile finds the old one or the new one.

    Args:
        title: the heading.
        subtitle: a line below it.
        sections: from top to bottom.
        folder: made if it is missing.
        refresh_s: the browser loads the page again after so many seconds; None: never.
        overwrite: whether files of others that lie in the folder are replaced, too.

    Returns:
        The path of the page.

    Raises:
        ConfigError: files of others lie in the place of these.
        OSError: the folder cannot be written.
    """
    output = OutputFolder(folder, "report", "to", overwrite=overwrite)
    output.check([_PAGE])
    parts = [part for section in sections for part in section.parts]
    names = [part.name for part in parts if isinstance(part, Plot | Table)]
    assert len(names) == len(set(names)), f"two parts of a page have one name: {sorted(names)}"
    svgs: dict[str, str] = {}
    written: dict[str, bytes] = {}
    for part in parts:
        match part:
            case Plot():
                for text in part.figure.findobj(Text):
                    text.set_parse_math(False)  # the names in it are the user's, "$" and all
                svg = svg_of(part.figure)
                part.figure.set_layout_engine("none")  # it is laid out; again would take as long
                svgs[part.name] = inline(svg, part.name, part.hovers)
                written[f"{part.name}.svg"] = svg.encode()
                written[f"{part.name}.png"] = _png(part.figure)
            case Table():
                written[f"{part.name}.csv"] = _csv(part).encode()
    written[_PAGE] = page_html(title, subtitle, sections, svgs, refresh_s).encode()
    output.write(written)
    return folder / _PAGE


def _png(figure: Figure) -> bytes:
    written = io.BytesIO()
    with house_style():
        figure.savefig(written, format="png", dpi=PNG_DPI, facecolor=PAPER)
    return written.getvalue()


def _csv(table: Table) -> str:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(map(csv_cell, table.columns))
    writer.writerows(map(csv_cell, row) for row in table.values)
    return written.getvalue()
